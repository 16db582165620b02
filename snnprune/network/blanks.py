"""Tensors that no layer made, in the place of units: the first state of a recurrence, inputs beside units.

Before its first step a population that feeds back has said nothing, and the network reads zeros in its place
(`x.new_zeros(...)`, `torch.zeros(B, H)`). Such a blank tensor has no channel axis of its own. It is taken for
a population that is not known yet, and joined with the real one where the same layer reads that one, too.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from snnprune.network.axes import Axis, Span, Unknown

if TYPE_CHECKING:
    import torch

    from snnprune.network.findings import Findings

FOREIGN = "it is joined with a tensor of unknown origin"


def adopt(
    found: Findings, tensor: torch.Tensor, dim: int, spans: tuple[Span, ...] = (), *, foreign: bool = False
) -> Axis | None:
    """Return the axis of a tensor that had none: zeros that nothing made may stand for units.

    Args:
        found: what was seen so far.
        tensor: without a known axis.
        dim: where units would be, counted from the end.
        spans: the units that it stands for; without them a population that is not known yet.
        foreign: whether a tensor that comes from no population, such as the network's input, gets an axis,
            too, on which no unit is. A population that is joined with that one is frozen.
    """
    if tensor.ndim < -dim:
        return None
    if found.provenance.is_constant(tensor) and not bool(tensor.any()):
        axis = Axis.along(dim, spans or _unknown(found, tensor, dim))
        found.place(tensor, axis)
        return axis
    if not foreign or found.provenance.of(tensor):
        return None
    spans = _unknown(found, tensor, dim)
    found.units.freeze(spans[0].numbers, FOREIGN)
    return Axis.along(dim, spans)


def _unknown(found: Findings, tensor: torch.Tensor, dim: int) -> tuple[Span, ...]:
    size = tensor.shape[dim]
    return (Span(((found.units.new(None, size), size),)),)


def settle(found: Findings) -> None:
    """Join what stands for a population with the one that the same layer reads at another call."""
    units = found.units
    for name in found.synapses:
        readings = [spans for spans in found.readings[name] if spans]
        for at in range(max(map(len, readings), default=0)):
            there = [spans[at] for spans in readings if len(spans) > at]
            real = next((s for s in there if any(units[n].made for n in s.numbers)), None)
            for span in there:
                if real is not None and not any(units[n].made for n in span.numbers):
                    with suppress(Unknown):
                        units.join_spans(units.resolved([real]), units.resolved([span]))


def unmet(found: Findings) -> list[int]:
    """Return what stands for a population that no layer was seen to read in its place."""
    return [n for n in found.units.unmade() if found.units[n].slots and found.units[n].frozen != FOREIGN]


def freeze_unmet(found: Findings) -> None:
    """Freeze each population that zeros may stand for, where the forward does not show which one it is."""
    for number in unmet(found):
        unit = found.units[number]
        reader = unit.slots[0].module
        reason = (
            f"{reader} reads zeros in this forward, which may stand for these units before their first time "
            "step: give an example of at least two time steps"
        )
        spans = (s for _, axis in found.placed() for _, on in axis.places for s in on)
        found.units.freeze({n for s in spans if s.length == unit.size for n in s.numbers}, reason)
