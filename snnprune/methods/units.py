"""Where units have their numbers: rows of their own, and columns of the layers that read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from snnprune.network.topology import Population, Slot
    from snnprune.pruning.view import View


def rows(population: Population, view: View) -> list[Slot]:
    """Return the weights whose rows are the incoming synapses of the units; biases are none."""
    own = [slot for slot in population.slots if slot.role == "out"]
    return [slot for slot in own if view.model.get_parameter(slot.key).ndim > 1]


def columns(population: Population) -> list[Slot]:
    """Return the weights whose columns read the units."""
    return [slot for slot in population.slots if slot.role == "in"]


def stretch(tensor: Tensor, slot: Slot, population: Population) -> Tensor:
    """Return the part of ``tensor`` that the units of a slot index, a view of it with their axis first."""
    run = slot.run(population)
    return tensor.movedim(slot.axis, 0)[run.offset : run.stop]


def broadcast(values: Tensor, part: Tensor, slot: Slot, population: Population) -> Tensor:
    """Return a number per unit, [size], in a shape that multiplies ``part``, what `stretch` returned."""
    return slot.run(population).per_entry(values).view(-1, *[1] * (part.ndim - 1)).to(part.dtype)


def per_unit(tensor: Tensor, slot: Slot, population: Population) -> Tensor:
    """Return what each unit has of a tensor, [size, entries] in float64."""
    return slot.run(population).per_unit(tensor.detach().double().movedim(slot.axis, 0)).flatten(1)


def numbers(population: Population, view: View, slots: Iterable[Slot]) -> Tensor | None:
    """Return what each unit has of the parameters of ``slots``, [size, entries] in float64; None of none."""
    parts = [per_unit(view.model.get_parameter(slot.key), slot, population) for slot in slots]
    return torch.cat(parts, 1) if parts else None
