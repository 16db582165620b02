"""How a neuron that takes samples and time in one axis divides its rows: found out by what follows what.

A row is followed by the next time step of its sample: the row behind it, where the steps of a sample are
neighbours, or the row as many samples further on. Where a sample ends, nothing follows. So one number of rows
shows how long a sample is, and twice as many show whether the steps or the samples are fixed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from snnprune.network.asking import PLACES
from snnprune.network.topology import Fold

if TYPE_CHECKING:
    from torch import Tensor

    from snnprune.network.asking import Asked

CHANGES = (0.0, 3.0, 30.0)
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
    following = _followers(asked, rows, 0)
    if not following:
        return None
    first = following[0]
    if first > 1:
        return (rows // first, False) if rows % first == 0 else None
    steps = next((row + 1 for row in range(rows - 1) if row + 1 not in _followers(asked, rows, row)), rows)
    return (steps, True) if rows % steps == 0 else None


@torch.no_grad()
def _followers(asked: Asked, rows: int, row: int) -> list[int]:
    """Return the rows whose answers depend on ``row``."""
    x = asked.x
    found = torch.zeros(rows, dtype=torch.bool)
    shape = torch.Size([rows, x.shape[1], *(min(size, PLACES) for size in x.shape[2:])])
    for scale, given in asked.inputs(shape):
        base = asked.answer(given)
        for change in CHANGES:
            changed = given.clone()
            changed[row] = change * scale
            found |= _rows(asked.answer(changed) != base)
        if bool(found[row + 1 : row + 2].any()):
            break  # what is asked first
    found[row] = False
    return [int(n) for n in found.nonzero().flatten()]


def _rows(differ: Tensor) -> Tensor:
    return differ.flatten(1).any(1).cpu()
