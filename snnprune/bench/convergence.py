"""How much sooner one run learns than another: convergence speed-up, and learning speed.

A curve is an accuracy for each epoch; epochs count from 1. Accuracies are compared with a tolerance of 1e-9,
since 0.99 x 0.81 is 0.8019000000000001.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

TOLERANCE = 1e-9

SHARES = (1.0, 0.99, 0.95)
"""Shares of the unpruned run's best accuracy. The maximum is noisy, so a level a little below says more."""


@dataclass(frozen=True)
class Race:
    """When two runs reach an accuracy.

    Attributes:
        level: the accuracy.
        reference: first epoch in which the reference run reaches it; None if it never does.
        method: the same for the run of the method.
    """

    level: float
    reference: int | None
    method: int | None

    @property
    def ratio(self) -> float | None:
        """How many times fewer epochs the method takes; None if a run never reaches the accuracy."""
        if self.reference is None or self.method is None:
            return None
        return self.reference / self.method

    def __str__(self) -> str:
        return "not reached" if self.ratio is None else f"{self.ratio:.2f}"


def first_epoch(curve: Sequence[float], level: float) -> int | None:
    """Return T(a): the first epoch with an accuracy of at least ``level``; None if there is none."""
    return next((epoch for epoch, value in enumerate(curve, 1) if value >= level - TOLERANCE), None)


def convergence(dense: Sequence[float], pruned: Sequence[float], share: float = 1.0) -> Race | None:
    """Return when the pruned run reaches the best accuracy A* of the unpruned one (DPAP).

    Args:
        dense: curve of the unpruned run.
        pruned: curve of the pruned run.
        share: share of A* that has to be reached.

    Returns:
        The race to ``share`` x A*, or None if the unpruned run has no accuracy at all.
    """
    known = [value for value in dense if not math.isnan(value)]
    if not known:
        return None
    level = share * max(known)
    return Race(level, first_epoch(dense, level), first_epoch(pruned, level))


def learning_speed(reference: Sequence[float], method: Sequence[float]) -> Race | None:
    """Return the race whose ratio is the learning speed L (BSP and BDNN-dsd).

    On curves of the running maximum, L = T_ref(a*) / T_m(a*). Of all levels that both curves reach, a* is the
    one with the largest |T_ref - T_m|; of several such levels, the highest. Above 1 the method is faster.

    Args:
        reference: curve of the reference run.
        method: curve of the method.

    Returns:
        The race to a*, or None if a curve is empty or holds NaN.
    """
    if not reference or not method or any(math.isnan(v) for v in (*reference, *method)):
        return None
    both = min(max(reference), max(method))
    # T is constant between two neighbouring values of the curves, up to the higher one.
    levels = {*accumulate(reference, max), *accumulate(method, max)}
    races = [Race(a, first_epoch(reference, a), first_epoch(method, a)) for a in sorted(levels) if a <= both]
    return max(races, key=lambda race: (abs((race.reference or 0) - (race.method or 0)), race.level))
