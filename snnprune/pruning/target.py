"""From "60 % pruned" to how many of each population and projection should be left.

The target is the share of all weights to prune. ``structured`` says how much of the log-survival of
weights comes from whole units: with s = 1 - target left, units alone would leave s^structured, and single
synapses take it from there to s. Every free population gives the same share of its units, every free
linear layer the same share of its synapses; both are solved from the topology.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snnprune.network.topology import Projection, Topology
    from snnprune.pruning.masks import Masks

_FEWEST_SYNAPSES = (
    0.02  # share of a layer's synapses that a target always leaves, so that no layer is cut off
)
_MOST_UNITS = 0.98


@dataclass(frozen=True)
class Target:
    """A share of all weights to prune, and how.

    Attributes:
        rate: share of all weights of the network's conv and linear layers, in [0, 1).
        structured: share of the log-survival that whole units contribute, in [0, 1].
    """

    rate: float
    structured: float = 0.5

    def __post_init__(self) -> None:
        if not 0.0 <= self.rate < 1.0:
            raise ValueError(f"a target is a share of weights in [0, 1), came {self.rate}")
        if not 0.0 <= self.structured <= 1.0:
            raise ValueError(f"structured is a share in [0, 1], came {self.structured}")

    def plan(self, topology: Topology, *, neurons: bool = True, synapses: bool = True) -> Plan:
        """Solve how many units and synapses should be left.

        Args:
            topology: of the network.
            neurons: whether the method prunes units.
            synapses: whether it prunes single synapses (of linear layers).
        """
        dense = sum(math.prod(p.shape) for p in topology.projections.values())
        wanted = (1.0 - self.rate) * dense
        prunable = {p.name for p in topology.projections.values() if synapses and is_prunable(p)}
        exponent = self.structured if prunable else 1.0
        share = _solve_units(topology, dense * (1.0 - self.rate) ** exponent, set()) if neurons else 0.0
        units = _units_left(topology, share)
        synapse = _synapses_left(topology, units, prunable, wanted)
        if neurons and prunable and synapse <= _FEWEST_SYNAPSES:
            share = max(share, _solve_units(topology, wanted, prunable))
            units = _units_left(topology, share)
            synapse = _synapses_left(topology, units, prunable, wanted)
        return Plan(topology, units, synapse)


def is_prunable(projection: Projection) -> bool:
    """Tell whether single synapses of ``projection`` may die (DPAP prunes convolutions by channel)."""
    return projection.kind == "linear" and projection.frozen is None


@dataclass(frozen=True)
class Plan:
    """What should be left at the end.

    Attributes:
        topology: of the network.
        units: alive units by population.
        synapse: share of the synapses between living units that should live, in linear layers.
    """

    topology: Topology
    units: Mapping[str, int]
    synapse: float

    def neurons_to_go(self, population: str, masks: Masks) -> int:
        """Return how many units of ``population`` should still die."""
        return max(int(masks.units[population].sum()) - self.units[population], 0)

    def synapses_to_go(self, projection: Projection, masks: Masks) -> int:
        """Return how many of the synapses alive now should still die by themselves.

        Synapses that neurons will take along when they die are left out in proportion.
        """
        alive = int(masks.alive(projection).sum())
        columns_goal = _columns(projection, self.units)
        columns_now = int(masks.columns(projection).sum())
        post_now = int(masks.units[projection.post].sum())
        goal = self.synapse * self.units[projection.post] * columns_goal
        staying = min(self.units[projection.post] / post_now, 1.0) * min(columns_goal / columns_now, 1.0)
        return max(round((alive * staying - goal) / staying), 0)


def _columns(projection: Projection, units: Mapping[str, float]) -> float:
    known = sum(i.size * i.spread for i in projection.inflow)
    return projection.columns - known + sum(units[i.population] * i.spread for i in projection.inflow)


def _weights(projection: Projection, units: Mapping[str, float]) -> float:
    """Return the projection's weights when only ``units`` are left."""
    kernel = math.prod(projection.shape[2:])
    return units[projection.post] * _columns(projection, units) * kernel


def _fractional(topology: Topology, share: float) -> dict[str, float]:
    return {
        p.name: p.size if p.frozen is not None else max(p.size * (1.0 - share), 1.0)
        for p in topology.populations.values()
    }


def _units_left(topology: Topology, share: float) -> dict[str, int]:
    return {name: round(left) for name, left in _fractional(topology, share).items()}


def _solve_units(topology: Topology, wanted: float, thinned: set[str]) -> float:
    """Return the share of units to cut so that ``wanted`` weights are left (bisection; it is monotonic)."""
    low, high = 0.0, _MOST_UNITS
    for _ in range(50):
        middle = (low + high) / 2
        units = _fractional(topology, middle)
        left = sum(
            _weights(p, units) * (_FEWEST_SYNAPSES if p.name in thinned else 1.0)
            for p in topology.projections.values()
        )
        low, high = (middle, high) if left > wanted else (low, middle)
    return (low + high) / 2


def _synapses_left(topology: Topology, units: Mapping[str, int], prunable: set[str], wanted: float) -> float:
    """Return the share of synapses of ``prunable`` to leave so that ``wanted`` weights are left in all."""
    thinned = sum(_weights(p, units) for p in topology.projections.values() if p.name in prunable)
    other = sum(_weights(p, units) for p in topology.projections.values() if p.name not in prunable)
    if not thinned:
        return 1.0
    return min(max((wanted - other) / thinned, _FEWEST_SYNAPSES), 1.0)
