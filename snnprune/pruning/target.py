"""From "60 % pruned" to how many of each population and projection should be left.

The target is the share of all weights (or multiply-accumulates) to prune. ``structured`` says how much of the
log-survival comes from whole units: with s = 1 - target left, units alone leave s^structured, and pruning
single synapses brings that to s. Local: every prunable population loses the same share of its units, and
every prunable linear layer the same share of its synapses; both are solved from the topology. Global: the
least important units of the whole network are pruned (`spread`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from snnprune.pruning.reach import check_reach
from snnprune.pruning.solver import FLOOR, ROUNDING, Measure, Solver, columns_left, rows_left, share_of
from snnprune.pruning.spread import spread

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from snnprune.network.topology import Projection, Topology
    from snnprune.pruning.masks import Masks
    from snnprune.pruning.rule import Candidates, UnitKind

Scope = Literal["local", "global"]
SCOPES: tuple[Scope, ...] = ("local", "global")


@dataclass(frozen=True)
class Target:
    """A share of the network to prune, and how.

    Attributes:
        rate: share of all weights of the network's conv and linear layers, in [0, 1).
        structured: share of the log-survival that whole units contribute, in [0, 1].
        measure: what the rate is a share of: "weights", or "macs" (multiply-accumulates of a sample).
        layers: shares of single layers, by name or glob; the first match counts. A share is of the layer's
            own units and synapses. Synapses that the layer loses with the units before it come on top. The
            other layers are pruned so that the network reaches ``rate``.
        scope: "local": every other layer loses the same share; "global": the least important units of the
            whole network are pruned.
        floor: smallest share of its synapses that every layer keeps, in [0, 1), whatever the others lose for
            it (NNI's ``max_sparsity_per_layer``, seen from what stays). Where units on both of its sides may
            go, each side keeps at least the square root of that share. Layers in ``layers`` have their own
            share in its place.

    Examples:
        >>> from snnprune.pruning import Target
        >>> Target(0.6)  # 60 % of all weights
        Target(rate=0.6, structured=0.5, measure='weights', layers={}, scope='local', floor=0.02)
        >>> by_macs = Target(0.6, measure="macs", layers={"conv1": 0.2, "fc*": 0.8})
    """

    rate: float
    structured: float = 0.5
    measure: Measure = "weights"
    layers: Mapping[str, float] = field(default_factory=dict)
    scope: Scope = "local"
    floor: float = FLOOR

    def __post_init__(self) -> None:
        for rate in (self.rate, *self.layers.values()):
            if not 0.0 <= rate < 1.0:
                raise ValueError(f"a target is a share in [0, 1), came {rate}")
        if not 0.0 <= self.structured <= 1.0:
            raise ValueError(f"structured is a share in [0, 1], came {self.structured}")
        if not 0.0 <= self.floor < 1.0:
            raise ValueError(f"floor is a share in [0, 1), came {self.floor}")
        if self.measure not in ("weights", "macs"):
            raise ValueError(f"a target is a share of 'weights' or of 'macs', came '{self.measure}'")
        if self.scope not in SCOPES:
            raise ValueError(f"the scope of a target is one of {list(SCOPES)}, came '{self.scope}'")

    def plan(
        self, topology: Topology, *, neurons: bool = True, synapses: bool = True, convolutions: bool = False
    ) -> Plan:
        """Solve how many units and synapses should be left.

        Args:
            topology: topology of the dense network.
            neurons: whether the method prunes units.
            synapses: whether the method prunes single synapses (of linear layers).
            convolutions: whether the method prunes single synapses of convolutions, too.

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
        )
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
        return 1.0 - self.solver.cost(self.units, self.synapses) / self.solver.dense

    def assign(
        self,
        candidates: Sequence[Candidates],
        masks: Masks,
        due: float,
        comparable: Collection[UnitKind] = (),
    ) -> list[Candidates]:
        """Return the candidates with the number of each to prune now.

        Args:
            candidates: all candidates that a method decides on together.
            masks: which units and synapses are alive.
            due: share of the units still to be pruned that this decision prunes (`Rule.due`).
            comparable: kinds of units whose scores are on one scale in all layers.
        """
        own = {c.key: self._own(c, masks) for c in candidates}
        if self.target.scope == "local":
            return [replace(c, to_go=round(due * own[c.key])) for c in candidates]
        named = [c for c in candidates if self.target.share_of(self._layers(c)) is not None]
        fixed = {c.key: round(due * own[c.key]) for c in named}
        to_go = spread(self.solver, candidates, fixed, masks, due=due, comparable=comparable)
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


def required(target: Target | None) -> Target:
    """Return ``target``, for a method that does not stop by itself and so needs one.

    Raises:
        ValueError: ``target`` is None.
    """
    if target is None:
        raise ValueError("the method does not stop by itself and needs a target, such as target=0.6")
    return target


def aim(
    target: float | None,
    target_macs: float | None = None,
    *,
    structured: float = Target.structured,
    layers: Mapping[str, float] | None = None,
    scope: Scope = Target.scope,
    floor: float = Target.floor,
) -> Target | None:
    """Return the target that a method's options ask for; ``target_macs`` replaces ``target``."""
    if target_macs is not None:
        return Target(target_macs, structured, "macs", layers or {}, scope, floor)
    return None if target is None else Target(target, structured, "weights", layers or {}, scope, floor)
