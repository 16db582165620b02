"""The picture of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from snnprune.report import curves
from support import records

if TYPE_CHECKING:
    from snnprune.runs.epochs import Epoch


def rows(epochs: int) -> list[Epoch]:
    return [records.epoch(n, 0.4 + n / 10, n / 10) for n in range(1, epochs + 1)]


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_epochs_are_whole_numbers_on_the_axis(epochs: int) -> None:
    figure = curves.picture(rows(epochs), method="dpap", dense=rows(epochs))
    for axes in figure.axes:
        low, high = axes.get_xlim()
        ticks = [tick for tick in axes.get_xticks() if low <= tick <= high]
        assert ticks == list(range(1, epochs + 1))


def test_a_single_epoch_is_a_point_that_can_be_seen_on_an_axis_of_shares() -> None:
    accuracy, pruned = curves.picture(rows(1), method="dpap").axes
    assert accuracy.get_ylim() == pruned.get_ylim() == (-2, 102)
    assert [line.get_marker() for line in (*accuracy.lines, *pruned.lines)] == ["o"] * 3
    assert accuracy.lines[0].get_ydata() == pytest.approx([50.0])
