"""Arrays within kernels: the address of the first number, which is all that a call hands on.

An array of numpy is seven numbers in compiled code. A call with six arrays would write 42 arguments to memory
and read them again. A pointer is one number. It knows no length: where numba is to check each index
(``NUMBA_BOUNDSCHECK``), kernels get the arrays themselves.
"""
# ruff: noqa: ARG001, PLW0108 - of an intrinsic's arguments only the types are read here
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import operator
from typing import Any

from numba import config, types
from numba.extending import intrinsic, models, overload, register_model

from snnprune.engine.compiling import kernel


class Pointer(types.Type):
    """The type of the address of numbers of a kind."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        super().__init__(name=f"Pointer({dtype})")


@register_model(Pointer)
class _PointerModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Any) -> None:
        super().__init__(dmm, fe_type, dmm.lookup(fe_type.dtype).get_data_type().as_pointer())


@intrinsic
def pointer(_typing, array):
    """Return the address of the first number of an array, or the array where each index is checked."""

    def address(context, builder, signature, values):
        return context.make_array(signature.args[0])(context, builder, values[0]).data

    def itself(_context, _builder, _signature, values):
        return values[0]

    checked = config.BOUNDSCHECK
    return (array(array), itself) if checked else (Pointer(array.dtype)(array), address)


@intrinsic
def like(_typing, numbers, number):
    """Return a number, of the kind of those at a pointer or in an array."""

    def code(_context, _builder, _signature, values):
        return values[1]

    return numbers.dtype(numbers, numbers.dtype), code


@kernel
def clear(numbers, first, many):
    """Set numbers from the place ``first`` on to 0."""
    for i in range(many):
        numbers[first + i] = 0


@intrinsic
def _get(_typing, numbers, i):
    def code(context, builder, signature, values):
        return context.unpack_value(builder, signature.return_type, builder.gep(values[0], [values[1]]))

    return numbers.dtype(numbers, types.intp), code


@intrinsic
def _set(_typing, numbers, i, number):
    def code(context, builder, signature, values):
        context.pack_value(builder, signature.args[2], values[2], builder.gep(values[0], [values[1]]))
        return context.get_dummy_value()

    return types.void(numbers, types.intp, numbers.dtype), code


@overload(operator.getitem)
def _getitem(numbers, i):
    if isinstance(numbers, Pointer) and isinstance(i, types.Integer):
        return lambda numbers, i: _get(numbers, i)
    return None


@overload(operator.setitem)
def _setitem(numbers, i, number):
    if isinstance(numbers, Pointer) and isinstance(i, types.Integer):
        return lambda numbers, i, number: _set(numbers, i, number)
    return None
