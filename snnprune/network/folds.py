"""How a neuron that takes samples and time in one axis divides its rows: found out by what follows what.

A row is followed by the next time step of its sample: the row behind it, where the steps of a sample are
neighbours, or the row as many samples further on. Where a sample ends, nothing follows. So one number of rows
shows how long a sample is, and twice as many show whether the steps or the samples are fixed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from snnprune.network.asking import PLACES
from snnprune.network.places import Fold

if TYPE_CHECKING:
    from torch import Tensor

    from snnprune.network.asking import Asked

CHANGES = (0.0, 0.5, 3.0, 30.0)
"""What a row is changed to, in units of the scale: a spike in it, or none, is heard in the next one."""


def find_fold(asked: Asked) -> Fold | None:
    """Return how the rows of a neuron's input are divided into samples and time steps.

    Returns:
        None where it cannot be told.
    """
    rows = asked.x.shape[0]
    once = _divided(asked, rows)
    if once is None:
        return None
    try:
        twice = _divided(asked, 2 * rows)
    except Exception:
        return Fold(steps=once[0], by_sample=once[1])  # it takes no other number of rows
    if twice is None:
        return None
    by_sample = twice[1] if once[1] else False  # with one sample, both orders are the same
    if twice[0] == once[0]:
        return Fold(steps=once[0], by_sample=by_sample)
    if twice[0] == 2 * once[0]:
        return Fold(samples=rows // once[0], by_sample=by_sample)
    return None


def _divided(asked: Asked, rows: int) -> tuple[int, bool] | None:
    """Return the number of time steps, and whether those of a sample are neighbours."""
    first = next((row for row in range(1, rows) if _follows(asked, rows, 0, row)), None)
    if first is None:
        return None
    if first > 1:
        return (rows // first, False) if rows % first == 0 else None
    steps = next((n + 1 for n in range(1, rows - 1) if not _follows(asked, rows, n, n + 1)), rows)
    return (steps, True) if rows % steps == 0 else None


def _follows(asked: Asked, rows: int, row: int, other: int) -> bool:
    """Tell whether the answer of row ``other`` depends on ``row``."""
    x = asked.x
    shape = torch.Size([rows, x.shape[1], *(min(size, PLACES) for size in x.shape[2:])])
    return any(
        _has_slope(asked, given, row, other) or _differs(asked, given, row, other, scale)
        for scale, given in asked.inputs(shape)
    )


@torch.no_grad()
def _differs(asked: Asked, given: Tensor, row: int, other: int, scale: float) -> bool:
    base = asked.answer(given)
    for change in CHANGES:
        changed = given.clone()
        changed[row] = change * scale
        if not torch.equal(asked.answer(changed)[other], base[other]):
            return True
    return False


def _has_slope(asked: Asked, given: Tensor, row: int, other: int) -> bool:
    """Tell whether a gradient shows what is too small for a spike."""
    given = given.clone().requires_grad_()
    with torch.enable_grad():
        out = asked.answer(given)
        if not out.requires_grad:
            return False
        (slope,) = torch.autograd.grad(out[other].sum(), given, allow_unused=True)
    return slope is not None and bool((slope[row].nan_to_num() != 0).any())
