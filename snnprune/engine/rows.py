"""Weights as compressed rows: of each unit, the columns of its synapses and their weights.

Where these would take more bytes than all numbers of the matrix, it is stored as it is, with its zeros.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    Array = npt.NDArray[Any]

PARTS = ("rows", "columns", "weights")


def compressed(weights: Array, bits: int | None = None) -> dict[str, Array]:
    """Return the synapses of a weight [units, ...] whose numbers are not zero, unit by unit.

    Args:
        weights: float, or integers.
        bits: of the integers, None for floats.

    Returns:
        "rows" uint32 [units + 1], where the synapses of each unit begin and end; "columns" of each synapse,
        uint16 or uint32; and "weights" as floats, int16, int8, or two 4-bit numbers in a uint8 (low half
        first, two's complement). If that is larger, "weights" alone: of all columns of each unit in turn.
    """
    matrix = weights.reshape(len(weights), -1)
    units, columns = np.nonzero(matrix)
    values = matrix[units, columns]
    starts = np.zeros(len(weights) + 1, dtype=np.uint32)
    np.cumsum(np.bincount(units, minlength=len(weights)), out=starts[1:])
    small = matrix.shape[1] <= 2**16
    parts = {
        "rows": starts,
        "columns": columns.astype(np.uint16 if small else np.uint32),
        "weights": values if bits is None else _packed(values, bits),
    }
    all_numbers = matrix.ravel() if bits is None else _packed(matrix.ravel(), bits)
    larger = sum(part.nbytes for part in parts.values()) > all_numbers.nbytes
    return {"weights": all_numbers.copy()} if larger else parts


def dense(name: str, shape: Sequence[int], parts: Mapping[str, Array], bits: int | None) -> Array:
    """Return the weight of ``shape`` that `compressed` made ``parts`` of: floats, or int32.

    Args:
        name: of the layer, for errors.
        shape: whose size the caller has found to be within bounds.
        parts: of an untrusted source; without "rows" and "columns", the weights are all numbers.
        bits: of the integers, None for floats.

    Raises:
        ValueError: ``parts`` are not what `compressed` makes of such a weight.
    """
    values, size = parts["weights"], math.prod(shape)
    kinds = {"rows": ("uint32",), "columns": ("uint16", "uint32"), "weights": (_kind(bits, values),)}
    for part, found in parts.items():
        if str(found.dtype) not in kinds[part] or found.ndim != 1:
            raise ValueError(f"'{name}.{part}' is {found.dtype} of shape {found.shape}")
    places = slice(None) if len(parts) == 1 else _places(name, shape, parts)
    count = size if isinstance(places, slice) else len(places)
    if bits is not None:
        values = _unpacked(values, count) if bits <= 4 else values.astype(np.int32)
        if len(values) and int(np.abs(values).max()) >= 2 ** (bits - 1):
            raise ValueError(f"'{name}.weights' are no numbers of {bits} bits")
    if len(values) != count:
        raise ValueError(f"'{name}.weights' has {len(values)} weights of {count} synapses")
    matrix = np.zeros(size, values.dtype)
    matrix[places] = values
    return matrix.reshape(tuple(shape))


def _places(name: str, shape: Sequence[int], parts: Mapping[str, Array]) -> Array:
    """Return where in the matrix, row after row, each synapse stands."""
    rows, columns = parts["rows"], parts["columns"]
    units, width = shape[0], math.prod(shape[1:])
    counts: Array = np.diff(rows.astype(np.int64))
    if len(rows) != units + 1 or rows[0] != 0 or rows[-1] != len(columns) or (counts < 0).any():
        raise ValueError(f"'{name}.rows' does not divide {len(columns)} synapses among {units} units")
    places: Array = np.repeat(np.arange(units), counts) * width + columns.astype(np.int64)
    if len(columns) and (int(columns.max()) >= width or (np.diff(places) <= 0).any()):
        raise ValueError(f"'{name}.columns' has columns beyond {width}, or not in order")
    return places


def _kind(bits: int | None, values: Array) -> str:
    """Return the dtype in which weights are stored."""
    if bits is None:
        return "float64" if values.dtype == np.float64 else "float32"
    return "uint8" if bits <= 4 else "int8" if bits <= 8 else "int16"


def _packed(values: Array, bits: int) -> Array:
    if bits > 4:
        return values.astype(np.int8 if bits <= 8 else np.int16)
    halves = np.zeros(len(values) + len(values) % 2, dtype=np.uint8)
    halves[: len(values)] = values.astype(np.int8).view(np.uint8) & 15
    packed: Array = halves[::2] | (halves[1::2] << 4)
    return packed


def _unpacked(packed: Array, count: int) -> Array:
    """Return ``count`` numbers; fewer, or more, where ``packed`` does not hold as many."""
    halves = np.stack([packed & 15, packed >> 4], axis=1).reshape(-1).astype(np.int32)
    if len(halves) == count + 1:
        halves = halves[:count]
    return np.where(halves > 7, halves - 16, halves).astype(np.int32)
