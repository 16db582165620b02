"""Speed-up and learning speed on curves of a few epochs."""

from __future__ import annotations

import math

import pytest

from snnprune.bench.convergence import Race, convergence, first_epoch, learning_speed


def test_the_first_epoch_counts_from_one_and_a_plateau_counts_once() -> None:
    assert [first_epoch([0.5, 0.7, 0.7, 0.6, 0.9], a) for a in (0.4, 0.7, 0.8, 0.95)] == [1, 2, 5, None]


def test_the_best_accuracy_of_the_unpruned_run_is_the_goal() -> None:
    race = convergence([0.5, 0.8, 0.9, 0.9], [0.6, 0.9, 0.7])
    assert race == Race(0.9, 3, 2)
    assert race.ratio == 1.5
    assert str(race) == "1.50"


def test_not_reached_is_a_result() -> None:
    race = convergence([0.5, 0.9], [0.5, 0.8])
    assert race == Race(0.9, 2, None)
    assert race.ratio is None
    assert str(race) == "not reached"


def test_a_share_of_the_goal_is_compared_with_a_tolerance() -> None:
    assert 0.99 * 0.81 > 0.8019
    assert convergence([0.7, 0.81], [0.8019, 0.5], share=0.99) == Race(0.99 * 0.81, 2, 1)


def test_without_an_accuracy_there_is_no_goal() -> None:
    assert convergence([], [0.5]) is None
    assert convergence([math.nan], [0.5]) is None


def test_learning_speed_is_taken_where_the_runs_are_furthest_apart() -> None:
    # Epochs to 0.5: 2 and 1; to 0.8: 6 and 2; to 0.9: 7 and 7.
    reference = [0.1, 0.5, 0.6, 0.7, 0.7, 0.8, 0.9]
    method = [0.5, 0.8, 0.8, 0.8, 0.8, 0.8, 0.9]
    assert learning_speed(reference, method) == Race(0.8, 6, 2)
    slower = learning_speed(method, reference)
    assert slower is not None
    assert slower.ratio == pytest.approx(1 / 3)


def test_of_several_levels_the_highest_counts() -> None:
    # Both 0.4 and 0.6 are reached one epoch earlier.
    assert learning_speed([0.1, 0.4, 0.6], [0.4, 0.6, 0.6]) == Race(0.6, 3, 2)


def test_a_drop_is_no_loss_on_the_running_maximum() -> None:
    # The drop to 0.2 is no level of its own; equal runs race to their best.
    assert learning_speed([0.5, 0.2, 0.7], [0.5, 0.2, 0.7]) == Race(0.7, 3, 3)


def test_levels_that_one_run_never_passes_do_not_count() -> None:
    assert learning_speed([0.3, 0.5], [0.4, 0.9, 0.95]) == Race(0.4, 2, 1)
    assert learning_speed([0.3, 0.3, 0.5], [0.4, 0.9, 0.95]) == Race(0.4, 3, 1)
    assert learning_speed([0.6], [0.2, 0.3]) == Race(0.3, 1, 2)


@pytest.mark.parametrize(("reference", "method"), [([], [0.5]), ([0.5], []), ([0.5, math.nan], [0.5])])
def test_empty_curves_and_curves_that_are_no_numbers_have_no_speed(
    reference: list[float], method: list[float]
) -> None:
    assert learning_speed(reference, method) is None
