"""From "60 % pruned" to how many of each population and projection should be left.

The target is the share of all weights (or multiply-accumulates) to prune. ``structured`` says how much of the
log-survival comes from whole units: with s = 1 - target left, units alone would leave s^structured, and
single synapses take it from there to s. Local: every free population gives the same share of its units, every
free linear layer the same share of its synapses; both are solved from the topology. Global: the least
important go, wherever they are (`spread`).
"""

from __future__ import annotations

import fnmatch
import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from snnprune.common.errors import UserError
from snnprune.config.names import nearest
from snnprune.pruning.spread import FEWEST, spread

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from snnprune.network.topology import Population, Projection, Topology
    from snnprune.pruning.masks import Masks
    from snnprune.pruning.rule import Candidates, UnitKind

Measure = Literal["weights", "macs"]
Scope = Literal["local", "global"]
SCOPES: tuple[Scope, ...] = ("local", "global")


@dataclass(frozen=True)
class Target:
    """A share of the network to prune, and how.

    Attributes:
        rate: share of all weights of the network's conv and linear layers, in [0, 1).
        structured: share of the log-survival that whole units contribute, in [0, 1].
        measure: what the rate is a share of: "weights", or "macs" (multiply-accumulates of a sample).
        layers: shares of single layers, by name or glob (the first that fits counts): how much a layer gives
            of its own units and synapses; what it loses with the units before it comes on top. The other
            layers make up for the rest of the rate.
        scope: "local", every other layer gives the same share, or "global", the least important go wherever
            they are.

    Examples:
        >>> from snnprune.pruning import Target
        >>> Target(0.6)  # 60 % of all weights
        Target(rate=0.6, structured=0.5, measure='weights', layers={}, scope='local')
        >>> by_macs = Target(0.6, measure="macs", layers={"conv1": 0.2, "fc*": 0.8})
    """

    rate: float
    structured: float = 0.5
    measure: Measure = "weights"
    layers: Mapping[str, float] = field(default_factory=dict)
    scope: Scope = "local"

    def __post_init__(self) -> None:
        for rate in (self.rate, *self.layers.values()):
            if not 0.0 <= rate < 1.0:
                raise ValueError(f"a target is a share in [0, 1), came {rate}")
        if not 0.0 <= self.structured <= 1.0:
            raise ValueError(f"structured is a share in [0, 1], came {self.structured}")
        if self.measure not in ("weights", "macs"):
            raise ValueError(f"a target is a share of 'weights' or of 'macs', came '{self.measure}'")
        if self.scope not in SCOPES:
            raise ValueError(f"the scope of a target is one of {list(SCOPES)}, came '{self.scope}'")

    def plan(
        self, topology: Topology, *, neurons: bool = True, synapses: bool = True, convolutions: bool = False
    ) -> Plan:
        """Solve how many units and synapses should be left.

        Args:
            topology: of the dense network.
            neurons: whether the method prunes units.
            synapses: whether it prunes single synapses (of linear layers).
            convolutions: whether it prunes those of convolutions, too.

        Raises:
            UserError: a name in ``layers`` fits no layer.
        """
        return Solver(self, topology, neurons=neurons, synapses=synapses, convolutions=convolutions).plan()

    def share_of(self, names: Iterable[str]) -> float | None:
        """Return the share that ``layers`` asks of a layer with one of ``names``, or None."""
        names = list(names)
        fitting = (rate for glob, rate in self.layers.items() if fnmatch.filter(names, glob))
        return next(fitting, None)


def is_prunable(projection: Projection, *, output: bool = False, convolutions: bool = False) -> bool:
    """Tell whether single synapses of ``projection`` may die.

    Args:
        projection: the synapses.
        output: whether those that write into the network's output count, too (DPAP leaves them alone).
        convolutions: whether those of convolutions do (DPAP prunes convolutions by channel).
    """
    return (
        projection.frozen is None
        and (output or not projection.output)
        and (convolutions or projection.kind == "linear")
    )


@dataclass(frozen=True)
class Plan:
    """What should be left at the end.

    Attributes:
        topology: of the dense network.
        units: alive units by population.
        synapses: by projection, the share of the synapses between living units that should live.
        solver: what the two were solved with.
    """

    topology: Topology
    units: Mapping[str, int]
    synapses: Mapping[str, float]
    solver: Solver

    def assign(
        self,
        candidates: Sequence[Candidates],
        masks: Masks,
        due: float,
        comparable: Collection[UnitKind] = (),
    ) -> list[Candidates]:
        """Return the candidates with how many of each should die now.

        Args:
            candidates: all that a method decides on together.
            masks: who is alive.
            due: share of what is still to go that goes now (`Rule.due`).
            comparable: kinds of units whose scores are on one scale in all layers.
        """
        own = {c.key: self._own(c, masks) for c in candidates}
        if self.solver.target.scope == "local":
            return [replace(c, to_go=round(due * own[c.key])) for c in candidates]
        named = [c for c in candidates if self.solver.target.share_of(self._layers(c)) is not None]
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
        return self.topology.populations[candidates.name].producers

    def neurons_to_go(self, population: str, masks: Masks) -> int:
        """Return how many units of ``population`` should still die."""
        return max(int(masks.units[population].sum()) - self.units[population], 0)

    def synapses_to_go(self, projection: Projection, masks: Masks) -> int:
        """Return how many of the synapses alive now should still die by themselves.

        Synapses that neurons will take along when they die are left out in proportion.
        """
        alive = int(masks.alive(projection).sum())
        columns_goal = columns_left(self.topology.projections[projection.name], self.units)
        columns_now = int(masks.columns(projection).sum())
        post_now = int(masks.units[projection.post].sum())
        kernel = math.prod(projection.shape[2:])
        goal = self.synapses[projection.name] * self.units[projection.post] * columns_goal * kernel
        staying = min(self.units[projection.post] / post_now, 1.0) * min(columns_goal / columns_now, 1.0)
        return max(round((alive * staying - goal) / staying), 0)


