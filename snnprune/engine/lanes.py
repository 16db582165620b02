"""Vectors of `LANES` numbers, as values in compiled code: loaded, computed with, compared and stored.

They live in registers of the processor. ``+ - * /`` work on pairs of them, each rounded by itself: a product
that is added is not fused with its sum, so every processor gives the same bits. A comparison gives a whole
number with one bit per lane.
"""
# ruff: noqa: ARG001, PLR0917, PLW0108 - of an intrinsic's arguments only the types are read here
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

from snnprune.engine.pointers import Pointer

if TYPE_CHECKING:
    from collections.abc import Callable

LANES = 8
"""Numbers at a time: a register of AVX in float32, one of AVX-512 in float64."""

BROAD = 2 * LANES if "avx512f" in (binding.get_host_cpu_features() or {}) else LANES
"""Numbers that `SCATTER` adds at a time: in float32, what a register of this processor holds."""

WIDEST = 16
"""The most vectors of `BROAD` numbers that `SCATTER` holds in registers."""

_INDEX = ir.IntType(64)


class LanesType(types.Type):
    """The type of some numbers side by side."""

    def __init__(self, dtype: Any, lanes: int = LANES) -> None:
        self.dtype, self.lanes = dtype, lanes
        super().__init__(name=f"Lanes({dtype}, {lanes})")


@register_model(LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Any) -> None:
        super().__init__(dmm, fe_type, _vector(fe_type.dtype, fe_type.lanes))


def _vector(dtype: Any, lanes: int = LANES) -> Any:
    return ir.VectorType(ir.FloatType() if dtype.bitwidth == 32 else ir.DoubleType(), lanes)


def _data(context: Any, builder: Any, signature: Any, values: Any, place: int) -> Any:
    """Return the address of the first number of the array, or pointer, that is the argument ``place``."""
    if isinstance(signature.args[place], Pointer):
        return values[place]
    return context.make_array(signature.args[place])(context, builder, values[place]).data


def _at(builder: Any, data: Any, index: Any, dtype: Any, lanes: int = LANES) -> Any:
    return builder.bitcast(builder.gep(data, [index]), _vector(dtype, lanes).as_pointer())


