"""Runs: which entries of an axis of a tensor the units of a population index.

Several populations may index one stretch of an axis. The rows of a query layer belong to heads and to the
channels inside heads; such a row is alive if its head and its channel are. The columns of a layer that is
called in several places belong to whatever it reads in each of them.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from torch import Tensor


@dataclass(frozen=True)
class Run:
    """A stretch of an axis that the units of a population index.

    Unit ``u`` has the entries ``offset + (r * size + u) * spread + s``, for ``r < repeats`` and
    ``s < spread``.

    Attributes:
        population: name of the population.
        offset: first entry.
        size: units of the population.
        spread: neighbouring entries of a unit (H x W behind a flatten, the channels of a head).
        repeats: how often all units come one after the other (the heads, for the channels inside heads).

    Examples:
        >>> import torch
        >>> from snnprune.network.runs import Run
        >>> heads, channels = Run("heads", 0, 2, spread=3), Run("channels", 0, 3, repeats=2)
        >>> heads.per_entry(torch.tensor([0, 1])).tolist(), channels.per_entry(torch.arange(3)).tolist()
        ([0, 0, 0, 1, 1, 1], [0, 1, 2, 0, 1, 2])
        >>> channels.per_unit(torch.arange(6)).tolist()
        [[0, 3], [1, 4], [2, 5]]
    """

    population: str
    offset: int
    size: int
    spread: int = 1
    repeats: int = 1

    @property
    def length(self) -> int:
        """Number of entries."""
        return self.size * self.spread * self.repeats

    @property
    def stop(self) -> int:
        """One past the last entry."""
        return self.offset + self.length

    def per_entry(self, units: Tensor) -> Tensor:
        """Return a value per entry, [length], for a value per unit, [size]."""
        return units.repeat_interleave(self.spread).repeat(self.repeats)

    def per_unit(self, entries: Tensor) -> Tensor:
        """Return [size, repeats x spread, ...]: each unit's entries, of the values [axis, ...] of an axis."""
        own = entries[self.offset : self.stop]
        apart = own.reshape(self.repeats, self.size, self.spread, *own.shape[1:])
        return apart.transpose(0, 1).flatten(1, 2)


Kind = TypeVar("Kind", bound=Run)


def alive_along(runs: Iterable[Run], units: Mapping[str, Tensor], like: Tensor) -> Tensor:
    """Return bool [axis]: entries all of whose units are alive; those of no unit are.

    Args:
        runs: on the axis.
        units: bool [size] by population.
        like: bool [axis], True; it is written into.
    """
    for run in runs:
        like[run.offset : run.stop] &= run.per_entry(units[run.population]).to(like.device)
    return like


def summed(runs: Iterable[Run], population: str, entries: Tensor) -> Tensor:
    """Return the sum of each unit's entries, [size], of the values [axis] of an axis that ``runs`` are on."""
    own = [run.per_unit(entries).sum(1) for run in runs if run.population == population]
    return torch.stack(own).sum(0)


def stretches(runs: Iterable[Kind]) -> list[list[Kind]]:
    """Return the runs of each stretch of an axis, by offset: those that share its entries, the outer first.

    Where each has one unit left, nothing but the order in which they are given says which is the outer one.
    """
    shared: dict[tuple[int, int], list[Kind]] = defaultdict(list)
    for run in runs:
        shared[run.offset, run.length].append(run)
    return [sorted(shared[place], key=lambda run: (-run.spread, run.repeats)) for place in sorted(shared)]


def left_along(length: int, runs: Iterable[Run], units: Mapping[str, float]) -> float:
    """Return how many of an axis's ``length`` entries are left with ``units`` by population."""
    return length + sum(_left(run, units) - run[0].length for run in stretches(runs))


def _left(stretch: list[Run], units: Mapping[str, float]) -> float:
    if not _nested(stretch):
        return min(run.spread * run.repeats * units[run.population] for run in stretch)
    constant = stretch[0].length // math.prod(run.size for run in stretch)
    return constant * math.prod(units[run.population] for run in stretch)


def resized_along(runs: Iterable[Kind], sizes: Mapping[str, int]) -> tuple[Kind, ...]:
    """Return runs, in their order, as they are with other numbers of units by population."""
    given, found, shift = list(runs), {}, 0
    for stretch in stretches(given):
        nested = _nested(stretch)
        for level, run in enumerate(stretch):
            inner, outer = (stretch[level + 1 :], stretch[:level]) if nested else ([], [])
            found[run] = replace(
                run,
                offset=run.offset + shift,
                size=sizes[run.population],
                spread=_scaled(run.spread, inner, sizes),
                repeats=_scaled(run.repeats, outer, sizes),
            )
        shift += found[stretch[0]].length - stretch[0].length
    return tuple(found[run] for run in given)


def _nested(stretch: Sequence[Run]) -> bool:
    """Tell whether each unit of a run is divided by the units of the next one, as heads by their channels.

    A layer that is called in several places may read another population in each: its runs share entries and
    are not nested.
    """
    return all(a.spread % (b.size * b.spread) == 0 for a, b in pairwise(stretch))


def _scaled(number: int, others: Sequence[Run], sizes: Mapping[str, int]) -> int:
    """Return a product that holds the sizes of ``others``, with their new sizes."""
    return number // math.prod(s.size for s in others) * math.prod(sizes[s.population] for s in others)
