"""Which units a cut removes: dead units, and units that no alive unit reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from snnprune.common.errors import CompactionError
from snnprune.network.cut import Cut
from snnprune.network.runs import alive_along
from snnprune.network.sizes import tensor_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from snnprune.network.topology import Topology
    from snnprune.pruning.masks import Masks


def plan_cut(
    model: nn.Module, masks: Masks, *, round_to: int | None = None, min_alive: int = 1, unread: bool = True
) -> Cut:
    """Return which units stay. A population that no cut can make smaller stays whole.

    Args:
        model: the network, for the strength of units.
        masks: which units and synapses are alive.
        round_to: round the size of every population that is cut up to a multiple of this (some sizes are
            faster on a GPU). The strongest of the units that would be removed fill it; dead ones among them
            stay in the network with weights of zero.
        min_alive: least number of units that stay in each population.
        unread: whether to remove also alive units whose outgoing synapses are all pruned.

    Raises:
        CompactionError: there are dead units, and no population of the network can be made smaller.
    """
    topology = masks.topology
    _refuse_nothing(masks)
    units = _useful(model, masks, min_alive) if unread else dict(masks.units)
    for name in (p.name for p in topology.free()):
        stays = units[name]
        count = max(int(stays.sum()), min_alive)
        if round_to is not None:
            count = -(-count // round_to) * round_to
        for among in (masks.units[name], torch.ones_like(stays)):  # alive units before dead ones
            stays = _filled(model, topology, name, stays, among=among, count=count)
        units[name] = stays
    return Cut(
        topology, {name: stays for name, stays in units.items() if not topology.populations[name].whole}
    )


def _refuse_nothing(masks: Masks) -> None:
    """Raise an error where every population with units that may be dead has to stay whole."""
    free = masks.topology.free()
    dead = [p for p in free if not bool(masks.units[p.name].all())]
    if dead and all(p.whole for p in free):
        raise CompactionError(f"population {dead[0].name} cannot be compacted: {dead[0].uncut}")


def _useful(model: nn.Module, masks: Masks, min_alive: int) -> dict[str, Tensor]:
    """Return bool [size] by population: units from which a way leads to the output, over living synapses.

    Units that read one another, or themselves, and that no other unit reads, lead nowhere. Of a population of
    which fewer would stay than ``min_alive``, the strongest stay, with all that leads to them.
    """
    topology = masks.topology
    useful = {name: alive & is_read(topology, name) for name, alive in masks.units.items()}
    _grow(masks, useful)
    for name in reversed([p.name for p in topology.free()]):
        filled = _filled(model, topology, name, useful[name], among=masks.units[name], count=min_alive)
        if not torch.equal(filled, useful[name]):
            useful[name] = filled
            _grow(masks, useful)
    return useful


def is_read(topology: Topology, population: str) -> bool:
    """Tell whether all units of a population count as read: code that discovery did not see may read them."""
    read = topology.populations[population]
    kept = read.frozen is not None or read.whole
    return kept or read.contracted or not topology.outgoing(population)


def _grow(masks: Masks, useful: dict[str, Tensor]) -> None:
    """Add to ``useful`` what its units read, and what that reads, until nothing is added."""
    waiting = set(useful)
    while waiting:
        post = waiting.pop()
        for p in masks.topology.incoming(post):
            own = masks.synapses.get(p.name)
            rows = alive_along(p.outflow, useful, masks.rows(p))
            columns = rows.any().expand(p.columns) if own is None else _columns(own[rows])
            columns = columns & masks.columns(p)
            for i in p.inflow:
                read = i.per_unit(columns).any(1) & masks.units[i.population]
                if bool((read & ~useful[i.population]).any()):
                    useful[i.population] = useful[i.population] | read
                    waiting.add(i.population)


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
