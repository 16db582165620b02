"""The cost of a network with fewer units and synapses, and how many to leave for a wanted cost."""

from __future__ import annotations

import fnmatch
import math
from typing import TYPE_CHECKING, Literal

from snnprune.common.errors import UserError
from snnprune.config.names import nearest
from snnprune.network.runs import left_along, stretches

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from snnprune.network.runs import Run
    from snnprune.network.topology import Population, Projection, Topology

Measure = Literal["weights", "macs"]

ROUNDING = 1e-6
"""Counts of units and synapses that differ by less are the same: shares are rounded in their last digits."""

FLOOR = 0.02
"""Smallest share of a layer's synapses that a target leaves, where nothing else is asked for.

It holds back no target below 0.98. A network of digits that keeps one layer whole, with 60 % of its weights,
and is pruned as far as it goes, is right in 91 % with this floor, in 62 % with half of it, in 9 % with none.
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
        measure: what the rate is a share of, "weights" or "macs".
        layers: shares of single layers, by name or glob.
        floor: smallest share of a layer's synapses that stays.
        neurons: whether units may be pruned.
        synapses: whether single synapses may be pruned.
        convolutions: whether single synapses of convolutions may be pruned, too.

    Attributes:
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
    ) -> None:
        self.topology, self.rate, self.layers, self.neurons = topology, rate, layers, neurons
        self.measure, self.floor = measure, floor
        for glob in layers:
            if not fnmatch.filter(topology.projections, glob):
                raise UserError(f"no layer is called '{glob}': {nearest(glob, topology.projections)}")
        projections = topology.projections.values()
        single = [p for p in projections if synapses and is_prunable(p, convolutions=convolutions)]
        self.prunable = {p.name for p in single}
        self.price = {p.name: p.positions if measure == "macs" else 1 for p in projections}
        self.others = sum(w.macs if measure == "macs" else w.size for w in topology.others)
        self.exponent = (structured if self.prunable else 1.0) if neurons else 0.0
        own = {p.name: share_of(layers, [p.name]) for p in single}
        exponents = {p.name: 1.0 - max(map(self._exponent_of, self.owners(p))) for p in single}
        self.fixed = {n: (1.0 - rate) ** exponents[n] for n, rate in own.items() if rate is not None}
        self.open = self.prunable - set(self.fixed)
        self.fewest = {
            p.name: _at_least(floor, math.prod(p.shape)) if p.name in self.open else 1 for p in single
        }
        self.fewest_units = {p.name: self._fewest_units(p) for p in topology.populations.values()}
        self.dense = self.cost({p.name: float(p.size) for p in topology.populations.values()}, {})
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
        """Return the weights or MACs left with ``units``, and a share of the synapses of some layers."""
        return self.others + sum(
            self.left(p, units, synapses.get(p.name)) * self.price[p.name]
            for p in self.topology.projections.values()
        )

    def left_of(self, population: Population, share: float) -> float:
        """Return how many units of a population are left if all prunable populations lose ``share``.

        Heads and the channels inside heads lose it together, as rows.
        """
        if not self.loses_units(population):
            return float(population.size)
        own = share_of(self.layers, population.producers)
        if own is not None:
            share = 1.0 - (1.0 - own) ** self._exponent_of(population)
        share = 1.0 - (1.0 - share) ** (1.0 / self._factors(population))
        return max(population.size * (1.0 - share), float(self.fewest_units[population.name]))

    def units(self, share: float, *, down: bool = False) -> dict[str, float]:
        """Return the number of units left by population, rounded to the nearest whole unit, or ``down``."""
        left = {p.name: self.left_of(p, share) for p in self.topology.populations.values()}
        return {n: float(math.floor(u + ROUNDING) if down else round(u)) for n, u in left.items()}

    def solve_units(self, wanted: float, synapses: Mapping[str, float]) -> float:
        """Return the share of units to prune so that the cost ``wanted`` is left (bisection; monotonic)."""
        low, high = 0.0, 1.0
        for _ in range(50):
            middle = (low + high) / 2
            units = {p.name: self.left_of(p, middle) for p in self.topology.populations.values()}
            low, high = (middle, high) if self.cost(units, synapses) > wanted else (low, middle)
        return (low + high) / 2

    def solve_synapses(self, units: Mapping[str, float], wanted: float) -> dict[str, float]:
        """Return the share of synapses to leave in each prunable layer for a total cost of ``wanted``.

        It is the same in all layers of ``open``, except that a layer with its fewest synapses is left with
        these, and the others give more.
        """
        projections = self.topology.projections
        whole = {name: self.left(projections[name], units) for name in self.open}
        held: dict[str, float] = {}
        while True:
            rest = self.open - set(held)
            taken = {**dict.fromkeys(rest), **held, **self.fixed}
            thinned = sum(whole[name] * self.price[name] for name in rest)
            without = self.cost(units, {n: s for n, s in taken.items() if s is not None}) - thinned
            share = min(max((wanted - without) / thinned, 0.0), 1.0) if thinned > 0 else 1.0
            low = {n: self.fewest[n] / whole[n] for n in rest if whole[n] * share < self.fewest[n]}
            if not low:
                return {**dict.fromkeys(rest, share), **held, **self.fixed}
            held |= {name: min(least, 1.0) for name, least in low.items()}

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
