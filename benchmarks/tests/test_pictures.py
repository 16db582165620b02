"""The pictures of docs/dpap.md: what they show follows from the equations, and all of them are there."""

from __future__ import annotations

import re

import pytest
import torch

from benchmarks.documents import pictures
from benchmarks.harness import ROOT


def test_traces_decay_by_half_and_grow_by_one():
    seen = pictures.traces(torch.tensor([[1.0], [0.0], [1.0], [1.0]]))
    assert seen[:, 0].tolist() == [1.0, 0.5, 1.25, 1.625]


def test_the_threshold_is_the_mean_of_all_that_was_seen():
    means, thetas = pictures.threshold()
    seen = means.cumsum(0) / torch.arange(1, len(means) + 1)
    assert torch.allclose(thetas, seen, atol=1e-5)


def test_the_lowest_die_and_those_above_the_line_grow():
    followed = pictures.fates(pictures.SCORES)
    died = (followed < 0).any(0).tolist()
    # beta / S = 0.48 at 300 epochs: with epsilon = 0.65 a unit dies where 2 u < 0.17
    assert died == [2 * u < 0.17 for u in pictures.SCORES] == [True, True, False, False, False]
    assert followed[-1, -1] > 10 > followed[-1, 2]


@pytest.mark.parametrize("target", pictures.TARGETS)
def test_targets_are_reached_at_half_of_the_run_and_never_passed(target):
    dead = pictures.steered(target)
    assert (dead.diff() >= 0).all()
    assert dead[30] == pytest.approx(target, abs=1e-3)
    assert dead[-1] == dead[30]
    assert dead[15] > target / 2  # steeply at first


def test_the_command_draws_every_picture_of_the_document(tmp_path):
    assert pictures.main(["--out", str(tmp_path)]) == 0
    drawn = {path.name for path in tmp_path.iterdir()}
    assert drawn == {f"{name}.svg" for name in pictures.OF_EQUATIONS}
    shown = set(re.findall(r"images/dpap/([\w-]+\.svg)", (ROOT / "docs" / "dpap.md").read_text()))
    assert shown >= drawn
    assert shown == {path.name for path in (ROOT / "docs" / "images" / "dpap").iterdir()}
