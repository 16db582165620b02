"""Vectors of `LANES` numbers, as values in compiled code: loaded, computed with, compared and stored.

They live in registers of the processor. ``+ - * /`` work on pairs of them, each rounded by itself: a product
that is added is not fused with its sum, so every processor gives the same bits. A comparison gives a whole
number with one bit per lane.
"""
# ruff: noqa: ARG001, PLR0917, PLW0108 - of an intrinsic's arguments only the types are read here
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import operator
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

LANES = 8
"""Numbers at a time: a register of AVX in float32, one of AVX-512 in float64."""

BROAD = 2 * LANES if "avx512f" in (binding.get_host_cpu_features() or {}) else LANES
"""Numbers that `SCATTER` adds at a time: in float32, what a register of this processor holds."""

WIDEST = 16
"""The most vectors of `BROAD` numbers that `SCATTER` holds in registers."""

_INDEX = ir.IntType(64)


class LanesType(types.Type):
    """The type of `LANES` numbers side by side."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        super().__init__(name=f"Lanes({dtype})")


@register_model(LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Any) -> None:
        super().__init__(dmm, fe_type, _vector(fe_type.dtype))


def _vector(dtype: Any, lanes: int = LANES) -> Any:
    return ir.VectorType(ir.FloatType() if dtype.bitwidth == 32 else ir.DoubleType(), lanes)


def _data(context: Any, builder: Any, signature: Any, values: Any, place: int) -> Any:
    """Return the address of the first element of the array that is the argument ``place``."""
    return context.make_array(signature.args[place])(context, builder, values[place]).data


def _at(builder: Any, data: Any, index: Any, dtype: Any, lanes: int = LANES) -> Any:
    return builder.bitcast(builder.gep(data, [index]), _vector(dtype, lanes).as_pointer())


def _splat(builder: Any, number: Any, dtype: Any, lanes: int = LANES) -> Any:
    undefined = ir.Constant(_vector(dtype, lanes), ir.Undefined)
    first = builder.insert_element(undefined, number, ir.IntType(32)(0))
    return builder.shuffle_vector(
        first, undefined, ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
    )


@intrinsic
def load(_typing, array, i):
    """Return ``array[i : i + LANES]``."""

    def code(context, builder, signature, values):
        address = _at(builder, _data(context, builder, signature, values, 0), values[1], array.dtype)
        return builder.load(address, align=array.dtype.bitwidth // 8)

    return LanesType(array.dtype)(array, types.intp), code


@intrinsic
def store(_typing, array, i, numbers):
    """``array[i : i + LANES] = numbers``."""

    def code(context, builder, signature, values):
        address = _at(builder, _data(context, builder, signature, values, 0), values[1], array.dtype)
        builder.store(values[2], address, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, numbers), code


@intrinsic
def splat(_typing, number):
    """Return `LANES` times the same number."""

    def code(_context, builder, _signature, values):
        return _splat(builder, values[0], number)

    return LanesType(number)(number), code


def _operation(name: str) -> Any:
    @intrinsic
    def compute(_typing, a, b):
        def code(_context, builder, _signature, values):
            return getattr(builder, name)(*values)

        return a(a, b), code

    return compute


def _offer(symbol: Any, compute: Any) -> None:
    def typed(a, b):
        if isinstance(a, LanesType) and isinstance(b, LanesType):
            return lambda a, b: compute(a, b)
        return None

    overload(symbol)(typed)


_offer(operator.add, _operation("fadd"))
_offer(operator.sub, _operation("fsub"))
_offer(operator.mul, _operation("fmul"))
_offer(operator.truediv, _operation("fdiv"))


def _comparison(sign: str, *, ordered: bool) -> Any:
    @intrinsic
    def compare(_typing, a, b):
        def code(_context, builder, _signature, values):
            compared = (builder.fcmp_ordered if ordered else builder.fcmp_unordered)(sign, *values)
            return builder.zext(builder.bitcast(compared, ir.IntType(LANES)), _INDEX)

        return types.int64(a, b), code

    return compare


at_least = _comparison(">=", ordered=True)
"""Bits of the lanes where ``a >= b``."""

differ = _comparison("!=", ordered=False)
"""Bits of the lanes where ``a != b``."""


@intrinsic
def where(_typing, bits, a, b):
    """Return ``a`` in the lanes whose bit is set, and ``b`` in the others."""

    def code(_context, builder, _signature, values):
        mask = builder.trunc(values[0], ir.IntType(LANES))
        return builder.select(
            builder.bitcast(mask, ir.VectorType(ir.IntType(1), LANES)), values[1], values[2]
        )

    return a(bits, a, b), code


@intrinsic
def lowest(_typing, bits):
    """Return the place of the lowest bit that is set, 64 if none is."""

    def code(_context, builder, _signature, values):
        return builder.cttz(values[0], ir.IntType(1)(0))

    return types.int64(types.int64), code


@intrinsic
def count(_typing, bits):
    """Return how many bits are set."""

    def code(_context, builder, _signature, values):
        return builder.ctpop(values[0])

    return types.int64(types.int64), code


@intrinsic
def word(_typing, array, i):
    """Return the eight bytes ``array[i : i + 8]`` as 64 bits, the first byte lowest."""

    def code(context, builder, signature, values):
        data = _data(context, builder, signature, values, 0)
        address = builder.bitcast(builder.gep(data, [values[1]]), _INDEX.as_pointer())
        return builder.load(address, align=1)

    return types.int64(array, types.intp), code


def _scattering(vectors: int) -> Any:
    @intrinsic
    def scatter(
        _typing, to, at, weights, shift, stride, k, entry, entries, e, addresses, numbers, first, last
    ):
        def code(context, builder, signature, values):
            one, width = _INDEX(1), to.dtype.bitwidth // 8
            sums_in, rows_in, tables, events = (
                _data(context, builder, signature, values, place) for place in (0, 2, 5, 8)
            )

            def number(data, index):
                return builder.sext(builder.load(builder.gep(data, [index])), _INDEX)

            read = builder.gep(events, [values[9]])
            scale = builder.gep(sums_in, [values[10]])
            alone = builder.icmp_signed("==", builder.add(values[11], one), values[12])
            only = builder.mul(number(read, values[11]), values[4])
            times = _splat(
                builder, builder.load(builder.gep(scale, [values[11]])), to.dtype, BROAD
            )
            with cgutils.for_range_slice(builder, _INDEX(0), values[7], one, _INDEX) as (segment, _):
                begin = builder.add(values[6], builder.mul(segment, _INDEX(ENTRY)))
                place = builder.add(values[1], number(tables, begin))
                base = builder.gep(rows_in, [builder.add(values[3], number(tables, builder.add(begin, one)))])
                target = [
                    _at(builder, sums_in, builder.add(place, _INDEX(BROAD * v)), to.dtype, BROAD)
                    for v in range(vectors)
                ]

                def product(row, factor, v):
                    own = builder.load(_at(builder, row, _INDEX(BROAD * v), to.dtype, BROAD), align=width)
                    return builder.fmul(factor, own)

                with builder.if_else(alone) as (one_event, several):
                    with one_event:
                        row = builder.gep(base, [only])
                        for v, address in enumerate(target):
                            held = builder.load(address, align=width)
                            builder.store(builder.fadd(held, product(row, times, v)), address, align=width)
                    with several:
                        sums = [cgutils.alloca_once(builder, _vector(to.dtype, BROAD)) for _ in target]
                        for address, held in zip(target, sums, strict=True):
                            builder.store(builder.load(address, align=width), held)
                        with cgutils.for_range_slice(builder, values[11], values[12], one, _INDEX) as (i, _):
                            row = builder.gep(base, [builder.mul(number(read, i), values[4])])
                            factor = _splat(builder, builder.load(builder.gep(scale, [i])), to.dtype, BROAD)
                            for v, held in enumerate(sums):
                                builder.store(builder.fadd(builder.load(held), product(row, factor, v)), held)
                        for address, held in zip(target, sums, strict=True):
                            builder.store(builder.load(held), address, align=width)
            return context.get_dummy_value()

        index = types.intp
        return types.void(
            to, index, weights, index, index, k, index, index, e, index, index, index, index
        ), code

    return scatter


ENTRY = 4
"""Numbers of a segment in the table of segments: currents, weights, vectors, equal segments from here."""

SCATTER = tuple(_scattering(vectors) for vectors in range(1, WIDEST + 1))
"""For 1 to `WIDEST` vectors of `BROAD` numbers: add rows of weights, times numbers, to currents, with the sums in registers.

    for each of some segments of k
        to[at + currents :] += to[numbers + i] weights[shift + weights + stride e[addresses + i] :]
                                                                              i from first to last

The arguments: to, at, weights, shift, stride, k, entry, entries, e, addresses, numbers, first, last.
"""
