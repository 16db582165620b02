"""Which units a cut removes: dead units, and units that no alive unit reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from snnprune.network.cut import Cut
from snnprune.network.runs import alive_along
from snnprune.network.sizes import tensor_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from snnprune.network.topology import Population, Topology
    from snnprune.pruning.masks import Masks


def plan_cut(
    model: nn.Module, masks: Masks, *, round_to: int | None = None, min_alive: int = 1, unread: bool = True
) -> Cut:
    """Return which units stay.

    Args:
        model: the network, for the strength of units.
        masks: which units and synapses are alive.
        round_to: round the size of every population that is cut up to a multiple of this (some sizes are
            faster on a GPU). The strongest of the units that would be removed fill it; dead ones among them
            stay in the network with weights of zero.
        min_alive: least number of units that stay in each population.
        unread: whether to remove also alive units whose outgoing synapses are all pruned.
    """
    topology = masks.topology
    units = {name: alive.clone() for name, alive in masks.units.items()}
    while unread:
        before = {name: int(alive.sum()) for name, alive in units.items()}
        unread_units = {p.name: _unread(p, masks, units) for p in topology.free()}
        for name, lone in unread_units.items():
            units[name] = _filled(
                model, topology, name, units[name] & ~lone, among=units[name], count=min_alive
            )
        if before == {name: int(alive.sum()) for name, alive in units.items()}:
            break
    for name in (p.name for p in topology.free()):
        stays = units[name]
        count = max(int(stays.sum()), min_alive)
        if round_to is not None:
            count = -(-count // round_to) * round_to
        for among in (masks.units[name], torch.ones_like(stays)):  # alive units before dead ones
            stays = _filled(model, topology, name, stays, among=among, count=count)
        units[name] = stays
    return Cut(topology, units)


def _unread(population: Population, masks: Masks, units: dict[str, Tensor]) -> Tensor:
    """Return bool [size]: units without an alive synapse to a unit in ``units``.

    A population that no layer reads counts as read, because code that discovery did not see may read it; so
    does one whose units a product of activities sums over.
    """
    readers = masks.topology.outgoing(population.name)
    read = torch.full_like(units[population.name], not readers or population.contracted)
    for p in readers:
        own = masks.synapses.get(p.name)
        rows = alive_along(p.outflow, units, read.new_ones(p.shape[0]))
        columns = read.new_ones(p.columns) if own is None else _columns(own[rows])
        for i in p.inflow:
            if i.population == population.name:
                read |= i.per_unit(columns).any(1)
    return ~read


def _columns(alive: Tensor) -> Tensor:
    """Return bool [columns] for bool [post, columns, ...]: True where any entry of a column is alive."""
    return alive.any(0).flatten(1).any(1) if alive.ndim > 2 else alive.any(0)


def _filled(
    model: nn.Module, topology: Topology, name: str, stays: Tensor, *, among: Tensor, count: int
) -> Tensor:
    """Return ``stays`` with the strongest other units of ``among`` added, up to ``count`` units in all."""
    missing = count - int(stays.sum())
    others = (among & ~stays).nonzero().squeeze(1)
    if missing <= 0 or not len(others):
        return stays
    strength = _strength(model, topology, name)[others]
    chosen = others[strength.argsort(descending=True, stable=True)[:missing]]
    return stays.index_fill(0, chosen, True)


def _strength(model: nn.Module, topology: Topology, name: str) -> Tensor:
    """Return [size]: the summed magnitude of each unit's weights, in and out."""
    population = topology.populations[name]
    total = torch.zeros(population.size, dtype=torch.float64)
    for slot in population.slots:
        if slot.role in {"out", "in"} and slot.tensor == "weight":
            weight = tensor_of(model, slot.key).detach().abs().movedim(slot.axis, 0)
            total += slot.run(population).per_unit(weight.flatten(1).sum(1).double().cpu()).sum(1)
    device = tensor_of(model, topology.projections[population.producers[0]].weight).device
    return total.to(device)
