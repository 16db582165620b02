"""Places in long arrays, and arrays that begin where vectors are read fastest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from snnprune.engine.plan import Array

SLACK = 256
"""Numbers behind the end of an array that a vector may reach."""

LINE = 64
"""Bytes of a cache line."""


class Room:
    """Places in an array that is as long as it has to be."""

    def __init__(self, begin: int = 0, aligned: int = 1) -> None:
        self.end, self.aligned = begin, aligned

    def take(self, size: int) -> int:
        """Return where ``size`` places begin, which are taken from now on."""
        at = -(-self.end // self.aligned) * self.aligned
        self.end = at + size
        return at


class Kept:
    """Arrays that stay, end to end."""

    def __init__(self, dtype: Any, aligned: int) -> None:
        self.dtype, self.room = dtype, Room(aligned=aligned)
        self.parts: list[tuple[int, Array]] = []

    def put(self, numbers: Any) -> int:
        """Return where ``numbers`` will begin."""
        own = np.asarray(numbers, self.dtype).reshape(-1)
        at = self.room.take(own.size)
        self.parts.append((at, own))
        return at

    def array(self) -> Array:
        """Return all numbers in one array."""
        whole = aligned_zeros(self.room.end + SLACK, self.dtype)
        for at, part in self.parts:
            whole[at : at + part.size] = part
        return whole


def aligned_zeros(size: int, dtype: Any) -> Array:
    """Return zeros that begin at a cache line."""
    raw = np.zeros(size * np.dtype(dtype).itemsize + LINE, np.uint8)
    begin = -raw.ctypes.data % LINE
    return raw[begin : begin + size * np.dtype(dtype).itemsize].view(dtype)
