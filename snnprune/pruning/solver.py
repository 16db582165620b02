"""The cost of a network with fewer units and synapses, and how many to leave for a wanted cost."""

from __future__ import annotations

import fnmatch
import math
from typing import TYPE_CHECKING, Literal

from snnprune.common.errors import UserError
from snnprune.config.names import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from snnprune.network.topology import Population, Projection, Topology

Measure = Literal["weights", "macs"]

FEWEST = 0.02
"""Least share of a layer's units, and of its synapses, that a target leaves: no layer is emptied."""


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

    Args:
        topology: topology of the dense network.
        rate: share of the network to prune.
        structured: share of the log-survival that whole units contribute.
        measure: what the rate is a share of, "weights" or "macs".
        layers: shares of single layers, by name or glob.
        neurons: whether units may be pruned.
        synapses: whether single synapses may be pruned.
        convolutions: whether single synapses of convolutions may be pruned, too.

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
        neurons: bool,
        synapses: bool,
        convolutions: bool,
    ) -> None:
        self.topology, self.rate, self.layers, self.neurons = topology, rate, layers, neurons
        for glob in layers:
            if not fnmatch.filter(topology.projections, glob):
                raise UserError(f"no layer is called '{glob}': {nearest(glob, topology.projections)}")
        projections = topology.projections.values()
        self.prunable = {
            p.name for p in projections if synapses and is_prunable(p, convolutions=convolutions)
        }
        self.price = {
            p.name: math.prod(p.shape[2:]) * (p.positions if measure == "macs" else 1) for p in projections
        }
        self.others = sum(w.macs if measure == "macs" else w.size for w in topology.others)
        self.exponent = (structured if self.prunable else 1.0) if neurons else 0.0
        self.dense = self.cost({p.name: float(p.size) for p in topology.populations.values()}, {})
        self.wanted = (1.0 - rate) * self.dense

    @property
    def wanted_of_units(self) -> float:
        """The cost that should be left after whole units alone are pruned."""
        return self.dense * (1.0 - self.rate) ** self.exponent

    def cost(self, units: Mapping[str, float], synapses: Mapping[str, float]) -> float:
        """Return the weights or MACs left with ``units``, and a share of the synapses of some layers."""
        return self.others + sum(
            units[p.post] * columns_left(p, units) * self.price[p.name] * synapses.get(p.name, 1.0)
            for p in self.topology.projections.values()
        )

    def left_of(self, population: Population, share: float) -> float:
        """Return how many units of a population are left if all prunable populations lose ``share``."""
        if population.frozen is not None or not self.neurons:
            return float(population.size)
        own = share_of(self.layers, population.producers)
        if own is not None:
            exponent = self.exponent if population.kind == "neurons" else 1.0
            share = 1.0 - (1.0 - own) ** exponent
        return max(population.size * (1.0 - share), 1.0)

    def units(self, share: float) -> dict[str, float]:
        """Return the number of units left by population, rounded to whole units."""
        return {p.name: float(round(self.left_of(p, share))) for p in self.topology.populations.values()}

    def solve_units(self, wanted: float, synapses: Mapping[str, float]) -> float:
        """Return the share of units to prune so that the cost ``wanted`` is left (bisection; monotonic)."""
        low, high = 0.0, 1.0 - FEWEST
        for _ in range(50):
            middle = (low + high) / 2
            units = {p.name: self.left_of(p, middle) for p in self.topology.populations.values()}
            low, high = (middle, high) if self.cost(units, synapses) > wanted else (low, middle)
        return (low + high) / 2

    def solve_synapses(self, units: Mapping[str, float], wanted: float) -> dict[str, float]:
        """Return the share of synapses to leave in each prunable layer for a total cost of ``wanted``."""
        own = {name: share_of(self.layers, [name]) for name in self.prunable}
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
