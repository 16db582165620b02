"""Statistics over a few seeds: means with intervals, and differences paired by seed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

LEVEL = 0.95
"""Confidence of every interval that is shown; the field's custom."""

RESAMPLES = 10_000
"""Draws of a bootstrap: with so many, the ends of a 95 % interval vary by about 1 % of its width."""


BETTER, WORSE, OPEN = "better", "worse", "no difference shown"
MORE, LESS = "more", "less"
"""Verdicts on a difference."""


@dataclass(frozen=True)
class Interval:
    """A mean, and the interval in which the true mean lies with `LEVEL` confidence.

    Attributes:
        mean: the mean of the values.
        low: the lower end; None for a single value, which has no spread.
        high: the upper end; None for a single value.
        count: the number of values.
    """

    mean: float
    low: float | None
    high: float | None
    count: int

    @property
    def excludes_zero(self) -> bool:
        """Whether zero lies outside the interval; False without an interval."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)

    @property
    def half(self) -> float | None:
        """Half of the interval's width."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2


def mean_interval(values: Sequence[float], level: float = LEVEL) -> Interval:
    """Return the mean with Student's interval: mean +- t s / sqrt(n), with n - 1 degrees of freedom.

    Args:
        values: one value for each seed.
        level: confidence, in (0, 1).

    Raises:
        ValueError: there are no values, or one is not a number.
    """
    from scipy import stats  # noqa: PLC0415 - half a second that tables without intervals need not wait

    if not values or not all(math.isfinite(v) for v in values):
        raise ValueError(f"a mean needs at least one finite value, and got {list(values)}")
    mean, count = float(np.mean(values)), len(values)
    if count == 1:
        return Interval(mean, None, None, 1)
    half = float(stats.t.ppf((1 + level) / 2, count - 1) * np.std(values, ddof=1) / math.sqrt(count))
    return Interval(mean, mean - half, mean + half, count)


def paired_difference(
    values: Mapping[int, float], reference: Mapping[int, float], level: float = LEVEL
) -> Interval | None:
    """Return the mean difference to ``reference``, paired by seed, or None where no seed has both.

    Runs with the same seed share their initial weights and the order of their data. Most of the seed's effect
    is therefore in both, and cancels in the difference.

    Args:
        values: values by seed.
        reference: values of the reference by seed.
        level: confidence, in (0, 1).
    """
    shared = sorted(values.keys() & reference.keys())
    return mean_interval([values[s] - reference[s] for s in shared], level) if shared else None


def bootstrap_difference(
    hits: NDArray[np.bool_], reference: NDArray[np.bool_], level: float = LEVEL, seed: int = 0
) -> Interval:
    """Return the difference in accuracy, with an interval that covers seeds and test samples.

    Seeds and test samples are both resampled with replacement, the same ones for both networks (percentile
    interval of Efron and Tibshirani 1993). Resampling both is conservative: if seeds and samples have no
    effect beyond chance, the interval is up to 1.7 times wider than necessary.

    Args:
        hits: bool [seeds, samples], whether the sample was classified correctly.
        reference: the same of the other network, on the same seeds and samples.
        level: confidence, in (0, 1).
        seed: the seed of the draws.

    Raises:
        ValueError: the two are not of one shape, or empty.
    """
    if hits.shape != reference.shape or hits.ndim != 2 or hits.size == 0:
        raise ValueError(
            f"both sides need [seeds, samples] of one shape, and came as {hits.shape} and {reference.shape}"
        )
    gain = hits.astype(np.int8) - reference.astype(np.int8)
    seeds, samples = gain.shape
    dice = np.random.default_rng(seed)
    means = np.empty(RESAMPLES)
    for i in range(RESAMPLES):
        weight = np.bincount(dice.integers(samples, size=samples), minlength=samples)
        per_seed = gain @ weight / samples
        means[i] = per_seed[dice.integers(seeds, size=seeds)].mean()
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(gain.mean()), float(low), float(high), seeds)


def verdict(difference: Interval, second: Interval | None, good: int) -> str:
    """Return the verdict on a difference that both intervals support.

    Args:
        difference: over seeds.
        second: a second interval of the same difference that has to agree, such as one over samples; None if
            there is none.
        good: 1 if more is better, -1 if less is better, 0 if neither is.
    """
    if not difference.excludes_zero or (second is not None and not second.excludes_zero):
        return OPEN
    if good > 0 and second is None and difference.low == difference.high:
        return OPEN  # an accuracy counts samples: equal values of a few seeds do not show its spread
    if second is not None and (second.mean > 0) != (difference.mean > 0):
        return OPEN
    if good == 0:
        return MORE if difference.mean > 0 else LESS
    return BETTER if difference.mean * good > 0 else WORSE


def pareto_front(points: Sequence[tuple[float, float]], same: float = 0.0) -> list[int]:
    """Return the points on the Pareto front, by ascending cost.

    Args:
        points: pairs (cost, accuracy). A lower cost is better, and a higher accuracy.
        same: the share by which a cost may be higher and still count as the same.

    Returns:
        The indices of the points that no other point dominates: none is at least as good in both and better
        in one. Of equal points, the first.
    """
    order = sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1], i))
    front: list[int] = []
    for i in order:
        cost, accuracy = points[i]
        if front and accuracy <= points[front[-1]][1]:
            continue
        while front and points[front[-1]][0] >= (1.0 - same) * cost:
            front.pop()
        front.append(i)
    return front
