"""Which axis of its input a neuron takes for time: along it, an answer depends on what came before.

A neuron of SpikingJelly says so (``step_mode``). Of any other, a copy is asked: one entry of an axis is
changed, and it is seen which entries of the answer change, or have a slope by it. Samples never depend on one
another; a time step depends on the steps before it and on none after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from snnprune.network.axes import tensors_in
from snnprune.network.duplicate import duplicate, reset_states
from snnprune.network.untouched import seed_dice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor, nn

SIZES = (4, 3, 5)
"""Sizes of the axes in front of the channels where the probe chooses them: all different."""

PLACES = 3
"""Size of each axis behind the channels, at most: pictures of a neuron may be large."""

SCALES = (1.0, 0.3, 3.0, 0.1, 10.0, 100.0, 1000.0)
"""Of the inputs: a neuron whose threshold none of them reaches shows no dependence on its past."""

CHANGES = (0.0, 0.5, 3.0)
"""What an entry is changed to, in units of the scale: none, some and much input leave different states."""


@dataclass(frozen=True)
class Time:
    """What is known of the time axis of a neuron's input.

    Attributes:
        axis: counted from the front; None where a call is one time step, or where there is no time.
        unknown: why the axis cannot be told, or None.
    """

    axis: int | None = None
    unknown: str | None = None


def find_time(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], x: Tensor, dim: int) -> Time:
    """Find the time axis of what ``module`` is given.

    Args:
        module: a neuron, which is left as it is.
        args: what it was given in a forward.
        kwargs: the same.
        x: the tensor among these that the projections reach.
        dim: axis of the channels of ``x``, counted from the end.
    """
    front = x.ndim + dim
    alone = [t is x for t in tensors_in([args, kwargs])] == [True]
    sizes = [SIZES[i % len(SIZES)] for i in range(front)]
    places = [min(size, PLACES) for size in x.shape[front + 1 :]]
    own = [torch.Size([*sizes, x.shape[front], *places]), torch.Size([*sizes, *x.shape[front:]])]
    for shape in dict.fromkeys([*(own if alone else []), x.shape]):
        try:
            found = _dependences(_ask(module, args, kwargs, x), x, shape)
        except Exception:  # noqa: S112 - somebody's module, asked with a shape of the probe's own
            continue
        return _judge(found, front)
    return Time(unknown="it cannot be asked by itself which axis is time")


def _ask(
    module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], x: Tensor
) -> Callable[[Tensor], Tensor]:
    def answer(given: Tensor) -> Tensor:
        probe = duplicate(module)
        reset_states(probe)
        seed_dice(0, given.device)  # a neuron may draw numbers; whoever calls puts the generators back
        swapped = [given if a is x else a for a in args]
        named = {k: given if v is x else v for k, v in kwargs.items()}
        out = tensors_in(probe(*swapped, **named))[0]
        if out.shape != given.shape:
            raise ValueError("a neuron answers in the shape of its input")
        return out

    return answer


def _dependences(answer: Callable[[Tensor], Tensor], x: Tensor, shape: torch.Size) -> dict[int, set[str]]:
    """Return by axis whether an entry's answer depends on "earlier" and on "later" entries.

    Channels and the places of a picture are looked at as well: time may stand behind them, and units that see
    one another are none that can be taken alone.
    """
    found: dict[int, set[str]] = {d: set() for d in range(len(shape))}
    dice = torch.Generator().manual_seed(0)
    for scale in SCALES:
        given = (torch.rand(shape, generator=dice, dtype=torch.float64) * scale).to(x)
        with torch.no_grad():
            base = answer(given)
        for axis, sides in found.items():
            for side, entry, others in _entries(shape[axis]):
                changes = (given.clone() for _ in CHANGES)
                if any(
                    _differs(answer, base, change, (axis, entry, others), value * scale)
                    for change, value in zip(changes, CHANGES, strict=True)
                ):
                    sides.add(side)
        _add_slopes(found, answer, given)
    return found


@torch.no_grad()
def _differs(
    answer: Callable[[Tensor], Tensor], base: Tensor, given: Tensor, place: tuple[int, int, int], value: float
) -> bool:
    """Tell whether other entries of an axis answer differently once one of them is ``value``."""
    axis, entry, others = place
    given.select(axis, entry).fill_(value)
    return bool((answer(given) != base).narrow(axis, others, given.shape[axis] - 1).any())


def _add_slopes(found: dict[int, set[str]], answer: Callable[[Tensor], Tensor], given: Tensor) -> None:
    """Add the dependences that gradients show: a change that is too small for a spike leaves a slope."""
    given = given.requires_grad_()
    with torch.enable_grad():
        out = answer(given)
    if not out.requires_grad:
        return
    for axis, sides in found.items():
        for side, entry, _ in _entries(given.shape[axis]):
            seen = 0 if entry else given.shape[axis] - 1  # the answer at the other end
            (slope,) = torch.autograd.grad(
                out.select(axis, seen).sum(), given, retain_graph=True, allow_unused=True
            )
            if slope is not None and bool((slope.nan_to_num().select(axis, entry) != 0).any()):
                sides.add(side)


def _entries(size: int) -> Iterator[tuple[str, int, int]]:
    """Yield which entry to change and where those begin that come after it, or before it."""
    if size > 1:
        yield "earlier", 0, 1
        yield "later", size - 1, 0


def _judge(found: dict[int, set[str]], front: int) -> Time:
    if found[front]:
        return Time(unknown="its units see one another, so that none of them can be taken alone")
    dependent = [axis for axis, sides in found.items() if sides]
    if not dependent:
        return Time()
    if len(dependent) > 1 or "later" in found[dependent[0]]:
        return Time(unknown="its answers depend on one another along more than a time axis")
    if front < 2 and dependent[0] < front:
        return Time(unknown="it takes samples and time in one axis; an axis for each is understood")
    return Time(dependent[0])
