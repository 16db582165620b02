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
    first = _follower(asked, rows, 0, rows)
    if first is None:
        return None
    if first > 1:
        return (rows // first, False) if rows % first == 0 else None
    steps = next((n + 1 for n in range(1, rows - 1) if _follower(asked, rows, n, n + 2) is None), rows)
    return (steps, True) if rows % steps == 0 else None


def _follower(asked: Asked, rows: int, row: int, until: int) -> int | None:
    """Return the first row behind ``row`` and before ``until`` whose answer depends on it, or None."""
    x, first = asked.x, until
    shape = torch.Size([rows, x.shape[1], *(min(size, PLACES) for size in x.shape[2:])])
    for scale, given in asked.inputs(shape):
        first = _sloped(asked, given, row, first)
        first = _different(asked, given, row, first, scale)
        if first == row + 1:
            break
    return first if first < until else None


@torch.no_grad()
def _different(asked: Asked, given: Tensor, row: int, until: int, scale: float) -> int:
    """Return the first row before ``until`` that answers otherwise where ``row`` is another one."""
    if until == row + 1:
        return until
    base = asked.answer(given)
    for change in CHANGES:
        changed = given.clone()
        changed[row] = change * scale
        others = (asked.answer(changed) != base)[row + 1 : until].flatten(1).any(1).nonzero()
        until = row + 1 + int(others[0]) if len(others) else until
    return until


def _sloped(asked: Asked, given: Tensor, row: int, until: int) -> int:
    """Return the same by a gradient, which shows what is too small for a spike."""
    given = given.clone().requires_grad_()
    with torch.enable_grad():
        out = asked.answer(given)
        for other in range(row + 1, until) if out.requires_grad else ():
            (slope,) = torch.autograd.grad(out[other].sum(), given, retain_graph=True, allow_unused=True)
            if slope is not None and bool((slope[row].nan_to_num() != 0).any()):
                return other
    return until
