"""A share of every population dies, by lot: what pruning leaves behind, without the epochs that it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from snnprune.pruning import Masks


def kill(masks: Masks, share: float) -> None:
    """Let ``share`` of the units of each free population die, the same ones whenever it is called."""
    generator = torch.Generator().manual_seed(1)
    for population in masks.topology.free():
        order = torch.randperm(population.size, generator=generator)
        alive = order >= round(share * population.size)
        masks.keep_units(population, alive.to(masks.units[population.name].device))
    masks.refresh()