class Solver:
    """What a network costs with fewer units and synapses, and how many to leave for a wanted cost."""

    def __init__(
        self, target: Target, topology: Topology, *, neurons: bool, synapses: bool, convolutions: bool
    ) -> None:
        self.target, self.topology, self.neurons = target, topology, neurons
        for glob in target.layers:
            if not fnmatch.filter(topology.projections, glob):
                raise UserError(f"no layer is called '{glob}': {nearest(glob, topology.projections)}")
        projections = topology.projections.values()
        self.prunable = {
            p.name for p in projections if synapses and is_prunable(p, convolutions=convolutions)
        }
        self.price = {
            p.name: math.prod(p.shape[2:]) * (p.positions if target.measure == "macs" else 1)
            for p in projections
        }
        self.exponent = (target.structured if self.prunable else 1.0) if neurons else 0.0
        self.dense = self.cost({p.name: float(p.size) for p in topology.populations.values()}, {})
        self.wanted = (1.0 - target.rate) * self.dense

    @property
    def wanted_of_units(self) -> float:
        """What whole units alone should leave."""
        return self.dense * (1.0 - self.target.rate) ** self.exponent

    def plan(self) -> Plan:
        """Solve the same share for all layers."""
        wanted = self.wanted
        share = self.solve_units(self.wanted_of_units, {}) if self.neurons else 0.0
        units = self.units(share)
        synapses = self.solve_synapses(units, wanted)
        fewest = dict.fromkeys(self.prunable, FEWEST)
        if self.neurons and self.prunable and max(synapses.values()) <= FEWEST:
            units = self.units(max(share, self.solve_units(wanted, fewest)))
            synapses = self.solve_synapses(units, wanted)
        return Plan(self.topology, {n: round(u) for n, u in units.items()}, synapses, self)

    def cost(self, units: Mapping[str, float], synapses: Mapping[str, float]) -> float:
        """Return the weights or MACs left with ``units``, and a share of the synapses of some layers."""
        return sum(
            units[p.post] * columns_left(p, units) * self.price[p.name] * synapses.get(p.name, 1.0)
            for p in self.topology.projections.values()
        )

    def left_of(self, population: Population, share: float) -> float:
        """Return how many units of a population are left when all free ones give ``share``."""
        if population.frozen is not None or not self.neurons:
            return float(population.size)
        own = self.target.share_of(population.producers)
        if own is not None:
            exponent = self.exponent if population.kind == "neurons" else 1.0
            share = 1.0 - (1.0 - own) ** exponent
        return max(population.size * (1.0 - share), 1.0)

    def units(self, share: float) -> dict[str, float]:
        """Return whole units left by population."""
        return {p.name: float(round(self.left_of(p, share))) for p in self.topology.populations.values()}

    def solve_units(self, wanted: float, synapses: Mapping[str, float]) -> float:
        """Return the share of units to cut so that ``wanted`` is left (bisection; it is monotonic)."""
        low, high = 0.0, 1.0 - FEWEST
        for _ in range(50):
            middle = (low + high) / 2
            units = {p.name: self.left_of(p, middle) for p in self.topology.populations.values()}
            low, high = (middle, high) if self.cost(units, synapses) > wanted else (low, middle)
        return (low + high) / 2

    def solve_synapses(self, units: Mapping[str, float], wanted: float) -> dict[str, float]:
        """Return the share of synapses to leave in each prunable layer so that ``wanted`` is left in all."""
        own = {name: self.target.share_of([name]) for name in self.prunable}
        fixed = {n: (1.0 - rate) ** (1.0 - self.exponent) for n, rate in own.items() if rate is not None}
        rest = self.prunable - set(fixed)
        without = self.cost(units, {**fixed, **dict.fromkeys(rest, 0.0)})
        thinned = self.cost(units, {**fixed, **dict.fromkeys(rest, 1.0)}) - without
        share = min(max((wanted - without) / thinned, FEWEST), 1.0) if thinned > 0 else 1.0
        return {**dict.fromkeys(rest, share), **fixed}


def columns_left(projection: Projection, units: Mapping[str, float]) -> float:
    """Return how many input columns of a projection are left with ``units``."""
    known = sum(i.size * i.spread for i in projection.inflow)
    return projection.columns - known + sum(units[i.population] * i.spread for i in projection.inflow)


def aim(
    target: float | None,
    target_macs: float | None = None,
    *,
    structured: float = Target.structured,
    layers: Mapping[str, float] | None = None,
    scope: Scope = Target.scope,
) -> Target | None:
    """Return the target that a method's options ask for; ``target_macs`` stands in for ``target``."""
    if target_macs is not None:
        return Target(target_macs, structured, "macs", layers or {}, scope)
    return None if target is None else Target(target, structured, "weights", layers or {}, scope)