def _splat(builder: Any, number: Any, lanes: int = LANES) -> Any:
    undefined = ir.Constant(ir.VectorType(number.type, lanes), ir.Undefined)
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
def load_like(_typing, array, i, numbers):
    """Return as many numbers from ``array[i]`` on as there are lanes in ``numbers``."""

    def code(context, builder, signature, values):
        data = _data(context, builder, signature, values, 0)
        address = _at(builder, data, values[1], array.dtype, numbers.lanes)
        return builder.load(address, align=array.dtype.bitwidth // 8)

    return numbers(array, types.intp, numbers), code


@intrinsic
def store(_typing, array, i, numbers):
    """``array[i : i + lanes] = numbers``."""

    def code(context, builder, signature, values):
        data = _data(context, builder, signature, values, 0)
        address = _at(builder, data, values[1], array.dtype, numbers.lanes)
        builder.store(values[2], address, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, numbers), code


def _splatting(lanes_of: Callable[[Any], int]) -> Any:
    @intrinsic
    def splat(_typing, number):
        lanes = lanes_of(number)

        def code(_context, builder, _signature, values):
            return _splat(builder, values[0], lanes)

        return LanesType(number, lanes)(number), code

    return splat


splat = _splatting(lambda _: LANES)
"""Return `LANES` times the same number."""

splat_broad = _splatting(lambda number: max(LANES, BROAD * 32 // number.bitwidth))
"""Return as many times the same number as a register of this processor holds, and `LANES` times at least."""


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


@intrinsic
def fused(_typing, a, b, c):
    """Return ``a b + c``, rounded once, of numbers or vectors."""

    def code(_context, builder, _signature, values):
        kind, vector = values[0].type, isinstance(a, LanesType)
        number = f"f{(a.dtype if vector else a).bitwidth}"
        name = f"llvm.fma.v{a.lanes}{number}" if vector else f"llvm.fma.{number}"
        function = ir.FunctionType(kind, [kind] * 3)
        return builder.call(cgutils.get_or_insert_function(builder.module, function, name), values)

    return a(a, b, c), code


@intrinsic
def negative(_typing, a):
    """Return ``-a``, of a number or a vector."""

    def code(_context, builder, _signature, values):
        return builder.fneg(values[0])

    return a(a), code


def _comparison(sign: str, *, ordered: bool) -> Any:
    @intrinsic
    def compare(_typing, a, b):
        def code(_context, builder, _signature, values):
            compared = (builder.fcmp_ordered if ordered else builder.fcmp_unordered)(sign, *values)
            return builder.zext(builder.bitcast(compared, ir.IntType(a.lanes)), _INDEX)

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
        mask = builder.trunc(values[0], ir.IntType(a.lanes))
        flags = builder.bitcast(mask, ir.VectorType(ir.IntType(1), a.lanes))
        return builder.select(flags, values[1], values[2])

    return a(bits, a, b), code


@intrinsic
def mark(_typing, array, i, bits, numbers):
    """Store from the byte ``array[i]`` on a bit for each lane of ``numbers``."""

    def code(context, builder, signature, values):
        whole = ir.IntType(numbers.lanes)
        address = builder.gep(_data(context, builder, signature, values, 0), [values[1]])
        address = builder.bitcast(address, whole.as_pointer())
        builder.store(builder.trunc(values[2], whole), address, align=1)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.int64, numbers), code


@intrinsic
def lane_of(_typing, numbers, i):
    """Return the number of a lane."""

    def code(_context, builder, _signature, values):
        return builder.extract_element(values[0], values[1])

    return numbers.dtype(numbers, types.intp), code


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


@intrinsic
def marked(_typing, array, i, numbers):
    """Return what `mark` has stored."""

    def code(context, builder, signature, values):
        address = builder.gep(_data(context, builder, signature, values, 0), [values[1]])
        address = builder.bitcast(address, ir.IntType(numbers.lanes).as_pointer())
        return builder.zext(builder.load(address, align=1), _INDEX)

    return types.int64(array, types.intp, numbers), code


def _press(builder: Any, array: Any, data: Any, at: Any, numbers: Any, bits: Any) -> None:
    """Store the lanes whose bit is set one behind the other, and anything behind them."""
    kind, dtype = numbers.type, array.dtype
    lanes = kind.count
    flags = ir.VectorType(ir.IntType(1), lanes)
    name = f"llvm.experimental.vector.compress.v{lanes}{dtype.name[0]}{dtype.bitwidth}"
    press = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind, flags, kind]), name)
    mask = builder.bitcast(builder.trunc(bits, ir.IntType(lanes)), flags)
    pressed = builder.call(press, [numbers, mask, ir.Constant(kind, ir.Undefined)])
    address = builder.bitcast(builder.gep(data, [at]), kind.as_pointer())
    builder.store(pressed, address, align=dtype.bitwidth // 8)


@intrinsic
def press(_typing, array, at, numbers, bits):
    """Store from ``array[at]`` on the lanes whose bit is set. As many numbers as there are lanes change."""

    def code(context, builder, signature, values):
        data = _data(context, builder, signature, values, 0)
        _press(builder, array, data, values[1], values[2], values[3])
        return context.get_dummy_value()

    return types.void(array, types.intp, numbers, types.int64), code


@intrinsic
def press_places(_typing, array, at, first, bits, numbers):
    """Store from ``array[at]`` on ``first`` plus the places of the bits that are set; else as `press`."""

    def code(context, builder, signature, values):
        data = _data(context, builder, signature, values, 0)
        whole, lanes = ir.IntType(array.dtype.bitwidth), numbers.lanes
        kind = ir.VectorType(whole, lanes)
        first = _splat(builder, builder.trunc(values[2], whole), lanes)
        places = builder.add(first, ir.Constant(kind, list(range(lanes))))
        _press(builder, array, data, values[1], places, values[3])
        return context.get_dummy_value()

    return types.void(array, types.intp, types.int64, types.int64, numbers), code


@intrinsic
def lanes_of(_typing, numbers):
    """Return how many lanes a vector has."""

    def code(_context, _builder, _signature, _values):
        return _INDEX(numbers.lanes)

    return types.int64(numbers), code


def _scattering(vectors: int) -> Any:
    @intrinsic
    def scatter(
        _typing,
        to,
        at,
        weights,
        shift,
        stride,
        k,
        columns,
        e,
        entry,
        entries,
        before,
        channels,
        addresses,
        numbers,
    ):  # fmt: skip
        def code(context, builder, signature, values):
            one, width = _INDEX(1), to.dtype.bitwidth // 8
            sums_in, rows_in, tables, events = (
                _data(context, builder, signature, values, place) for place in (0, 2, 5, 7)
            )

            def number(data, index):
                return builder.sext(builder.load(builder.gep(data, [index])), _INDEX)

            read = builder.gep(events, [values[12]])
            scale = builder.gep(sums_in, [values[13]])
            with cgutils.for_range_slice(builder, _INDEX(0), values[9], one, _INDEX) as (visit, _):
                begin = builder.add(values[8], builder.shl(visit, one))
                pixel = number(events, begin)
                column = builder.add(values[6], builder.sub(pixel, values[10]))
                own = builder.sub(values[3], builder.mul(builder.mul(pixel, values[11]), values[4]))
                first = number(events, builder.add(begin, one))
                last = number(events, builder.add(begin, _INDEX(3)))
                place = builder.add(values[1], number(tables, column))
                target = [
                    _at(builder, sums_in, builder.add(place, _INDEX(BROAD * v)), to.dtype, BROAD)
                    for v in range(vectors)
                ]

                def row(i):
                    start = builder.add(own, builder.mul(number(read, i), values[4]))
                    factor = _splat(builder, builder.load(builder.gep(scale, [i])), BROAD)
                    return builder.gep(rows_in, [start]), factor

                def added(held, start, factor, v):
                    address = _at(builder, start, _INDEX(BROAD * v), to.dtype, BROAD)
                    return builder.fadd(held, builder.fmul(factor, builder.load(address, align=width)))

                alone = builder.icmp_signed("==", builder.add(first, one), last)
                with builder.if_else(alone) as (one_event, several):
                    with one_event:
                        start, factor = row(first)
                        for v, address in enumerate(target):
                            held = builder.load(address, align=width)
                            builder.store(added(held, start, factor, v), address, align=width)
                    with several:
                        sums = [cgutils.alloca_once(builder, _vector(to.dtype, BROAD)) for _ in target]
                        for address, held in zip(target, sums, strict=True):
                            builder.store(builder.load(address, align=width), held)
                        with cgutils.for_range_slice(builder, first, last, one, _INDEX) as (i, _):
                            start, factor = row(i)
                            for v, held in enumerate(sums):
                                builder.store(added(builder.load(held), start, factor, v), held)
                        for address, held in zip(target, sums, strict=True):
                            builder.store(builder.load(held), address, align=width)
            return context.get_dummy_value()

        index = types.intp
        return types.void(
            to, index, weights, index, index, k, index, e, index, index, index, index, index, index
        ), code

    return scatter


ENTRY = 3
"""Numbers of a segment in the table of segments: currents, weights, vectors."""

SCATTER = tuple(_scattering(vectors) for vectors in range(1, WIDEST + 1))
"""For 1 to `WIDEST` vectors of `BROAD` numbers: add rows of weights, times numbers, to currents.

Sums are in registers for the events of a pixel, and pixels come one after the other:

    for each of some entries of a list in e, with a pixel and the events i of it
        channel = e[addresses + i] - pixel channels
        to[at + k[columns + pixel - before] :] += to[numbers + i] weights[shift + stride channel :]

The arguments: to, at, weights, shift, stride, k, columns, e, entry, entries, before, channels, addresses,
numbers.
"""
