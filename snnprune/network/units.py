"""Populations during discovery: they are joined, frozen and given slots."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from snnprune.network.axes import Axis, Unknown
from snnprune.network.topology import Role, Slot

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass
class Unit:
    """A population during discovery.

    Attributes:
        parent: number of the population that it was joined with; its own number otherwise.
        size: number of units.
        producers: names of the layers that write into it.
        slots: places that its units index.
        frozen: why it is not prunable, or None.
        on_the_way: the reason is what becomes of its activity, and not how its own layer computes it.
    """

    parent: int
    size: int
    producers: list[str] = field(default_factory=list)
    slots: list[Slot] = field(default_factory=list)
    frozen: str | None = None
    on_the_way: bool = False

    @property
    def made(self) -> bool:
        """Whether a layer writes into it; otherwise it may stand for a population (`blanks`)."""
        return bool(self.producers)

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
        """Return the numbers of the populations that are left after joining."""
        return [i for i, unit in enumerate(self._all) if unit.parent == i and unit.made]

    def unmade(self) -> list[int]:
        """Return the numbers of what was joined with no population so far, though it may stand for one."""
        return [i for i, unit in enumerate(self._all) if unit.parent == i and not unit.made]

    def new(self, producer: str | None, size: int) -> int:
        """Add a population of ``size`` units, or what may stand for one, and return its number."""
        self._all.append(Unit(len(self._all), size, [] if producer is None else [producer]))
        return len(self._all) - 1

    def root(self, number: int) -> int:
        """Return the number that represents all populations joined with ``number``."""
        while self._all[number].parent != number:
            number = self._all[number].parent
        return number

    def join(self, a: Axis, b: Axis) -> Axis:
        """Join the populations of two axes, unit by unit.

        Raises:
            Unknown: their layouts on the axes differ.
        """
        if [(s.size, s.spread) for s in a.spans] != [(s.size, s.spread) for s in b.spans]:
            raise Unknown("it is joined with a population of another layout")
        for one, other in zip(a.spans, b.spans, strict=True):
            self.merge(one.population, other.population)
        state = a.state if b.state else None
        return replace(a, sources=a.sources | b.sources, resting=a.resting or b.resting, state=state)

    def merge(self, one: int, other: int) -> None:
        """Let two numbers be one population."""
        roots = {self.root(one), self.root(other)}
        first, *rest = sorted(roots, key=lambda number: (not self._all[number].made, number))
        for second in rest:
            kept, gone = self._all[first], self._all[second]
            gone.parent = first
            kept.producers += [p for p in gone.producers if p not in kept.producers]
            kept.slots += [s for s in gone.slots if s not in kept.slots]
            if kept.frozen is None:
                kept.frozen, kept.on_the_way = gone.frozen, gone.on_the_way

    def freeze(
        self, numbers: Iterable[int], reason: str, *, foremost: bool = False, on_the_way: bool = False
    ) -> None:
        """Mark populations as not prunable; the first reason stays, unless a later one is ``foremost``.

        ``on_the_way`` says that the reason is what becomes of their activity.
        """
        for number in numbers:
            if foremost or self[number].frozen is None:
                self[number].frozen, self[number].on_the_way = reason, on_the_way

    def add_slots(self, axis: Axis, module: str, tensor: str, dim: int, role: Role) -> None:
        """Add the runs of ``module``'s ``tensor`` along ``dim`` to the slots of ``axis``'s populations."""
        offset = 0
        for span in axis.spans:
            self[span.population].add(Slot(module, tensor, dim, role, offset, span.spread))
            offset += span.length
