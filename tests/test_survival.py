"""The survival function, its normalisations, and the way to a target."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from snnprune.methods.dpap import SurvivalFunction, min_max, percentile, rank
from snnprune.methods.dpap.survival import Constants
from snnprune.pruning import Candidates, Clock
from snnprune.pruning.normalisation import quantile
from snnprune.pruning.rule import lowest


def candidates(
    score: list[float],
    *,
    to_go: int | None = None,
    weight: list[float] | None = None,
    alive: list[bool] | None = None,
) -> Candidates:
    scores = torch.tensor(score, dtype=torch.float64)
    return Candidates(
        "unit", "neuron", "linear", scores,
        torch.ones(len(score), dtype=torch.bool) if alive is None else torch.tensor(alive),
        torch.arange(len(score)) * 1.0 if weight is None else torch.tensor(weight),
        to_go,
    )  # fmt: skip


def test_percentile_on_paper() -> None:
    score = torch.tensor([-1.0, 0.0, 1.0, 2.0, 3.0, 5.0, 9.0])
    alive = torch.tensor([True] * 6 + [False])
    # of 1, 2, 3, 5: m = 1, P75 = 3 + 0.25 (5 - 3) = 3.5
    u = percentile(score, alive)
    assert u is not None
    assert u.tolist() == pytest.approx([0, 0, 0, 0.4, 0.8, 1, 0])


def test_min_max_and_rank_on_paper() -> None:
    score, alive = torch.tensor([1.0, 2.0, 2.0, 5.0, 7.0]), torch.tensor([True] * 4 + [False])
    first, second = min_max(score, alive), rank(score, alive)
    assert first is not None
    assert second is not None
    assert first.tolist() == pytest.approx([0, 0.25, 0.25, 1, 0])
    assert second.tolist() == pytest.approx([0, 0.5, 0.5, 1, 0])


@pytest.mark.parametrize("normalise", [percentile, min_max, rank])
def test_scores_that_tie_say_nothing(normalise: object) -> None:
    everybody = torch.ones(4, dtype=torch.bool)
    assert normalise(torch.ones(4), everybody) is None  # type: ignore[operator]
    assert normalise(torch.zeros(4), everybody) is None  # type: ignore[operator]
    assert normalise(torch.rand(4), ~everybody) is None  # type: ignore[operator]


def test_quantile_equals_torch_and_takes_more_than_it() -> None:
    values = torch.rand(101, dtype=torch.float64)
    for q in (0.0, 0.3, 0.75, 0.999, 1.0):
        assert quantile(values, q) == torch.quantile(values, q)
    many = torch.arange(17_000_000, dtype=torch.float32)  # torch.quantile refuses it
    assert quantile(many, 0.25).item() == pytest.approx(4_250_000, abs=2)


def test_one_decision_on_paper() -> None:
    rule = SurvivalFunction(
        1.0, 5.0, 2.0, Constants(start=1, eta=2.0, beta=0.5, gamma=0.9, epochs=None), "min-max"
    )
    clock = Clock(10)
    scores = candidates([0.0, 1.0, 4.0])  # u = 0, 1/4, 1: delta = -1, -1/2, 1; dF = -1, -1/2, 1 + 2
    assert rule.decide(scores, clock).all()  # before start
    clock.epoch = 1
    assert rule.decide(scores, clock).tolist() == [False, False, True]
    assert rule.state["unit"]["survival"].tolist() == pytest.approx([0.45 - 1, 0.45 - 0.5, 0.45 + 3])
    clock.epoch = 3  # strength exp(-1)
    rule.decide(scores, clock)
    assert rule.state["unit"]["survival"][2] == pytest.approx(0.9 * 3.45 + 3 * math.exp(-1))


def test_strength_of_all_decisions() -> None:
    # the constants that the readings name: continuous eta 12 and 20 over 300 epochs
    assert Constants(5, 12.0).schedule(300).total(5, 295) == pytest.approx(12.7, abs=0.05)
    assert Constants(5, 20.0).schedule(300).total(5, 295) == pytest.approx(20.9, abs=0.05)


@pytest.mark.parametrize("epochs", [10, 40, 100, 300, 1000])
def test_scaled_constants_keep_beta_over_strength(epochs: int) -> None:
    schedule = Constants().schedule(epochs)
    assert schedule.start >= 1
    ratio = schedule.beta / schedule.total(schedule.start, epochs - schedule.start)
    assert ratio == pytest.approx(0.48, abs=0.005)


def test_a_constant_score_dies_iff_it_is_below_the_threshold() -> None:
    constants = Constants()
    schedule = constants.schedule(300)
    edge = schedule.beta / schedule.total(5, 295)
    for epsilon, dies in ((edge - 0.001, False), (edge + 0.001, True)):
        rule = SurvivalFunction(epsilon, constants=constants, normalisation="min-max")
        clock, scores = Clock(300), candidates([0.0, 1.0])
        alive = scores.alive
        for clock.epoch in range(300):
            alive = alive & rule.decide(scores, clock)
        assert alive.tolist() == [not dies, True]


@pytest.mark.parametrize("epochs", [4, 12, 40, 300])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("noise", [0.0, 0.5])
@pytest.mark.parametrize("tied", [0.0, 0.6])
def test_a_target_is_reached_by_half_of_the_run(epochs: int, share: float, noise: float, tied: float) -> None:
    generator = torch.Generator().manual_seed(0)
    fixed = torch.rand(400, generator=generator, dtype=torch.float64)
    fixed[: round(400 * tied)] = -1.0  # depressed: u = 0, tied
    goal = round(400 * (1 - share))
    rule, alive = SurvivalFunction(), torch.ones(400, dtype=torch.bool)
    counts = []
    for epoch in range(epochs - 1):
        score = fixed + noise * torch.rand(400, generator=generator, dtype=torch.float64)
        unit = Candidates("unit", "neuron", "conv", score, alive, fixed.abs(), int(alive.sum()) - goal)
        after = rule.decide(unit, Clock(epochs, epoch))
        assert not (after & ~alive).any()
        alive = after
        counts.append(int(alive.sum()))
    assert counts[-1] == goal
    assert counts[min(max(epochs // 2, 1), epochs - 2)] <= goal + 0.02 * 400
    if not noise:
        assert fixed[alive].mean() > fixed[~alive].mean()


def test_nobody_dies_at_the_end_of_the_last_epoch_and_no_more_than_asked() -> None:
    rule = SurvivalFunction()
    scores = candidates([0.0, 1.0, 2.0, 3.0], to_go=2)
    assert rule.decide(scores, Clock(10, 9)).all()
    assert int((~rule.decide(scores, Clock(3, 1))).sum()) == 2
    assert rule.decide(candidates([0.0, 1.0, 2.0, 3.0], to_go=0), Clock(3, 1)).all()


def test_ties_die_by_weight() -> None:
    first = torch.tensor([0.0, 0.0, 0.0, -1.0, 0.0])
    tie = torch.tensor([3.0, 1.0, 2.0, 9.0, 0.0])
    among = torch.tensor([True, True, True, True, False])
    assert lowest(first, tie, among, 3).tolist() == [False, True, True, True, False]
    assert not lowest(first, tie, among, 0).any()
    assert lowest(first, tie, among, 99).tolist() == among.tolist()


def test_an_unknown_normalisation_is_refused() -> None:
    with pytest.raises(ValueError, match="percentile"):
        SurvivalFunction(normalisation="median")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_scores_that_differ_by_rounding_tie(dtype: torch.dtype) -> None:
    among, weight = torch.ones(4, dtype=torch.bool), torch.tensor([3.0, 1.0, 2.0, 9.0])
    tenth = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=dtype)
    noisy = torch.stack(
        [tenth[0] + tenth[1] - tenth[2], tenth[0] * 0, -(tenth[3] - tenth[0] - tenth[2]), tenth[3]]
    )
    assert lowest(noisy, weight, among, 2).tolist() == [False, True, True, False]  # by weight, not by digits
    apart = torch.tensor([0.2, 0.1 + 2e-5, 0.1, 0.3], dtype=dtype)
    assert lowest(apart, weight, among, 1).tolist() == [False, False, True, False]
    assert lowest(torch.zeros(4, dtype=dtype), weight, among, 1).tolist() == [False, True, False, False]
    endless = torch.tensor([float("inf"), 1.0, 0.5, float("inf")], dtype=dtype)
    assert lowest(endless, weight, among, 2).tolist() == [False, True, True, False]


# --- the authors' constants, where there is no target


def test_the_authors_staircases_decay_as_their_code_does() -> None:
    # exp(-int((e - 5) / eta)): 12 epochs at 1, then at 1/e; 13 in fully connected layers.
    for kind, eta in (("conv", 12), ("linear", 13)):
        schedule = Constants().schedule(300, kind)  # type: ignore[arg-type]
        strengths = [schedule.strength(epoch) for epoch in range(5, 5 + 2 * eta)]
        assert strengths == pytest.approx([1.0] * eta + [math.exp(-1)] * eta)
    # [reading] of the continuous decay that a target is steered by: as much in all.
    stairs, smooth = Constants().schedule(300, "linear"), Constants().schedule(300)
    assert stairs.total(5, 295) == pytest.approx(smooth.total(5, 295), rel=0.02)


@pytest.mark.parametrize(("kind", "edge"), [("conv", 0.065), ("linear", 0.51)])
def test_without_a_target_convolutions_and_other_layers_have_thresholds_of_their_own(
    kind: Any, edge: float
) -> None:
    # A unit of a constant u dies where 2 u - epsilon < -10 / S: 0.65 and S = 19.2, 1.5 and S = 20.8.
    rule, clock = SurvivalFunction(normalisation="none"), Clock(300)
    score = torch.tensor([edge - 0.01, edge + 0.01, 1.0])
    alive = torch.ones(3, dtype=torch.bool)
    for clock.epoch in range(300):
        found = Candidates("neurons/x", "neuron", kind, score, alive, score)
        alive = alive & rule.decide(found, clock)
    assert alive.tolist() == [False, True, True]


def test_a_constant_that_is_given_holds_in_every_layer() -> None:
    rule = SurvivalFunction(0.3, constants=Constants(eta=15.0))
    for kind in ("conv", "linear"):
        score: Any = torch.rand(3)
        found = Candidates("neurons/x", "neuron", kind, score, score >= 0, score)  # type: ignore[arg-type]
        schedule = rule.schedule(found, Clock(300))
        assert (schedule.eta, schedule.stairs) == (15.0, False)
        rule.decide(found, Clock(300, 5))
    assert rule.epsilon == 0.3
