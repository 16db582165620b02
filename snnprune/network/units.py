"""Populations during discovery: they are joined, taken apart, frozen and given slots."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from snnprune.network.axes import Axis, Factor, Span, Unknown, runs_of
from snnprune.network.topology import Role, Slot, UnitsKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass
class Unit:
    """A population during discovery.

    Attributes:
        parent: number of the population that it was joined with; its own number otherwise.
        size: number of units.
        producers: names of the layers that write into it.
        kind: what its units are.
        slots: places that its units index.
        frozen: why it is not prunable, or None.
        on_the_way: the reason is what becomes of its activity, and not how its own layer computes it.
        parts: the populations that took its place when its units were taken apart, the outer one first.
        is_part: it took such a place.
        is_fixed: it is none any more, since the network takes its units one by one (queries, keys, values).
        contracted: its units are summed over in a product of activities.
    """

    parent: int
    size: int
    producers: list[str] = field(default_factory=list)
    kind: UnitsKind = "neurons"
    slots: list[Slot] = field(default_factory=list)
    frozen: str | None = None
    on_the_way: bool = False
    parts: tuple[int, ...] = ()
    is_part: bool = False
    is_fixed: bool = False
    contracted: bool = False

    @property
    def made(self) -> bool:
        """Whether a layer writes into it; otherwise it may stand for a population (`blanks`)."""
        return bool(self.producers)

    @property
    def is_left(self) -> bool:
        """Whether it is still a population of its own."""
        return not self.parts and not self.is_fixed

    def add(self, slot: Slot) -> None:
        """Add a slot, unless it is there already."""
        if slot not in self.slots:
            self.slots.append(slot)


class Units:
    """All populations by number; the numbers of joined populations give the same population."""

    def __init__(self) -> None:
        self._all: list[Unit] = []

    def __getitem__(self, number: int) -> Unit:
        return self._all[self.root(number)]

    def roots(self) -> list[int]:
        """Return the numbers of the populations that are left after all were joined and taken apart."""
        return [i for i, unit in enumerate(self._all) if unit.is_left and unit.parent == i and unit.made]

    def unmade(self) -> list[int]:
        """Return the numbers of what was joined with no population so far, though it may stand for one."""
        return [i for i, unit in enumerate(self._all) if unit.is_left and unit.parent == i and not unit.made]

    def new(self, producer: str | None, size: int, kind: UnitsKind = "neurons") -> int:
        """Add a population of ``size`` units, or what may stand for one, and return its number."""
        self._all.append(Unit(len(self._all), size, [] if producer is None else [producer], kind))
        return len(self._all) - 1

    def root(self, number: int) -> int:
        """Return the number that represents all populations joined with ``number``."""
        while self._all[number].parent != number:
            number = self._all[number].parent
        return number

    def factors(self, number: int) -> tuple[Factor, ...]:
        """Return what a population has become: itself, or the parts of its units."""
        unit = self[number]
        if unit.parts:
            return tuple(factor for part in unit.parts for factor in self.factors(part))
        return ((None if unit.is_fixed else self.root(number), unit.size),)

    def left(self, numbers: Iterable[int]) -> set[int]:
        """Return the numbers of what populations have become."""
        return {n for number in numbers for n, _ in self.factors(number) if n is not None}

    def resolved(self, spans: Iterable[Span]) -> tuple[Span, ...]:
        """Return spans with what their populations have become."""
        return tuple(
            Span.of(f for number, size in span.factors for f in self._become(number, size)) for span in spans
        )

    def resolved_axis(self, axis: Axis) -> Axis | None:
        """Return axes with what their populations have become, None where nothing is left of them."""
        places = tuple((dim, self.resolved(spans)) for dim, spans in axis.places)
        left = tuple((dim, spans) for dim, spans in places if any(s.numbers for s in spans))
        return replace(axis, places=left) if left else None

    def _become(self, number: int | None, size: int) -> tuple[Factor, ...]:
        return ((None, size),) if number is None else self.factors(number)

    def made(self, spans: Iterable[Span]) -> tuple[Span, ...]:
        """Return spans with what their populations have become; what only may stand for one has no number."""
        return tuple(
            Span.of((n if n is not None and self[n].made else None, size) for n, size in span.factors)
            for span in self.resolved(spans)
        )

    def divide(self, number: int, sizes: Sequence[int]) -> tuple[int, ...]:
        """Take the units of a population apart into parts of ``sizes``, the outer one first: a unit for each.

        A unit of a part has all units of the population that have its index. Parts die by themselves, and a
        unit of the population is alive if that of each part is.

        Returns:
            The numbers of the parts.
        """
        whole, inner = self[number], math.prod(sizes)
        for place, size in enumerate(sizes, start=1):
            outer, inner = whole.size // inner, inner // size
            part = self.new(None, size, "heads" if place < len(sizes) else "head channels")
            unit = self[part]
            unit.producers, unit.is_part = list(whole.producers), True
            unit.frozen, unit.on_the_way, unit.contracted = whole.frozen, whole.on_the_way, whole.contracted
            unit.slots = [
                replace(slot, repeats=slot.repeats * outer, spread=slot.spread * inner)
                for slot in whole.slots
            ]
            whole.parts += (part,)
        whole.slots = []
        return whole.parts

    def fix(self, number: int) -> None:
        """Let the units of a part be no population: the network takes them one by one.

        Raises:
            Unknown: they are the units of a layer.
        """
        if not self[number].is_part:
            raise Unknown("its channels are taken apart")
        self[number].is_fixed, self[number].slots = True, []
        root = self.root(number)
        for whole in self._all:
            left = [part for part in whole.parts if not self[part].is_fixed]
            if left and root in map(self.root, whole.parts):
                self[left[-1]].kind = "head channels"  # whatever lies inside of them was fixed

    def join(self, a: Axis, b: Axis) -> Axis:
        """Join the populations of two axes, unit by unit; a place that only one of them has stays as it is.

        Raises:
            Unknown: their layouts on the axes differ.
        """
        places = dict(b.places) | dict(a.places)
        for dim, spans in b.places:
            if a.at(dim):
                places[dim] = self.join_spans(a.at(dim), spans)
        state = a.state if b.state else None
        return replace(
            a,
            places=tuple(sorted(places.items())),
            sources=a.sources | b.sources,
            resting=a.resting or b.resting,
            state=state,
        )

    def join_spans(self, one: tuple[Span, ...], other: tuple[Span, ...]) -> tuple[Span, ...]:
        """Join the populations of two runs of entries, unit by unit.

        Raises:
            Unknown: their layouts differ.
        """
        one, other = self._alike(one, other), self._alike(other, one)
        if [_layout(s) for s in one] != [_layout(s) for s in other]:
            raise Unknown("it is joined with a population of another layout")
        for a, b in zip(one, other, strict=True):
            for first, second in zip(a.numbers, b.numbers, strict=True):
                self.merge(first, second)
        return self.resolved(one)

    def _alike(self, own: tuple[Span, ...], other: tuple[Span, ...]) -> tuple[Span, ...]:
        """Return ``own``, taken apart as ``other`` is, where it has a population that was not."""
        for a, b in zip(own, other, strict=False):
            sizes = [size for _, size in b.factors]
            if len(a.factors) == 1 < len(sizes) and a.length == b.length and a.numbers:
                parts = self.divide(a.numbers[0], sizes)
                for part, (number, _) in zip(parts, b.factors, strict=True):
                    if number is None:
                        self.fix(part)
        return self.resolved(own)

    def merge(self, one: int, other: int) -> None:
        """Let two numbers be one population."""
        roots = {self.root(one), self.root(other)}
        first, *rest = sorted(roots, key=lambda number: (not self._all[number].made, number))
        for second in rest:
            kept, gone = self._all[first], self._all[second]
            gone.parent = first
            kept.producers += [p for p in gone.producers if p not in kept.producers]
            kept.slots += [s for s in gone.slots if s not in kept.slots]
            kept.contracted |= gone.contracted
            kept.is_part &= gone.is_part
            if kept.frozen is None:
                kept.frozen, kept.on_the_way = gone.frozen, gone.on_the_way

    def freeze(
        self, numbers: Iterable[int], reason: str, *, foremost: bool = False, on_the_way: bool = False
    ) -> None:
        """Mark populations as not prunable; the first reason stays, unless a later one is ``foremost``.

        ``on_the_way`` says that the reason is what becomes of their activity.
        """
        for number in self.left(numbers):
            if foremost or self[number].frozen is None:
                self[number].frozen, self[number].on_the_way = reason, on_the_way

    def add_slots(self, axis: Axis, module: str, tensor: str, dim: int, role: Role) -> None:
        """Add the runs of ``module``'s ``tensor`` along ``dim`` to the slots of ``axis``'s populations."""
        for number, run in runs_of(self.resolved(axis.spans)):
            self[number].add(Slot(module, tensor, dim, role, run.offset, run.spread, run.repeats))


def _layout(span: Span) -> list[tuple[bool, int]]:
    return [(number is None, size) for number, size in span.factors]
