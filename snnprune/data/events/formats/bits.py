"""Numbers from bytes, and bits of numbers, in the processor's own instructions."""
# ruff: noqa: ARG001, PLR0917 - of an intrinsic's arguments only the types are there; its code reads the values
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from snnprune.common.compiling import compiled


@compiled
def byte(data, at):
    """Return the byte at an index, which is not negative: Numba then does not make sure of it."""
    return np.uint32(data[np.uintp(at)])


@compiled
def word_16(data, at):
    """Return two bytes from ``at`` on as a number, the least significant first."""
    return np.int64(byte(data, at + 1) << np.uint32(8) | byte(data, at))


@compiled
def word_32(data, at):
    """Return four bytes from ``at`` on as a number, the least significant first."""
    # Shifts of 32 bits, not of 64: the compiler then makes one load of four.
    upper = byte(data, at + 3) << np.uint32(24) | byte(data, at + 2) << np.uint32(16)
    return np.int64(upper | byte(data, at + 1) << np.uint32(8) | byte(data, at))


@compiled
def put(t, x, y, p, n, event):
    """Write an event (time, column, row, polarity) as the n-th; n is not negative."""
    i = np.uintp(n)
    t[i], x[i], y[i], p[i] = event


@intrinsic
def ones(_typing, bits):
    """Return how many bits of an int64 are set."""

    def code(_context: Any, builder: Any, _signature: Any, values: Any):
        return builder.ctpop(values[0])

    return types.int64(types.int64), code


@intrinsic
def lowest(_typing, bits):
    """Return the place of the lowest bit that is set, from 0 on; some bit has to be."""

    def code(_context: Any, builder: Any, _signature: Any, values: Any):
        return builder.cttz(values[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), code
