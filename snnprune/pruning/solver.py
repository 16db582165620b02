"""The cost of a network with fewer units and synapses, and how many to leave for a wanted cost."""

from __future__ import annotations

import fnmatch
import math
from typing import TYPE_CHECKING

from snnprune.common.errors import UserError
from snnprune.config.names import nearest
from snnprune.network.runs import left_along, stretches
from snnprune.pruning.distribution import Proportional
from snnprune.pruning.measures import CostModel

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from snnprune.network.runs import Run
    from snnprune.network.topology import Population, Projection, Topology
    from snnprune.pruning.distribution import Distribution, Scope
    from snnprune.pruning.measures import Measure

ROUNDING = 1e-6
"""Counts of units and synapses that differ by less are the same: shares are rounded in their last digits."""

HALVINGS = 60
"""Steps of a bisection: a level is then known to 1e-18."""

FLOOR = 0.005
"""Smallest share of a layer's synapses that a target leaves, where nothing else is asked for.

With 0.02 a target of 0.975 leaves nearly every layer its floor, whatever the scope: |w| by LAMP then keeps
92.1 % of conv-snn's accuracy on the validation part of 6,000 images of MNIST, and 96.7 % with this floor
(seed 0). A network that keeps one layer whole, with 60 % of its weights, and is pruned as far as it goes,
needs more: of digits 91 % are right with 0.02, 62 % with 0.01, and 9 % with none.
"""


def is_prunable(projection: Projection, *, output: bool = False, convolutions: bool = False) -> bool:
    """Tell whether single synapses of ``projection`` may be pruned.

    Args:
        projection: the synapses.
        output: whether synapses onto the network's output may be pruned, too (DPAP never prunes them).
        convolutions: whether synapses of convolutions may be pruned, too (DPAP prunes convolutions by
            channel).

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import snnprune
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> projections = snnprune.discover(model, torch.rand(1, 4)).projections
        >>> [snnprune.pruning.is_prunable(projections[name]) for name in ("0", "2")]  # "2" is the output
        [True, False]
    """
    return (
        projection.frozen is None
        and (output or not projection.output)
        and (convolutions or projection.kind == "linear")
    )


def share_of(layers: Mapping[str, float], names: Iterable[str]) -> float | None:
    """Return the share for the first entry of ``layers`` (name or glob) that matches one of ``names``."""
    names = list(names)
    return next((rate for glob, rate in layers.items() if fnmatch.filter(names, glob)), None)


