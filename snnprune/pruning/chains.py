"""Chain removal: units that nothing feeds or nothing reads die, and so do those that they leave alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from snnprune.pruning.compaction.removal import is_read

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from torch import Tensor

    from snnprune.network.runs import Run
    from snnprune.pruning.masks import Masks


def connected(
    masks: Masks,
    synapses: Mapping[str, Tensor],
    *,
    read: bool = True,
    spared: Collection[str] = (),
) -> dict[str, Tensor]:
    """Return which units have living synapses on both sides, of the populations that lose some.

    A population that would be emptied stays as it is.

    Args:
        masks: who is alive.
        synapses: who will be alive in their place, bool in the shape of the weight, by projection.
        read: whether units that nothing reads count as such; otherwise only those that nothing feeds.
        spared: populations that lose no unit.

    Returns:
        bool [size] by population.
    """
    after = masks.after(synapses=synapses)
    free = [p.name for p in masks.topology.free() if p.name not in spared]
    found: dict[str, Tensor] = {}
    waiting = True
    while waiting:
        waiting = False
        for name in free:
            alive = after.units[name]
            stays = alive & _fed(after, name)
            stays = stays & _read(after, name) if read else stays
            if bool(stays.any()) and not torch.equal(stays, alive):
                found[name] = after.units[name] = stays
                waiting = True
    return found


def _fed(masks: Masks, population: str) -> Tensor:
    fed = torch.zeros_like(masks.units[population])
    for p in masks.topology.incoming(population):
        fed |= _any(p.outflow, population, masks.alive(p).flatten(1).any(1))
    return fed


def _read(masks: Masks, population: str) -> Tensor:
    read = torch.zeros_like(masks.units[population])
    if is_read(masks.topology, population):
        return ~read
    for p in masks.topology.outgoing(population):
        read |= _any(p.inflow, population, masks.alive(p).transpose(0, 1).flatten(1).any(1))
    return read


def _any(runs: Iterable[Run], population: str, entries: Tensor) -> Tensor:
    """Return, bool [size], which units of a population have a True among their entries of an axis."""
    own = [run.per_unit(entries).any(1) for run in runs if run.population == population]
    return torch.stack(own).any(0)
