"""Intervals and paired differences: equal to scipy's, and silent where nothing can be said."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from snnprune.common.statistics import (
    bootstrap_difference,
    mean_interval,
    paired_difference,
    pareto_front,
)

VALUES = [0.912, 0.921, 0.917, 0.933, 0.905]


def test_the_interval_is_scipys() -> None:
    found = mean_interval(VALUES)
    expected = stats.ttest_1samp(VALUES, 0.0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert found.mean == pytest.approx(np.mean(VALUES))
    assert found.count == 5
    assert found.half == pytest.approx((expected.high - expected.low) / 2)


def test_two_values_by_hand() -> None:
    found = mean_interval([1.0, 3.0])  # mean 2, s = sqrt 2, t(1) = 12.706: half = 12.706
    assert (found.mean, found.half) == pytest.approx((2.0, 12.706), abs=1e-3)


def test_one_value_has_no_interval() -> None:
    found = mean_interval([0.9])
    assert (found.mean, found.low, found.high, found.half) == (0.9, None, None, None)
    assert not found.excludes_zero


@pytest.mark.parametrize("values", [[], [0.9, float("nan")], [float("inf")]])
def test_what_is_no_number_has_no_mean(values: list[float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        mean_interval(values)


def test_the_paired_difference_is_scipys() -> None:
    a = dict(enumerate(VALUES))
    b = {
        seed: value - gain
        for (seed, value), gain in zip(a.items(), (0.01, 0.02, 0.0, 0.01, 0.03), strict=True)
    }
    found = paired_difference(a, b | {7: 0.5})
    assert found is not None
    test = stats.ttest_rel(list(a.values()), list(b.values()))
    expected = test.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert found.count == 5
    assert found.excludes_zero == (test.pvalue < 0.05)


def test_pairing_sees_what_the_spread_of_seeds_hides() -> None:
    reference = {0: 0.80, 1: 0.90, 2: 0.85}
    better = {
        seed: value + gain
        for (seed, value), gain in zip(reference.items(), (0.010, 0.011, 0.012), strict=True)
    }
    assert paired_difference(better, reference).excludes_zero
    a, b = mean_interval(list(better.values())), mean_interval(list(reference.values()))
    assert a.low < b.high  # side by side, the two intervals overlap


def test_no_shared_seed_no_difference() -> None:
    assert paired_difference({0: 0.9}, {1: 0.8}) is None


def test_the_bootstrap_covers_seeds_and_samples() -> None:
    dice = np.random.default_rng(1)
    reference = dice.random((5, 400)) < 0.8
    hits = reference | (dice.random((5, 400)) < 0.3)
    found = bootstrap_difference(hits, reference)
    assert found.mean == pytest.approx(float(hits.mean() - reference.mean()))
    assert found.low < found.mean < found.high
    assert found.excludes_zero
    assert bootstrap_difference(hits, reference) == found
    # Entries that are all independent count three times: drawn as samples, as seeds, and as both.
    spread = (hits.astype(int) - reference).std() / np.sqrt(5 * 400)
    assert found.half == pytest.approx(1.96 * np.sqrt(3) * spread, rel=0.15)


def test_equal_networks_do_not_differ() -> None:
    hits = np.random.default_rng(0).random((3, 50)) < 0.7
    found = bootstrap_difference(hits, hits)
    assert (found.mean, found.low, found.high) == (0.0, 0.0, 0.0)
    assert not found.excludes_zero


def test_sides_of_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="one shape"):
        bootstrap_difference(np.ones((2, 5), bool), np.ones((2, 6), bool))


def test_the_front_by_hand() -> None:
    points = [(10.0, 0.95), (4.0, 0.90), (4.0, 0.92), (6.0, 0.91), (2.0, 0.80), (10.0, 0.95)]
    assert pareto_front(points) == [4, 2, 0]
    assert pareto_front([]) == []


def test_costs_that_hardly_differ_are_one_on_the_front() -> None:
    points = [(310_668.0, 36.0), (310_680.0, 50.0), (310_900.0, 50.5), (466_000.0, 52.0), (310_700.0, 49.0)]
    assert pareto_front(points) == [0, 1, 2, 3]
    assert pareto_front(points, 1e-3) == [2, 3]
    assert pareto_front(points, 1e-4) == [1, 2, 3]
