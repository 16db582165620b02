"""Weights as compressed rows: of each unit, the columns of its synapses and their weights."""

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
        first, two's complement).
    """
    matrix = weights.reshape(len(weights), -1)
    units, columns = np.nonzero(matrix)
    values = matrix[units, columns]
    starts = np.zeros(len(weights) + 1, dtype=np.uint32)
    np.cumsum(np.bincount(units, minlength=len(weights)), out=starts[1:])
    small = matrix.shape[1] <= 2**16
    return {
        "rows": starts,
        "columns": columns.astype(np.uint16 if small else np.uint32),
        "weights": values if bits is None else _packed(values, bits),
    }


def dense(name: str, shape: Sequence[int], parts: Mapping[str, Array], bits: int | None) -> Array:
    """Return the weight of ``shape`` that `compressed` made ``parts`` of: floats, or int32.

    Args:
        name: of the layer, for errors.
        shape: whose size the caller has found to be within bounds.
        parts: of an untrusted source.
        bits: of the integers, None for floats.

    Raises:
        ValueError: ``parts`` are not what `compressed` makes of such a weight.
    """
    rows, columns, values = (parts[part] for part in PARTS)
    kinds = {"rows": ("uint32",), "columns": ("uint16", "uint32"), "weights": (_kind(bits, values),)}
    for part in PARTS:
        if str(parts[part].dtype) not in kinds[part] or parts[part].ndim != 1:
            raise ValueError(f"'{name}.{part}' is {parts[part].dtype} of shape {parts[part].shape}")
    units, width = shape[0], math.prod(shape[1:])
    counts: Array = np.diff(rows.astype(np.int64))
    if len(rows) != units + 1 or rows[0] != 0 or rows[-1] != len(columns) or (counts < 0).any():
        raise ValueError(f"'{name}.rows' does not divide {len(columns)} synapses among {units} units")
    owners = np.repeat(np.arange(units), counts)
    places = owners * width + columns.astype(np.int64)
    if len(columns) and (int(columns.max()) >= width or (np.diff(places) <= 0).any()):
        raise ValueError(f"'{name}.columns' has columns beyond {width}, or not in order")
    if bits is not None:
        values = _unpacked(values, len(columns)) if bits <= 4 else values.astype(np.int32)
        if len(values) and int(np.abs(values).max()) >= 2 ** (bits - 1):
            raise ValueError(f"'{name}.weights' are no numbers of {bits} bits")
    if len(values) != len(columns):
        raise ValueError(f"'{name}.weights' has {len(values)} weights of {len(columns)} synapses")
    matrix = np.zeros(units * width, values.dtype)
    matrix[places] = values
    return matrix.reshape(tuple(shape))


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
