"""What reshapes and indices do to the axes of channels: they are merged, and taken apart into heads."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from snnprune.network.axes import Axis, Span, Unknown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snnprune.network.axes import Factor
    from snnprune.network.operation import Operation


def reshape(op: Operation, axis: Axis) -> Axis:
    """Return the axes after a reshape.

    Channels stay, or are merged with what lies behind them (a flatten), or those of one population are taken
    apart: its units become heads, and channels inside heads.
    """
    old, new = op.subject.shape, op.result.shape
    reason = f"a reshape from {tuple(old)} to {tuple(new)} takes apart or mixes its channels"
    if any(len(spans) > 1 for _, spans in axis.places):
        return _with_neighbours(op, axis, reason)
    factors = Span.of(f for dim in range(-len(old), 0) for f in _factors(axis, dim, old[dim])).factors
    if 0 in old or any(factors.count(f) > 1 for f in factors if f[0] is not None):
        raise Unknown(reason)
    groups = _dealt_out(factors, new, reason)
    sizes: dict[int, list[int]] = {}
    for number, size in (f for group in groups for f in group):
        if number is not None:
            sizes.setdefault(number, []).append(size)
    apart = {n: op.units.divide(n, each) for n, each in sizes.items() if len(each) > 1}
    parts = {n: iter(each) for n, each in apart.items()}
    places = []
    for dim, group in enumerate(groups, start=-len(new)):
        span = Span.of((next(parts[n]) if n in parts else n, size) for n, size in group)
        if span.numbers:
            places.append((dim, (span,)))
    return replace(axis, places=tuple(places))


def _factors(axis: Axis, dim: int, length: int) -> tuple[Factor, ...]:
    spans = axis.at(dim)
    return spans[0].factors if spans else ((None, length),)


def _dealt_out(factors: Sequence[Factor], new: Sequence[int], reason: str) -> list[list[Factor]]:
    """Return the factors of each new axis; a factor that several share has its number in each of them."""
    waiting = list(factors)
    groups: list[list[Factor]] = []
    for length in new:
        group: list[Factor] = []
        missing = length
        if length == 1 and _is_within(groups, waiting):
            group = [(waiting[0][0], 1)]  # one head is left, between q, k and v and its channels
        while waiting and (missing > 1 or waiting[0][1] == 1):
            number, size = waiting.pop(0)
            whole = size if missing % size == 0 else missing
            if size % whole:
                raise Unknown(reason)
            group.append((number, whole))
            missing //= whole
            if whole < size:
                waiting.insert(0, (number, size // whole))
        groups.append(group)
    if waiting:
        raise Unknown(reason)
    return groups


def _is_within(groups: list[list[Factor]], waiting: list[Factor]) -> bool:
    """Tell whether a new axis is inside of a population that is taken apart."""
    if not waiting or not groups or not groups[-1]:
        return False
    return waiting[0][0] is not None and waiting[0][0] == groups[-1][-1][0]


def _with_neighbours(op: Operation, axis: Axis, reason: str) -> Axis:
    """Return the axis of a concatenation: it stays, or is merged with the axes behind it."""
    old, new = op.subject.shape, op.result.shape
    at = len(old) + axis.dim
    before, tail = math.prod(old[:at]), list(old[at + 1 :])
    starts = [q for q in range(len(new)) if math.prod(new[:q]) == before]
    for merged in dict.fromkeys(math.prod(tail[:k]) for k in range(len(tail) + 1)):
        for q in starts:
            if new[q] == axis.length * merged and math.prod(new[q + 1 :]) * merged == math.prod(tail):
                spans = tuple(Span.of((*s.factors, (None, merged))) for s in axis.spans)
                return replace(axis, places=((q - len(new), spans),))
    raise Unknown(reason)


def index(op: Operation, axis: Axis) -> Axis:
    """Return the axes of a part of a tensor; parts of an axis of channels are queries, keys and values."""
    if op.name == "getitem":
        return _indexed(op, axis)
    dim = op.from_end(op.argument(2 if op.name in {"chunk", "split"} else 1, "dim", default=0))
    if op.name in {"select", "unbind"}:
        return same_length(op, _without(op, axis, [dim]))
    if not axis.at(dim):
        return same_length(op, axis)
    if op.name == "narrow":
        raise Unknown("narrow() takes its channels apart")
    return same_length(op, _part(op, axis, dim))


def _indexed(op: Operation, axis: Axis) -> Axis:
    given: Any = op.args[1] if isinstance(op.args[1], tuple) else (op.args[1],)
    if not all(isinstance(i, (int, slice)) or i is Ellipsis for i in given) or given.count(...) > 1:
        raise Unknown("it is indexed in a way that is not understood")
    missing = op.subject.ndim - sum(i is not Ellipsis for i in given)
    at = given.index(...) if ... in given else len(given)
    full = [*given[:at], *[slice(None)] * missing, *given[at + (... in given) :]]
    for dim, i in enumerate(full, start=-op.subject.ndim):
        if axis.at(dim) and isinstance(i, slice) and i != slice(None):
            raise Unknown("it is indexed in a way that is not understood")
    gone = [dim for dim, i in enumerate(full, start=-op.subject.ndim) if isinstance(i, int)]
    return same_length(op, _without(op, axis, gone))


def _without(op: Operation, axis: Axis, gone: list[int]) -> Axis:
    """Return the axes where one entry is left of each axis in ``gone``, which goes."""
    for dim in gone:
        for span in axis.at(dim):
            for number in span.numbers:
                _fix(op, number)
    left = replace(axis, places=tuple(place for place in axis.places if place[0] not in gone))
    if not left.places:
        raise Unknown(f"{op.name}() takes its channels apart")
    return left.moved(lambda dim: dim + sum(d > dim for d in gone))


def _part(op: Operation, axis: Axis, dim: int) -> Axis:
    """Return the axes of one of several equal parts of an axis of channels."""
    spans, length = axis.at(dim), op.subject.shape[dim]
    count = length // max(op.result.shape[dim], 1)
    (number, size), *rest = spans[0].factors
    if len(spans) > 1 or count * op.result.shape[dim] != length or size % count:
        raise Unknown(f"{op.name}() takes its channels apart")
    inner: tuple[Factor, ...] = ((None, size // count),)
    if number is not None and count == size:
        _fix(op, number)
    elif number is not None:
        part, left = op.units.divide(number, (count, size // count))
        _fix(op, part)
        inner = ((left, size // count),)
    span = Span.of((*inner, *rest))
    return replace(axis, places=tuple((d, (span,) if d == dim else on) for d, on in axis.places))


def _fix(op: Operation, number: int) -> None:
    if not op.units[number].is_part:
        raise Unknown(f"{op.name}() takes its channels apart")
    op.units.fix(number)


def same_length(op: Operation, axis: Axis) -> Axis:
    """Return the axes that a result has, too.

    Raises:
        Unknown: they have other lengths in it.
    """
    for dim, spans in axis.places:
        if op.result.ndim < -dim or op.result.shape[dim] != sum(s.length for s in spans):
            raise Unknown(f"{op.name}() changes its channel axis")
    return axis
