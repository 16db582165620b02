"""What each way of adding synapses costs on this machine, and what a layer would take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from snnprune.engine.geometry import Geometry
from snnprune.engine.lanes import LANES
from snnprune.engine.plan import INPUT, Flatten, Layer, Neurons, Pool

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snnprune.engine.plan import Plan

RATE = 0.1
"""Share of neurons that fire in a step, before any sample has been seen."""

TOGETHER = 10
"""Steps that a customary sample has."""


@dataclass(frozen=True)
class Costs:
    """Nanoseconds on one thread.

    Attributes:
        event: to begin with an event of "rows" or "synapses".
        vector: to add a vector of weights in "rows".
        synapse: to add one weight in "synapses".
        shared: to add one weight of a linear layer in "synapses", for a block of steps side by side.
        multiply: to multiply and add a vector in "product".
    """

    event: float = 3.0
    vector: float = 0.3
    synapse: float = 0.6
    shared: float = 0.8
    multiply: float = 0.2


@dataclass(frozen=True)
class Estimate:
    """What a layer would take for a step.

    Attributes:
        name: of the layer.
        alive, every: synapses that are not 0, and all of them.
        nanoseconds: for each way.
    """

    name: str
    alive: int
    every: int
    nanoseconds: dict[str, float]


def estimates(plan: Plan, rates: Mapping[str, float], costs: Costs) -> list[Estimate]:
    """Return what each layer with synapses would take, with measured or customary rates of its inputs."""
    return [
        _estimate(plan, node, rates.get(node.name, _customary(plan, node.sources[0].node)), costs)
        for node in plan.nodes
        if isinstance(node, Layer)
    ]


def _estimate(plan: Plan, node: Layer, rate: float, costs: Costs) -> Estimate:
    geometry = Geometry.of(node, plan.shape_of(node.sources[0]))
    inputs = geometry.channels * geometry.down.size * geometry.right.size
    events = rate * inputs
    alive = int(np.count_nonzero(node.weights))
    vectors = -(-geometry.units // LANES)
    taps = geometry.down.taps * geometry.right.taps / (geometry.down.stride * geometry.right.stride)
    places = geometry.down.outputs * geometry.right.outputs
    reached = alive / node.weights.size * geometry.units * taps
    every = places * geometry.groups * geometry.down.taps * geometry.right.taps * geometry.inputs
    each = events * (costs.event + reached * costs.synapse)
    if geometry.merged and not any(source.delay for other in plan.nodes for source in other.sources):
        ever = 1 - (1 - rate) ** TOGETHER  # the share of inputs that any of these steps has
        each = events * costs.event + ever * inputs * reached * costs.shared / TOGETHER
    return Estimate(
        node.name,
        alive,
        node.weights.size,
        {
            "rows": events * (costs.event + taps * vectors * costs.vector),
            "synapses": each,
            "product": every * vectors * costs.multiply,
        },
    )


def _customary(plan: Plan, place: int) -> float:
    """Return the share of numbers other than 0 that a node is taken to hand on."""
    if place == INPUT:
        return RATE
    node = plan.nodes[place]
    match node:
        case Neurons():
            return RATE
        case Flatten():
            return _customary(plan, node.sources[0].node)
        case Pool():
            silent = 1 - _customary(plan, node.sources[0].node)
            return float(1 - silent ** (np.diff(node.rows).max() * np.diff(node.columns).max()))
    return 1.0
