"""Optimisations that the compiler does not find by itself: vector operations, and prefetching of memory.

Innermost channels form short runs, of 15 for instance, which a compiler computes one by one. Here `LANES`
neighbours are computed at a time, whatever the length of a run. The numbers beyond its end are overwritten by
the next run. So runs must be visited in order, and arrays need `LANES` extra numbers at their end.
"""
# ruff: noqa: ARG001, PLR0917 - of an intrinsic's arguments only the types are there; its code reads the values
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from snnprune.common.compiling import compiled
from snnprune.nn.fused.layout import LINE

LANES = 16
"""Numbers at a time: one register of AVX-512 in float32, two or four registers of other processors."""


def _address(context: Any, builder: Any, signature: Any, values: Any, place: int) -> Any:
    """Return the address of an element. Its array and index are the arguments ``place`` and ``place + 1``."""
    array = context.make_array(signature.args[place])(context, builder, values[place])
    return builder.gep(array.data, [values[place + 1]])


def _run(context: Any, builder: Any, signature: Any, values: Any, place: int) -> Any:
    """Return the address of `LANES` numbers as a vector, and their alignment."""
    kind = signature.args[place].dtype
    vector = ir.VectorType(context.get_data_type(kind), LANES)
    address = _address(context, builder, signature, values, place)
    return builder.bitcast(address, vector.as_pointer()), kind.bitwidth // 8


def _load(context: Any, builder: Any, signature: Any, values: Any, place: int) -> Any:
    address, align = _run(context, builder, signature, values, place)
    return builder.load(address, align=align)


def _store(context: Any, builder: Any, signature: Any, values: Any, numbers: Any) -> Any:
    address, align = _run(context, builder, signature, values, 0)
    builder.store(numbers, address, align=align)
    return context.get_dummy_value()


@intrinsic
def add_lanes(_typing, to, at, one, i, other, j):
    """``to[at : at + LANES] = one[i : i + LANES] + other[j : j + LANES]``."""

    def code(context, builder, signature, values):
        numbers = [_load(context, builder, signature, values, place) for place in (2, 4)]
        return _store(context, builder, signature, values, builder.fadd(*numbers))

    return types.void(to, types.intp, one, types.intp, other, types.intp), code


@intrinsic
def copy_lanes(_typing, to, at, one, i):
    """``to[at : at + LANES] = one[i : i + LANES]``."""

    def code(context, builder, signature, values):
        return _store(context, builder, signature, values, _load(context, builder, signature, values, 2))

    return types.void(to, types.intp, one, types.intp), code


@intrinsic
def multiply_add(_typing, x, a, b):
    """``x * a + b``, rounded once, as PyTorch's batch norm computes it."""

    def code(_context, builder, _signature, values):
        return builder.fma(*values)

    return x(x, a, b), code


def _fetching(writing: int, levels: int) -> Any:
    """Return an intrinsic that prefetches the cache line of an element."""

    @intrinsic
    def fetch_line(_typing, array, i):
        def code(context, builder, signature, values):
            byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
            kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
            prefetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
            address = builder.bitcast(_address(context, builder, signature, values, 0), byte)
            builder.call(prefetch, [address, number(writing), number(levels), number(1)])
            return context.get_dummy_value()

        return types.void(array, types.intp), code

    return fetch_line


_fetch_to_read = _fetching(0, 2)
_fetch_to_write = _fetching(1, 3)


@compiled
def fetch(x, start, size):
    """Prefetch ``x[start : start + size]`` for reading. The range may lie outside of ``x``."""
    for i in range(0, size, LINE // x.itemsize):
        _fetch_to_read(x, start + i)


@compiled
def fetch_to_write(x, start, size):
    """Prefetch ``x[start : start + size]`` for writing. The range may lie outside of ``x``."""
    for i in range(0, size, LINE // x.itemsize):
        _fetch_to_write(x, start + i)
