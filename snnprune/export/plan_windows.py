"""Pools of torch and SpikingJelly as windows: which places each averages or compares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from snnprune.common.errors import UserError

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

ADAPTIVE = ("AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveMaxPool1d", "AdaptiveMaxPool2d")
POOLS = ("AvgPool1d", "AvgPool2d", "MaxPool1d", "MaxPool2d", *ADAPTIVE)
"""Classes of torch and SpikingJelly that `windows` reads."""


def windows(
    name: str, pool: Any, before: tuple[int, int], after: tuple[int, int]
) -> tuple[Array, Array, Array]:
    """Return the rows, columns and divisors of a pool, as `snnprune.engine.plan.Pool` holds them.

    Args:
        name: of the layer, for errors.
        pool: the layer, of a class in `POOLS`. One along a sequence moves along columns.
        before: height and width of its input.
        after: of its output, as torch computes it.

    Raises:
        UserError: its windows are no rectangles without gaps, or it answers with places, too.
    """
    kind = type(pool).__name__
    if getattr(pool, "return_indices", False) or _both(getattr(pool, "dilation", 1), 1) != (1, 1):
        raise UserError(
            f"layer '{name}' compares places with gaps between them, or answers with places, too, and an "
            "event-driven network has pools over whole windows: leave dilation and return_indices out"
        )
    if kind in ADAPTIVE:
        axes = [_adaptive(*sizes) for sizes in zip(before, after, strict=True)]
        rows, columns = axes
        whole = [axis[:, 1] - axis[:, 0] for axis in axes]
    else:
        line = kind.endswith("1d")
        sizes = _both(pool.kernel_size, 1) if line else _both(pool.kernel_size)
        moves = _both(pool.stride, 1) if line else _both(pool.stride)
        pads = _both(pool.padding, 0) if line else _both(pool.padding)
        axes, whole = [], []
        for length, count, size, move, pad in zip(before, after, sizes, moves, pads, strict=True):
            first = np.arange(count) * move - pad
            last = np.minimum(first + size, length + pad)
            whole.append(last - first)
            axes.append(np.stack([first.clip(min=0), last.clip(max=length)], 1))
        rows, columns = axes
    divisors = np.ones(after)
    if "Avg" in kind:
        inside = [axis[:, 1] - axis[:, 0] for axis in axes]
        counted = whole if getattr(pool, "count_include_pad", True) else inside
        divisors = np.multiply.outer(*counted).astype(np.float64)
        if getattr(pool, "divisor_override", None):
            divisors = np.full(after, float(pool.divisor_override))
    return rows.astype(np.int32), columns.astype(np.int32), divisors


def _both(value: Any, of_rows: int | None = None) -> tuple[int, int]:
    """Return what holds for rows and columns; along a sequence ``of_rows`` holds for rows."""
    pair = tuple(int(n) for n in value) if isinstance(value, (tuple, list)) else (int(value),)
    if of_rows is not None:
        return (of_rows, pair[-1])
    return (pair[0], pair[-1])


def _adaptive(length: int, count: int) -> Array:
    places = np.arange(count)
    return np.stack([places * length // count, -((places + 1) * length // -count)], 1)
