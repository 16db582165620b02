"""Whether a target can be reached, and what keeps it from that."""

from __future__ import annotations

import fnmatch
import math
from typing import TYPE_CHECKING

from snnprune.common.errors import UserError
from snnprune.network.synops import may_spike
from snnprune.pruning.measures import WHAT
from snnprune.pruning.solver import ROUNDING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from snnprune.network.topology import Projection, Topology
    from snnprune.pruning.measures import Measure
    from snnprune.pruning.solver import Solver

MISSED = 0.005
"""Share of the network by which a target may be missed: the rounding of a target in whole per cent."""

NAMED = 3
"""Most layers that a message names."""


class OutOfReachError(UserError):
    """A target that cannot be reached in this network.

    Attributes:
        most: the largest share that can be pruned.
    """

    def __init__(self, sentence: str, most: float) -> None:
        super().__init__(sentence)
        self.most = most


def check_spikes(rates: Mapping[Measure, float], model: nn.Module, topology: Topology) -> None:
    """Check that a network does what a target is a share of, as far as that is known before it runs.

    Args:
        rates: shares to prune, by what they are shares of.
        model: the network.
        topology: its topology.

    Raises:
        UserError: a share of the synaptic operations is to be pruned, and the network does none.
    """
    rate = rates.get("synops", 0.0)
    if rate and not may_spike(model, topology):
        raise UserError(
            f"target {rate:g} of all {WHAT['synops']} cannot be reached: no neurons of this network are "
            "known to spike, so that it does none: take target_macs or target_energy, or name neuron classes "
            "of other libraries with neurons=..."
        )


def most(solver: Solver) -> float:
    """Return the largest share of the network that can be pruned.

    What stays are the layers that are kept whole, the fewest units of each population and the fewest synapses
    of each layer, between them; and what ``layers`` leaves of the layers that it names.
    """
    return 1.0 - solver.cost(solver.units(1.0), solver.thinnest) / solver.dense


def check_reach(solver: Solver) -> None:
    """Check that the target can be reached.

    Raises:
        OutOfReachError: no more than a smaller share can be pruned.
        UserError: a layer with a share of its own cannot give it, or these layers alone give more than the
            target.
    """
    for glob, rate in solver.layers.items():
        _check_layer(solver, glob, rate)
    highest = most(solver)
    if solver.dense * (solver.rate - highest) > ROUNDING:
        raise OutOfReachError(
            f"target {solver.rate:g} of all {WHAT[solver.measure]} cannot be reached: "
            f"{_shown_most(highest)} can be pruned, because {why(solver)}",
            highest,
        )
    units = {p.name: solver.left_of(p, 0.0) for p in solver.topology.populations.values()}
    named = 1.0 - solver.cost(units, solver.fixed) / solver.dense
    if named > solver.rate + MISSED:
        raise UserError(
            f"target {solver.rate:g} of all {WHAT[solver.measure]} does not fit the shares of single layers "
            f"(layers): these alone prune {_up(named):g} of the network: raise the target to that, or lower "
            "the shares"
        )


def _check_layer(solver: Solver, glob: str, rate: float) -> None:
    """Refuse a layer's own share that no layer of this name can give."""
    if rate == 0.0:
        return
    names = fnmatch.filter(solver.topology.projections, glob)
    projections = [solver.topology.projections[name] for name in names]
    if any(_gives(solver, p, rate) for p in projections):
        return
    first = projections[0]
    raise UserError(
        f"layer '{first.name}' cannot lose {rate:g} of its units and synapses ({_reason(solver, first)}): "
        f"leave '{glob}' out of layers, or lower its share"
    )


def _gives(solver: Solver, projection: Projection, rate: float) -> bool:
    if projection.name in solver.prunable:
        return math.prod(projection.shape) * (1.0 - rate) >= 0.5  # rounded, one synapse is left
    losing = any(map(solver.loses_units, solver.owners(projection)))
    return losing and projection.shape[0] * (1.0 - rate) >= 0.5


def why(solver: Solver) -> str:
    """Return what keeps the most from being pruned, and what to do, as a clause."""
    units, thinnest = solver.units(1.0), solver.thinnest
    if not solver.dense:
        return f"the network has none (no {WHAT[solver.measure]} were seen): look whether its neurons fire"
    said: dict[str, float] = {}
    floor = 0.0
    for name, p in solver.topology.projections.items():
        size, left = math.prod(p.shape), solver.left(p, units, thinnest.get(name))
        kept = solver.spent(p, units, left) / solver.dense
        if left <= solver.fewest.get(name, 0):
            floor += kept
            continue
        keeps = "is kept whole" if left == size else f"keeps at least {left / size:.1%}"
        whole = solver.costs.of(p, p.shape[0], p.columns, size) / solver.dense
        share = f"{whole:.1%} of the {WHAT[solver.measure]}"
        said[f"layer '{name}' ({share}) {keeps} ({_reason(solver, p)})"] = kept
    if solver.others:
        kept = solver.others / solver.dense
        said[f"weights of no layer ({kept:.1%} of the {WHAT[solver.measure]}) are kept whole"] = kept
    low = floor > 0 and not said
    if floor:
        said[
            f"every {'' if low else 'other '}layer keeps at least {solver.floor:.1%} (floor={solver.floor:g})"
        ] = floor
    order = sorted(said, key=lambda each: -said[each])[:NAMED]
    more = f"; and {len(said) - len(order)} more" if len(said) > len(order) else ""
    return f"{'; '.join(order)}{more}: lower the target{', or the floor' if low else ', or free a layer'}"


def _reason(solver: Solver, projection: Projection) -> str:
    """Return why a layer cannot lose more."""
    if projection.frozen is not None:
        return projection.frozen
    owners = solver.owners(projection)
    frozen = next((p.frozen for p in owners if p.frozen is not None), None)
    if frozen is not None and projection.name not in solver.prunable:
        return frozen
    if projection.name in solver.fixed:
        return "layers sets its share"
    if not solver.prunable:
        fewest = " x ".join(str(solver.fewest_units[p.name]) for p in owners)
        return f"the method prunes whole units, and at least {fewest} stay"
    kind = "convolutions" if projection.kind == "conv" else "this layer"
    return f"the method prunes no single synapses of {kind}"


def _shown_most(share: float) -> str:
    """Return the largest target that is accepted, as a clause."""
    return f"at most {math.floor(share * 1000 + ROUNDING) / 1000:g}" if share > 0 else "nothing"


def _up(share: float) -> float:
    return math.ceil(share * 1000 - ROUNDING) / 1000
