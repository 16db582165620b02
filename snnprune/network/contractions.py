"""What products of activities do to the axes of channels, as those of queries, keys and values.

Both factors bring populations. On an axis that the result keeps, they live and die together (heads), or one
factor brings them alone. An axis that is summed over is gone; a unit of both factors that is zero in one of
them adds nothing to the sum.
"""

from __future__ import annotations

import string
from typing import TYPE_CHECKING

import torch

from snnprune.network.axes import Axis, Unknown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from snnprune.network.axes import Span
    from snnprune.network.operation import Operation
    from snnprune.network.units import Units

Lettered = tuple["Axis | None", torch.Size, str]
"""Where the channels of a factor are, its shape, and a letter for each of its axes."""


def product(op: Operation) -> Axis | None:
    """Return the axes of a product of two activities.

    Raises:
        Unknown: a factor is no activity, or the product mixes channels.
    """
    if op.name == "scaled_dot_product_attention":
        return _attention(op)
    one, other = op.args[-2:] if op.name == "einsum" else (op.subject, op.argument(1, "other", "mat2"))
    if op.name == "rmatmul":
        one, other = other, one
    factors = [(op.axis_of(t), t.shape) for t in (one, other)]
    *letters, kept = _of_einsum(op) if op.name == "einsum" else _of_matmul(one.ndim, other.ndim)
    return _contracted(op, [(*f, text) for f, text in zip(factors, letters, strict=True)], kept)


def contract(units: Units, spans: Iterable[tuple[Span, ...]]) -> None:
    """Note that the units of populations are summed over."""
    for number in (n for each in spans for span in each for n in span.numbers):
        units[number].contracted = True


def _of_matmul(one: int, other: int) -> tuple[str, str, str]:
    if min(one, other) < 2:
        raise Unknown("it goes through matmul() with a vector")
    batch = string.ascii_uppercase[: max(one, other) - 2]
    left, right = batch[len(batch) - one + 2 :], batch[len(batch) - other + 2 :]
    return f"{left}ik", f"{right}kj", f"{batch}ij"


def _of_einsum(op: Operation) -> tuple[str, str, str]:
    given, arrow, kept = str(op.args[0]).replace(" ", "").partition("->")
    letters = given.split(",")
    if len(op.args) != 3 or len(letters) != 2 or not arrow or "." in given + kept:
        raise Unknown("it goes through einsum() in a way that is not understood")
    if any(len(set(text)) < len(text) for text in (*letters, kept)):
        raise Unknown("it goes through einsum() in a way that is not understood")
    return letters[0], letters[1], kept


def _contracted(op: Operation, factors: list[Lettered], kept: str) -> Axis | None:
    places, resting = {}, None
    for letter in dict.fromkeys("".join(text for _, _, text in factors)):
        spans, silent = _met(op, factors, letter)
        if spans is None:
            continue
        if letter in kept:
            places[kept.index(letter) - len(kept)] = spans
            resting = resting if silent else op.name
        elif silent:
            contract(op.units, [spans])
        else:
            raise Unknown(f"a silent unit does not stay at zero before {op.name}() sums over it")
    if not places:
        raise Unknown(f"{op.name}() sums over its channels")
    return Axis(tuple(sorted(places.items())), resting=resting)


def _met(op: Operation, factors: list[Lettered], letter: str) -> tuple[tuple[Span, ...] | None, bool]:
    """Return the populations on an axis, and whether one of the factors is zero for their dead units."""
    found, silent, alone = None, False, False
    for axis, shape, text in factors:
        if letter in text:
            dim = text.index(letter) - len(text)
            spans = () if axis is None else axis.at(dim)
            if axis is not None and spans:
                found = spans if found is None else op.units.join_spans(found, spans)
                silent |= axis.resting is None
            alone |= not spans and shape[dim] != 1
    if found is not None and alone:
        raise Unknown(f"it goes through {op.name}() beside a tensor of unknown origin")
    return found, silent


def _attention(op: Operation) -> Axis | None:
    """Return the axes of softmax(q k^T) v; a scale that is not given follows the number of channels."""
    query, key, value = (op.argument(i, name) for i, name in enumerate(("query", "key", "value")))
    mask = op.argument(3, "attn_mask")
    batch = string.ascii_uppercase[: query.ndim - 2]
    if not query.ndim == key.ndim == value.ndim or (mask is not None and set(mask.shape[:-2]) - {1}):
        raise Unknown(f"it goes through {op.name}() in a way that is not understood")
    q, k, v = (op.axis_of(t) for t in (query, key, value))
    if op.argument(6, "scale") is None and q is not None and q.at(-1):
        numbers = [n for span in q.at(-1) for n in span.numbers]
        op.units.freeze(numbers, f"{op.name}() scales by the number of channels, unless it is given a scale")
    scores = _contracted(op, [(q, query.shape, batch + "le"), (k, key.shape, batch + "se")], batch + "ls")
    shape = torch.Size([*query.shape[:-1], key.shape[-2]])
    return _contracted(op, [(scores, shape, batch + "ls"), (v, value.shape, batch + "sv")], batch + "lv")