class Solver:
    """Computes the cost of a network with fewer units and synapses, and how many to leave for a wanted cost.

    Every layer keeps at least ``floor`` of its synapses. Where units on both of its sides may go, each side
    keeps at least the square root of that share. A layer in ``layers`` has its own share in its place.

    Args:
        topology: topology of the dense network.
        rate: share of the network to prune.
        structured: share of the log-survival that whole units contribute.
        measure: what the rate is a share of (`snnprune.pruning.measures`).
        layers: shares of single layers, by name or glob.
        floor: smallest share of a layer's synapses that stays.
        neurons: whether units may be pruned.
        synapses: whether single synapses may be pruned.
        convolutions: whether single synapses of convolutions may be pruned, too.
        scope: how the target is distributed over layers, where it sets densities.
        sensitive: the distribution of scope "sensitivity"; the same share of each layer until it is known.
        costs: what layers cost now; None: what follows from the topology and ``measure``.
        dense: cost of the dense network; None: at ``costs``.

    Attributes:
        costs: what layers cost.
        prunable: names of the projections whose synapses are pruned singly.
        open: those of them that ``layers`` does not name.
        fixed: shares of synapses to leave in the others.
        fewest: least number of synapses that stays, by name of the projections in ``prunable``.
        fewest_units: least number of units that stays, by population.

    Raises:
        UserError: a name in ``layers`` matches no layer.
    """

    def __init__(
        self,
        topology: Topology,
        rate: float,
        structured: float,
        measure: Measure,
        layers: Mapping[str, float],
        *,
        floor: float,
        neurons: bool,
        synapses: bool,
        convolutions: bool,
        scope: Scope = "local",
        sensitive: Distribution | None = None,
        costs: CostModel | None = None,
        dense: float | None = None,
    ) -> None:
        self.topology, self.rate, self.layers, self.neurons = topology, rate, layers, neurons
        self.measure, self.floor = measure, floor
        self.costs = costs or CostModel(measure)
        for glob in layers:
            if not fnmatch.filter(topology.projections, glob):
                raise UserError(f"no layer is called '{glob}': {nearest(glob, topology.projections)}")
        projections = topology.projections.values()
        single = [p for p in projections if synapses and is_prunable(p, convolutions=convolutions)]
        self.prunable = {p.name for p in single}
        self.others = self.costs.of_others(topology)
        self.exponent = (structured if self.prunable else 1.0) if neurons else 0.0
        own = {p.name: share_of(layers, [p.name]) for p in single}
        exponents = {p.name: 1.0 - max(map(self._exponent_of, self.owners(p))) for p in single}
        self.fixed = {n: (1.0 - rate) ** exponents[n] for n, rate in own.items() if rate is not None}
        self.open = self.prunable - set(self.fixed)
        self.fewest = {
            p.name: _at_least(floor, math.prod(p.shape)) if p.name in self.open else 1 for p in single
        }
        self.fewest_units = {p.name: self._fewest_units(p) for p in topology.populations.values()}
        self.distribution = self._distribution(scope, sensitive)
        self.dense = self.costs.dense(topology) if dense is None else dense
        self.wanted = (1.0 - rate) * self.dense

    @property
    def thinnest(self) -> dict[str, float]:
        """Shares of synapses for `cost` at which every layer in ``open`` is left with its fewest."""
        return {**dict.fromkeys(self.open, 0.0), **self.fixed}

    @property
    def wanted_of_units(self) -> float:
        """The cost that should be left after whole units alone are pruned."""
        return self.dense * (1.0 - self.rate) ** self.exponent

    def owners(self, projection: Projection) -> list[Population]:
        """Return the populations that own the rows of ``projection``."""
        return [self.topology.populations[o.population] for o in projection.outflow]

    def loses_units(self, population: Population) -> bool:
        """Tell whether units of ``population`` may be pruned."""
        return self.neurons and population.frozen is None

    def left(self, projection: Projection, units: Mapping[str, float], share: float | None = None) -> float:
        """Return the number of synapses left in a projection with ``units``.

        Args:
            projection: of the dense network.
            units: number of units left, by population.
            share: of the synapses between these units; None: all. No less than the fewest are left.
        """
        whole = rows_left(projection, units) * columns_left(projection, units)
        whole *= math.prod(projection.shape[2:])
        return whole if share is None else max(whole * share, min(self.fewest[projection.name], whole))

    def cost(self, units: Mapping[str, float], synapses: Mapping[str, float]) -> float:
        """Return the cost of the network with ``units``, and a share of the synapses of some layers."""
        return self.others + sum(
            self.spent(p, units, self.left(p, units, synapses.get(p.name)))
            for p in self.topology.projections.values()
        )

    def spent(self, projection: Projection, units: Mapping[str, float], left: float) -> float:
        """Return the cost of a projection with ``units``, and ``left`` synapses between them."""
        rows, columns = rows_left(projection, units), columns_left(projection, units)
        return self.costs.of(projection, rows, columns, left)

    def left_of(self, population: Population, level: float) -> float:
        """Return how many units of a population are left at a level of the distribution.

        Heads and the channels inside heads give together, as rows.
        """
        if not self.loses_units(population):
            return float(population.size)
        own = share_of(self.layers, population.producers)
        if own is not None:
            left = (1.0 - own) ** self._exponent_of(population)
        else:
            left = self.distribution.left(f"neurons/{population.name}", level)
        left **= 1.0 / self._factors(population)
        return max(population.size * left, float(self.fewest_units[population.name]))

    def units(self, level: float, *, down: bool = False) -> dict[str, float]:
        """Return the number of units left by population, rounded to the nearest whole unit, or ``down``."""
        left = {p.name: self.left_of(p, level) for p in self.topology.populations.values()}
        return {n: float(math.floor(u + ROUNDING) if down else round(u)) for n, u in left.items()}

    def solve_units(self, wanted: float, synapses: Mapping[str, float]) -> float:
        """Return the level of units at which the cost ``wanted`` is left (bisection; monotonic)."""
        low, high = 0.0, 1.0
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            units = {p.name: self.left_of(p, middle) for p in self.topology.populations.values()}
            low, high = (middle, high) if self.cost(units, synapses) > wanted else (low, middle)
        return (low + high) / 2

    def solve_synapses(self, units: Mapping[str, float], wanted: float) -> dict[str, float]:
        """Return the share of synapses to leave in each prunable layer for a total cost of ``wanted``.

        The layers of ``open`` are at one level of the distribution, except that a layer with its fewest
        synapses is left with these, and the others give more.
        """
        projections = self.topology.projections
        whole = {name: self.left(projections[name], units) for name in self.open}
        least = {name: min(self.fewest[name] / max(whole[name], 1.0), 1.0) for name in self.open}

        def at(level: float) -> dict[str, float]:
            left = {n: max(self.distribution.left(f"synapses/{n}", level), least[n]) for n in self.open}
            return {**left, **self.fixed}

        low, high = 0.0, 1.0
        if self.cost(units, at(low)) <= wanted:
            return at(low)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if self.cost(units, at(middle)) > wanted else (low, middle)
        return at((low + high) / 2)

    def of_density(self, density: float) -> dict[str, float]:
        """Return the share of synapses to leave where all units stay, and a density of those in ``open``.

        Args:
            density: share of what these layers cost.
        """
        units = {p.name: float(p.size) for p in self.topology.populations.values()}
        whole = [p for name, p in self.topology.projections.items() if name in self.open]
        going = (1.0 - density) * sum(self.spent(p, units, self.left(p, units)) for p in whole)
        return self.solve_synapses(units, self.cost(units, self.fixed) - going)

    def _distribution(self, scope: Scope, sensitive: Distribution | None) -> Distribution:
        """Return how layers give for a level.

        [reading] A layer whose units and synapses may both be pruned has the density of "erk" by the two
        together, as ``structured`` divides it; a population has the mean of the layers that write into it.
        """
        if scope == "sensitivity" and sensitive is not None:
            return sensitive
        if scope != "erk":
            return Proportional({})
        thin = {p.name: sum(p.shape) / math.prod(p.shape) for p in self.topology.projections.values()}
        raw: dict[str, float] = {}
        for name in self.prunable:
            owners = self.owners(self.topology.projections[name])
            raw[f"synapses/{name}"] = thin[name] ** (1.0 - max(map(self._exponent_of, owners)))
        for population in filter(self.loses_units, self.topology.populations.values()):
            own = [thin[name] for name in population.producers if name in thin]
            if own:
                raw[f"neurons/{population.name}"] = (sum(own) / len(own)) ** self._exponent_of(population)
        return Proportional(raw)

    def _exponent_of(self, population: Population) -> float:
        """Return the part of a layer's own share, in the log-survival, that its whole units contribute."""
        if not self.loses_units(population):
            return 0.0
        return self.exponent if self.prunable & set(population.producers) else 1.0

    def _fewest_units(self, population: Population) -> int:
        if not self.loses_units(population):
            return population.size
        if share_of(self.layers, population.producers) is not None:
            return 1
        layers = [*self.topology.incoming(population.name), *self.topology.outgoing(population.name)]
        return _at_least(self.floor ** (1.0 / max(map(self._sides, layers), default=1)), population.size)

    def _sides(self, projection: Projection) -> int:
        """Return on how many sides of a projection units may be pruned; heads and their channels are two."""
        return sum(
            max((len(self._losing(stretch)) for stretch in stretches(runs)), default=0)
            for runs in (projection.inflow, projection.outflow)
        )

    def _factors(self, population: Population) -> int:
        """Return how many populations, of which units may be pruned, share the rows of a population."""
        shared = (
            stretch
            for p in self.topology.incoming(population.name)
            for stretch in stretches(p.outflow)
            if any(run.population == population.name for run in stretch)
        )
        return max((len(self._losing(stretch)) for stretch in shared), default=1)

    def _losing(self, runs: Iterable[Run]) -> set[str]:
        populations = self.topology.populations
        return {run.population for run in runs if self.loses_units(populations[run.population])}


def _at_least(share: float, size: int) -> int:
    """Return how many of ``size`` are no less than ``share`` of it, and at least one."""
    return max(math.ceil(share * size - ROUNDING), 1)


def columns_left(projection: Projection, units: Mapping[str, float]) -> float:
    """Return how many input columns of a projection are left with ``units``."""
    return left_along(projection.columns, projection.inflow, units)


def rows_left(projection: Projection, units: Mapping[str, float]) -> float:
    """Return how many outputs of a projection are left with ``units``."""
    return left_along(projection.shape[0], projection.outflow, units)
