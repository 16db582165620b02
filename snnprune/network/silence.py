"""Whether a dead unit stays at zero on its way.

Every slot of a dead unit is zero, so it emits nothing: behind its neuron it is at zero. Behind an operation
f it still is only if f(0) = 0, which `1 - x`, exp() or `x == 0` are not. So each operation is asked, by
calling it once more in the dead unit's place: its own channels are zero there, and whatever else comes in
(a tensor that all units share, or one where the dead unit has left zero before) may be anything, here zero,
positive and negative. An answer of zeros in every case holds for any network: `x * (1 - y)`, the residual
function IAND, ends at zero, although `1 - y` on its own does not. A population that reaches a layer, a norm,
a neuron or the output away from zero is frozen.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snnprune.network.axes import Operation

_ANYTHING = (0.0, 1.0, -1.0)


def stays_at_zero(op: Operation) -> bool:
    """Tell whether the result of ``op`` is zero for a dead unit, whatever all others do."""
    for scale in _ANYTHING:
        levels = (scale * level for level in itertools.count(1))
        args, kwargs = _dead(list(op.args), op, levels), _dead(op.kwargs, op, levels)
        answer = op.func(*args, **kwargs)
        if bool(((answer != 0) & (answer == answer)).any()):  # noqa: PLR0124 - 0 / 0 says nothing
            return False
    return True


def _dead(value: Any, op: Operation, levels: Iterator[float]) -> Any:
    """Return ``value`` with each tensor as a dead unit meets it."""
    if isinstance(value, torch.Tensor):
        axis = op.axis_of(value)
        if axis is not None and axis.resting is None:
            return torch.zeros_like(value)
        level = next(levels)
        return torch.full_like(value, level if value.dtype.is_signed else abs(level))
    if isinstance(value, dict):
        return {k: _dead(v, op, levels) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)([_dead(v, op, levels) for v in value])
    return value
