"""The channel axis of a tensor, or its axes.

Axes are counted from the end. So it makes no difference whether there is a time axis in front, or whether it
is folded into the batch.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from snnprune.network.runs import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Unknown(Exception):  # noqa: N818 - an answer, not an error
    """No rule covers what the operation does to channels; the message says what it does."""


Factor = tuple["int | None", int]
"""The number of a population, None for entries that belong to the units of others, and its size."""


@dataclass(frozen=True)
class Span:
    """A run of an axis that populations fill, as a product of factors, the outer one first.

    The H x W places of each channel behind a flatten are ``((channels, C), (None, H * W))``; the rows of a
    layer that computes queries, keys and values are ``((None, 3), (heads, h), (channels, d))``.
    """

    factors: tuple[Factor, ...]

    @staticmethod
    def of(factors: Iterable[Factor]) -> Span:
        """Return the span of ``factors``; neighbours that belong to no population become one."""
        kept: list[Factor] = []
        for number, size in factors:
            if number is None and kept and kept[-1][0] is None:
                kept[-1] = None, kept[-1][1] * size
            elif number is not None or size > 1:
                kept.append((number, size))
        return Span(tuple(kept))

    @property
    def length(self) -> int:
        """Entries on the axis."""
        return math.prod(size for _, size in self.factors)

    @property
    def numbers(self) -> list[int]:
        """The populations, the outer one first."""
        return [number for number, _ in self.factors if number is not None]

    def runs(self, offset: int) -> list[tuple[int, Run]]:
        """Return the number of each population with its run, whose name is left open.

        The span begins at ``offset``.
        """
        found, sizes = [], [size for _, size in self.factors]
        for place, (number, size) in enumerate(self.factors):
            if number is not None:
                spread, repeats = math.prod(sizes[place + 1 :]), math.prod(sizes[:place])
                found.append((number, Run("", offset, size, spread, repeats)))
        return found


def runs_of(spans: Iterable[Span]) -> list[tuple[int, Run]]:
    """Return the number of each population on an axis with its run, whose name is left open."""
    found, offset = [], 0
    for span in spans:
        found += span.runs(offset)
        offset += span.length
    return found


Places = tuple[tuple[int, tuple[Span, ...]], ...]
"""Axes of channels, counted from the end, with the populations on each."""

Met = tuple[tuple[int, ...], Places]
"""What a leaf was given: a shape, and where the channels are."""


@dataclass(frozen=True)
class Axis:
    """The axis of a tensor that holds its channels, or several: heads, and the channels inside heads.

    Attributes:
        places: each such axis, counted from the end (negative), with the populations on it; in order.
        sources: projections that reach this tensor without a neuron between.
        resting: the operation after which a dead unit is no longer at zero, or None (`silence`).
        state: the neuron whose state this is, handed out beside its activity; None for activity.
    """

    places: Places
    sources: frozenset[str] = frozenset()
    resting: str | None = None
    state: str | None = None

    @staticmethod
    def along(dim: int, spans: tuple[Span, ...], sources: frozenset[str] = frozenset()) -> Axis:
        """Return the axis of a tensor that holds all channels on axis ``dim``."""
        return Axis(((dim, spans),), sources)

    @property
    def is_whole(self) -> bool:
        """Whether all channels are on one axis."""
        return len(self.places) == 1

    @property
    def dim(self) -> int:
        """The axis, counted from the end; the first one of several."""
        return self.places[0][0]

    @property
    def spans(self) -> tuple[Span, ...]:
        """The populations on the one axis, in order.

        Raises:
            Unknown: there are several axes.
        """
        if not self.is_whole:
            raise Unknown("it is taken apart into heads")
        return self.places[0][1]

    @property
    def numbers(self) -> list[int]:
        """The populations on all axes."""
        return [number for _, spans in self.places for span in spans for number in span.numbers]

    @property
    def length(self) -> int:
        """Entries on the one axis."""
        return sum(s.length for s in self.spans)

    def at(self, dim: int) -> tuple[Span, ...]:
        """Return the populations on an axis, none if it holds no channels."""
        return dict(self.places).get(dim, ())

    def moved(self, place: Callable[[int], int]) -> Axis:
        """Return the same with other axes."""
        return replace(self, places=tuple(sorted((place(dim), spans) for dim, spans in self.places)))


def mapped(value: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """Return ``value`` with each tensor in nested lists, tuples, dicts and deques changed by ``change``."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if type(value) in {list, tuple}:
        return type(value)(mapped(v, change) for v in value)
    if type(value) is dict:
        return {k: mapped(v, change) for k, v in value.items()}
    if type(value) is deque:
        return deque((mapped(v, change) for v in value), value.maxlen)
    return value


def tensors_in(value: Any) -> list[torch.Tensor]:
    """Return the tensors in nested lists, tuples, dicts, deques and dataclasses, in order."""
    if isinstance(value, torch.Tensor):
        return [value]
    if is_dataclass(value) and not isinstance(value, (dict, type)):
        value = [getattr(value, f.name) for f in fields(value)]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple, deque)):
        return [t for item in value for t in tensors_in(item)]
    return []
