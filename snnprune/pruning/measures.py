"""What a target is a share of, and what a layer costs by each of these measures.

"weights", "macs" and "bytes" follow from the topology. "synops", "energy" and "latency" follow from what a
layer is given to do as well, its `Load`, which is measured while the network trains (`traffic`). All are of
one sample:

    weights  alive synapses
    macs     alive synapses times output positions, over all time steps
    synops   spikes times the alive synapses that they reach; 0 in a layer with analogue input
    energy   SynOps times `ACCUMULATE_PJ`; in a layer with analogue input, MACs times `MAC_PJ`
    latency  nanoseconds of the event-driven engine, by its cost model, of the quickest way of each layer
    bytes    the smallest of three ways to store a layer's weights with so many bits each

[reading] Latency is of the synapses alone, with the cost model's own constants: the engine has no model of
neurons, pools and norms, and no chip is meant. Bytes are the weights between alive units (a dense block),
or the alive weights with a bit map of that block, or the alive weights with an index each; biases and norms
are left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from snnprune.network.synops import ACCUMULATE_PJ, MAC_PJ

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from snnprune.network.topology import Projection, Topology, Weights

Measure = Literal["weights", "macs", "synops", "energy", "latency", "bytes"]

WHAT: dict[str, str] = {
    "weights": "weights",
    "macs": "multiply-accumulates",
    "synops": "synaptic operations",
    "energy": "energy of the arithmetic",
    "latency": "latency of the event-driven engine's synapses",
    "bytes": "bytes of weights",
}
"""What a target is a share of, in words."""

MEASURED: frozenset[Measure] = frozenset({"synops", "energy", "latency"})
"""Measures that need the activity of the network."""


@dataclass(frozen=True)
class Load:
    """What a layer is given to do for one sample.

    Attributes:
        operations: that one synapse does, over all time steps, on average over those that are alive: the
            spikes that it reads, or the values of an analogue input, zero or not.
        events: values other than zero that one input column has, over all time steps and places, on average
            over those that are alive.
        analogue: whether its input is analogue, so that it multiplies.
    """

    operations: float
    events: float
    analogue: bool = False


@dataclass(frozen=True)
class CostModel:
    """What layers cost with fewer rows, columns and synapses.

    Attributes:
        measure: name of the measure.
        loads: of each layer, for a measure in `MEASURED`; a layer that is not named costs nothing.
        bits: of a weight, for "bytes".

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import snnprune
        >>> from snnprune.pruning.measures import CostModel, Load
        >>> p = snnprune.discover(nn.Sequential(nn.Linear(8, 4)), torch.rand(1, 8)).projections["0"]
        >>> CostModel("synops", {"0": Load(operations=2.5, events=2.5)}).of(p, rows=4, columns=8, left=16)
        40.0
        >>> CostModel("bytes", bits=8).of(p, 4, 8, 16)  # 16 weights and a map of 32 bits: 20; or 32 weights
        20.0
    """

    measure: Measure
    loads: Mapping[str, Load] | None = None
    bits: int = 32

    def of(self, projection: Projection, rows: float, columns: float, left: float) -> float:
        """Return the cost of a layer.

        Args:
            projection: the layer.
            rows: output units that are left.
            columns: input columns that are left.
            left: synapses that are left between them.
        """
        return _COSTS[self.measure](self, projection, rows, columns, left)

    def dense(self, topology: Topology) -> float:
        """Return the cost of a whole network."""
        layers = (
            self.of(p, p.shape[0], p.columns, math.prod(p.shape)) for p in topology.projections.values()
        )
        return sum(layers) + self.of_others(topology)

    def of_others(self, topology: Topology) -> float:
        """Return the cost of weights that belong to no layer; none of it is known by activity."""
        count: Callable[[Weights], float] | None = {
            "weights": lambda w: w.size,
            "macs": lambda w: w.macs,
            "bytes": lambda w: w.size * self.bits / 8,
        }.get(self.measure)
        return 0.0 if count is None else float(sum(count(w) for w in topology.others))

    def load(self, projection: Projection) -> Load:
        """Return the load of a layer."""
        return (self.loads or {}).get(projection.name, Load(0.0, 0.0))


def _weights(_model: CostModel, _p: Projection, _rows: float, _columns: float, left: float) -> float:
    return left


def _macs(_model: CostModel, p: Projection, _rows: float, _columns: float, left: float) -> float:
    return left * p.positions


def _synops(model: CostModel, p: Projection, _rows: float, _columns: float, left: float) -> float:
    load = model.load(p)
    return 0.0 if load.analogue else left * load.operations


def _energy(model: CostModel, p: Projection, _rows: float, _columns: float, left: float) -> float:
    load = model.load(p)
    return left * load.operations * (MAC_PJ if load.analogue else ACCUMULATE_PJ)


def _bytes(model: CostModel, p: Projection, rows: float, columns: float, left: float) -> float:
    whole = rows * columns * math.prod(p.shape[2:])
    index = max(math.ceil(math.log2(max(p.columns * math.prod(p.shape[2:]), 1))), 1)
    return min(whole * model.bits, whole + left * model.bits, left * (model.bits + index)) / 8


def _latency(model: CostModel, p: Projection, rows: float, columns: float, left: float) -> float:
    costs, lanes = _engine()
    load, kernel = model.load(p), math.prod(p.shape[2:])
    begin = load.events * columns * costs.event
    vectors = math.ceil(rows / lanes) if rows else 0
    reached = load.operations * columns * kernel * vectors
    each = costs.shared if p.kind == "linear" else costs.synapse
    return min(
        begin + reached * costs.vector,
        begin + load.operations * left * each,
        p.positions * columns * kernel * vectors * costs.multiply,
    )


@cache
def _engine() -> tuple[Any, int]:
    """Return the engine's costs of ways to add synapses, in nanoseconds, and the numbers of a vector."""
    from snnprune.engine.costs import Costs  # noqa: PLC0415 - compiled kernels, for one measure only
    from snnprune.engine.lanes import LANES  # noqa: PLC0415

    return Costs(), LANES


_COSTS: dict[Measure, Callable[[CostModel, Projection, float, float, float], float]] = {
    "weights": _weights,
    "macs": _macs,
    "synops": _synops,
    "energy": _energy,
    "latency": _latency,
    "bytes": _bytes,
}
