"""Which axis of its input a neuron takes for time: along it, an answer depends on what came before.

One entry of an axis is changed, and it is seen which entries of the answer change, or have a slope by it.
Samples never depend on one another, nor do units; a time step depends on the steps before it and on none
after it. Where samples and time share an axis, it is seen how long a sample lasts (`folds`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from snnprune.network.duplicate import UncopiedError
from snnprune.network.folds import find_fold
from snnprune.network.leaves import competes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from snnprune.network.asking import Asked
    from snnprune.network.places import Fold

CHANGES = (0.0, 0.5, 3.0)
"""What an entry is changed to, in units of the scale: none, some and much input leave different states."""


@dataclass(frozen=True)
class Time:
    """What is known of the time axis of a neuron's input.

    Attributes:
        axis: counted from the front; None where a call is one time step, or where there is no time.
        fold: how samples and time share the first axis; None where they do not.
        unknown: why the axis cannot be told, or None.
    """

    axis: int | None = None
    fold: Fold | None = None
    unknown: str | None = None


def find_time(asked: Asked) -> Time:
    """Find the time axis of what a neuron is given."""
    for shape in dict.fromkeys(asked.shapes()):
        try:
            found = _dependences(asked, shape)
        except UncopiedError as error:
            return Time(unknown=f"{error.fault}, and so cannot be asked by itself what it does")
        except Exception:  # noqa: S112 - somebody's module, asked with a shape of the probe's own
            continue
        return _judge(asked, found)
    return Time(unknown="it cannot be asked by itself which axis is time")


def _judge(asked: Asked, found: dict[int, set[str]]) -> Time:
    front = asked.channels
    if found.pop(front) and not competes(asked.module):
        return Time(unknown="its units see one another, so that none of them can be taken alone")
    dependent = [axis for axis, sides in found.items() if sides]
    if not dependent:
        return Time()
    if dependent == [0] and front == 1:
        fold = find_fold(asked)
        return Time(
            fold=fold, unknown=None if fold else "how it divides its rows into samples cannot be told"
        )
    if len(dependent) > 1 or "later" in found[dependent[0]]:
        return Time(unknown="its answers depend on one another along more than a time axis")
    return Time(dependent[0])


def _dependences(asked: Asked, shape: torch.Size) -> dict[int, set[str]]:
    """Return by axis whether an entry's answer depends on "earlier" and on "later" entries.

    Channels and the places of a picture are looked at as well: units may affect one another, and time may
    stand behind them.
    """
    found: dict[int, set[str]] = {d: set() for d in range(len(shape))}
    for scale, given in asked.inputs(shape):
        with torch.no_grad():
            base = asked.answer(given)
        for axis, sides in found.items():
            for side, entry, others in _entries(shape[axis]):
                changes = (given.clone() for _ in CHANGES)
                if any(
                    _differs(asked, base, change, (axis, entry, others), value * scale)
                    for change, value in zip(changes, CHANGES, strict=True)
                ):
                    sides.add(side)
        _add_slopes(found, asked, given)
    return found


@torch.no_grad()
def _differs(asked: Asked, base: Tensor, given: Tensor, place: tuple[int, int, int], value: float) -> bool:
    """Tell whether other entries of an axis answer differently once one of them is ``value``."""
    axis, entry, others = place
    given.select(axis, entry).fill_(value)
    return bool((asked.answer(given) != base).narrow(axis, others, given.shape[axis] - 1).any())


def _add_slopes(found: dict[int, set[str]], asked: Asked, given: Tensor) -> None:
    """Add the dependences that gradients show: a change that is too small for a spike leaves a slope."""
    given = given.requires_grad_()
    with torch.enable_grad():
        out = asked.answer(given)
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
