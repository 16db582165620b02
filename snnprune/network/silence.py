"""Whether a dead unit stays at zero through the operations of a network.

Every slot of a dead unit is zero, so its neuron outputs zero. After an operation f the unit is still at zero
only if f(0) = 0, which does not hold for `1 - x`, exp() or `x == 0`. So each operation is called once more
with the inputs of a dead unit. The unit's own channels are zero. All other inputs (a tensor that all units
share, or one in which the dead unit is no longer at zero) may have any value; the test uses zero, positive
and negative values. If the result is always zero, this holds for any network. For example, `x * (1 - y)`, the
residual function IAND, is zero, although `1 - y` alone is not. A population that is not at zero where a
layer, a norm, a neuron or the output reads it is frozen.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import torch

from snnprune.network.axes import tensors_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snnprune.network.operation import Operation

_ANYTHING = (0.0, 1.0, -1.0)


def stays_at_zero(op: Operation) -> bool:
    """Tell whether the result of ``op`` is zero for a dead unit, for any values of the other units.

    Where units are on several axes, as heads and the channels inside heads, those of each axis are dead once.
    """
    axes = [axis for t in tensors_in([list(op.args), op.kwargs]) if (axis := op.axis_of(t)) is not None]
    for dim in {dim for axis in axes for dim, _ in axis.places}:
        for scale in _ANYTHING:
            levels = (scale * level for level in itertools.count(1))
            args, kwargs = (_dead(given, op, dim, levels) for given in (list(op.args), op.kwargs))
            result = op.func(*args, **kwargs)
            if bool(((result != 0) & (result == result)).any()):  # noqa: PLR0124 - NaN (0 / 0) is not counted
                return False
    return True


def _dead(value: Any, op: Operation, dim: int, levels: Iterator[float]) -> Any:
    """Return ``value`` with each tensor replaced by the values that a dead unit of axis ``dim`` reads."""
    if isinstance(value, torch.Tensor):
        axis = op.axis_of(value)
        if axis is not None and axis.resting is None and axis.at(dim):
            return torch.zeros_like(value)
        level = next(levels)
        return torch.full_like(value, level if value.dtype.is_signed else abs(level))
    if isinstance(value, dict):
        return {k: _dead(v, op, dim, levels) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)([_dead(v, op, dim, levels) for v in value])
    return value
