"""From "60 % pruned" to how many of each population and projection should be left.

The target is the share of the dense network to prune: of its weights, or of another measure. ``structured``
says how much of the log-survival comes from whole units: with s = 1 - target left, units alone leave
s^structured, and pruning single synapses brings that to s. ``scope`` says where the budget goes: to all
layers alike, by the shape or the sensitivity of a layer (`distribution`), or by one ranking of all units
(`spread`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from snnprune.config.schema import MethodConfig
from snnprune.pruning.distribution import RANKED, SCOPES, Scope
from snnprune.pruning.measures import WHAT, CostModel, Load, Measure
from snnprune.pruning.normalisation import Normalisation, known
from snnprune.pruning.pricing import PRICED
from snnprune.pruning.reach import check_reach
from snnprune.pruning.solver import FLOOR, ROUNDING, Solver, columns_left, rows_left, share_of
from snnprune.pruning.spread import spread

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from snnprune.network.topology import Projection, Topology
    from snnprune.pruning.criterion import Criterion
    from snnprune.pruning.distribution import Distribution
    from snnprune.pruning.masks import Masks
    from snnprune.pruning.rule import Candidates, UnitKind


MOST_BITS = 64
"""The widest weights that are stored."""


@dataclass(frozen=True)
class Target:
    """A share of the network to prune, and how.

    Attributes:
        rate: share to prune, in [0, 1): of all weights of the network's conv and linear layers, or of another
            ``measure`` of the dense network.
        structured: share of the log-survival that whole units contribute, in [0, 1].
        measure: what the rate is a share of (`snnprune.pruning.measures`).
        layers: shares of single layers, by name or glob; the first match counts. A share is of the layer's
            own units and synapses. Synapses that the layer loses with the units before it come on top. The
            other layers are pruned so that the network reaches ``rate``.
        scope: "local": every other layer loses the same share. "erk": large layers become thinner than small
            ones. "sensitivity": every layer loses so much that the loss alone of this layer rises by the same
            amount. "global": the least important units of the whole network are pruned. "lamp": the same, by
            LAMP scores.
        floor: smallest share of its synapses that every layer keeps, in [0, 1), whatever the others lose for
            it (NNI's ``max_sparsity_per_layer``, seen from what stays). Where units on both of its sides may
            go, each side keeps at least the square root of that share. Layers in ``layers`` have their own
            share in its place.
        normalisation: of the scores of a layer before they are ranked with those of others ("global"). None:
            "none" where the criterion declares its scores comparable, else "norm".
        bits: bits of a weight, for the measure "bytes".
        per_operation: for the measures "synops" and "energy", whether the importance per operation decides
            what goes (`snnprune.pruning.pricing`). None: where the criterion reads activity.

    Examples:
        >>> from snnprune.pruning import Target
        >>> Target(0.6).rate, Target(0.6).measure  # 60 % of all weights
        (0.6, 'weights')
        >>> by_macs = Target(0.6, measure="macs", layers={"conv1": 0.2, "fc*": 0.8})
    """

    rate: float
    structured: float = MethodConfig.structured
    measure: Measure = "weights"
    layers: Mapping[str, float] = field(default_factory=dict)
    scope: Scope = "local"
    floor: float = FLOOR
    normalisation: Normalisation | None = None
    bits: int = 32
    per_operation: bool | None = None

    def __post_init__(self) -> None:
        for rate in (self.rate, *self.layers.values()):
            if not 0.0 <= rate < 1.0:
                raise ValueError(f"a target is a share in [0, 1), came {rate}")
        if not 0.0 <= self.structured <= 1.0:
            raise ValueError(f"structured is a share in [0, 1], came {self.structured}")
        if not 0.0 <= self.floor < 1.0:
            raise ValueError(f"floor is a share in [0, 1), came {self.floor}")
        if self.measure not in WHAT:
            raise ValueError(f"the measure of a target is one of {sorted(WHAT)}, came '{self.measure}'")
        if self.scope not in SCOPES:
            raise ValueError(f"the scope of a target is one of {list(SCOPES)}, came '{self.scope}'")
        if self.normalisation is not None:
            known(self.normalisation)
            if self.scope == "lamp" and self.normalisation != "lamp":
                raise ValueError(
                    f"scope 'lamp' is a normalisation, and normalisation is '{self.normalisation}': leave it "
                    "out, or take scope 'global'"
                )
        if not 1 <= self.bits <= MOST_BITS:
            raise ValueError(f"bits of a weight are from 1 to {MOST_BITS}, came {self.bits}")

    def scale(self, unit: UnitKind, comparable: Collection[UnitKind]) -> Normalisation:
        """Return how the scores of a kind of units are normalised before those of all layers are ranked."""
        if self.scope == "lamp":
            return "lamp"
        return self.normalisation or ("none" if unit in comparable else "norm")

    def divides(self, criterion: Criterion) -> bool:
        """Tell whether scores of ``criterion`` are divided by what a unit costs."""
        if self.measure not in PRICED:
            return False
        return criterion.reads is not None if self.per_operation is None else self.per_operation

    def costs(self, loads: Mapping[str, Load] | None = None) -> CostModel:
        """Return what layers cost, by the loads that were measured where the measure needs them."""
        return CostModel(self.measure, loads, self.bits)

    def plan(
        self,
        topology: Topology,
        *,
        neurons: bool = True,
        synapses: bool = True,
        convolutions: bool = False,
        sensitive: Distribution | None = None,
        costs: CostModel | None = None,
        dense: float | None = None,
    ) -> Plan:
        """Solve how many units and synapses should be left.

        Args:
            topology: topology of the dense network.
            neurons: whether the method prunes units.
            synapses: whether the method prunes single synapses (of linear layers).
            convolutions: whether the method prunes single synapses of convolutions, too.
            sensitive: the distribution of scope "sensitivity", once it is measured.
            costs: what layers cost, where that is measured. Where the target cannot be reached at these
                costs, the plan goes as far as it can.
            dense: cost of the dense network, where that was measured.

        Raises:
            UserError: a name in ``layers`` matches no layer, or the target cannot be reached.
        """
        solver = Solver(
            topology,
            self.rate,
            self.structured,
            self.measure,
            self.layers,
            floor=self.floor,
            neurons=neurons,
            synapses=synapses,
            convolutions=convolutions,
            scope=self.scope,
            sensitive=sensitive,
            costs=costs or self.costs(),
            dense=dense,
        )
        if costs is None:
            check_reach(solver)
        share = solver.solve_units(solver.wanted_of_units, {}) if neurons else 0.0
        units = solver.units(share)
        left = solver.solve_synapses(units, solver.wanted)
        if neurons and solver.prunable and solver.cost(units, left) > solver.wanted + ROUNDING:
            units = solver.units(max(share, solver.solve_units(solver.wanted, solver.thinnest)), down=True)
            left = solver.solve_synapses(units, solver.wanted)
        return Plan(self, {n: round(u) for n, u in units.items()}, left, solver)

    def share_of(self, names: Iterable[str]) -> float | None:
        """Return the share that ``layers`` sets for a layer with one of ``names``, or None."""
        return share_of(self.layers, names)


@dataclass(frozen=True)
class Plan:
    """How many units and synapses should be left at the end.

    Attributes:
        target: the target that the plan reaches.
        units: number of units to leave, by population.
        synapses: share of the synapses between alive units to leave, by projection.
        solver: the solver of the dense network that computed both.
    """

    target: Target
    units: Mapping[str, int]
    synapses: Mapping[str, float]
    solver: Solver

    @property
    def rate(self) -> float:
        """The share of the network that the plan prunes: the target, but for the rounding to whole units."""
        dense = self.solver.dense
        return 1.0 - self.solver.cost(self.units, self.synapses) / dense if dense else 0.0

    def assign(
        self,
        candidates: Sequence[Candidates],
        masks: Masks,
        due: float,
        comparable: Collection[UnitKind] = (),
        *,
        divides: bool = False,
    ) -> list[Candidates]:
        """Return the candidates with the number of each to prune now.

        Args:
            candidates: all candidates that a method decides on together.
            masks: which units and synapses are alive.
            due: share of the units still to be pruned that this decision prunes (`Rule.due`).
            comparable: kinds of units whose scores are on one scale in all layers.
            divides: whether a ranking divides scores by prices.
        """
        own = {c.key: self._own(c, masks) for c in candidates}
        if self.target.scope not in RANKED:
            return [replace(c, to_go=round(due * own[c.key])) for c in candidates]
        named = [c for c in candidates if self.target.share_of(self._layers(c)) is not None]
        fixed = {c.key: round(due * own[c.key]) for c in named}
        scale = partial(self.target.scale, comparable=comparable)
        to_go = spread(self.solver, candidates, fixed, masks, due=due, scale=scale, divides=divides)
        return [replace(c, to_go=to_go[c.key]) for c in candidates]

    def _own(self, candidates: Candidates, masks: Masks) -> int:
        if candidates.unit == "neuron":
            return self.neurons_to_go(candidates.name, masks)
        return self.synapses_to_go(masks.topology.projections[candidates.name], masks)

    def _layers(self, candidates: Candidates) -> list[str]:
        if candidates.unit == "synapse":
            return [candidates.name]
        return self.solver.topology.populations[candidates.name].producers

    def fewest(self, candidates: Candidates) -> int:
        """Return the least number of the candidates that stays, whatever a rule decides."""
        if candidates.unit == "neuron":
            return self.solver.fewest_units[candidates.name]
        return self.solver.fewest[candidates.name]

    def neurons_to_go(self, population: str, masks: Masks) -> int:
        """Return how many units of ``population`` are still to be pruned."""
        return max(int(masks.units[population].sum()) - self.units[population], 0)

    def synapses_to_go(self, projection: Projection, masks: Masks) -> int:
        """Return how many of the synapses alive now are still to be pruned singly.

        Synapses that will go with pruned neurons are left out in proportion.
        """
        alive = int(masks.alive(projection).sum())
        columns_goal = columns_left(self.solver.topology.projections[projection.name], self.units)
        columns_now = int(masks.columns(projection).sum())
        rows_goal = rows_left(self.solver.topology.projections[projection.name], self.units)
        rows_now = int(masks.rows(projection).sum())
        kernel = math.prod(projection.shape[2:])
        goal = max(self.synapses[projection.name] * rows_goal * columns_goal * kernel, 1.0)
        staying = min(rows_goal / rows_now, 1.0) * min(columns_goal / columns_now, 1.0)
        return max(round((alive * staying - goal) / staying), 0)
