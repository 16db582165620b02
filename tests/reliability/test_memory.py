"""Memory over thousands of training steps: what a leak would make rise."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from snnprune import data
from snnprune.training import run
from support import tiny_run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conftest import Count, Printed

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "memory.png"
EVERY = 10
PER_EPOCH = 100
LONG, RISE = 2000, 10.0
"""With so many steps, no more megabytes for each thousand; over fewer of them caches still fill."""

WARM = 0.25
"""Share of the steps at the beginning in which allocators, caches and moments still grow."""


@dataclass
class Diary:
    """Resident memory of this process.

    Attributes:
        steps: training steps done.
        megabytes: at each of them.
    """

    steps: list[int] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)

    def note(self, step: int) -> None:
        """Take down how much there is now."""
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.steps.append(step)
        self.megabytes.append(pages * 4096 / 1e6)

    def settled(self) -> tuple[np.ndarray, np.ndarray]:
        """Return steps and megabytes after the warm-up."""
        kept = np.array(self.steps) > WARM * self.steps[-1]
        return np.array(self.steps)[kept], np.array(self.megabytes)[kept]

    def slope(self) -> float:
        """Return by how many megabytes a thousand steps raise the memory, after the warm-up."""
        return float(1000 * np.polyfit(*self.settled(), 1)[0])

    def spread(self) -> float:
        """Return the distance of the highest and the lowest value after the warm-up, in megabytes."""
        return float(np.ptp(self.settled()[1]))


class Watched(data.FrameSet):
    """Stripes that take down the memory whenever a batch of them is asked for."""

    def __init__(self, diary: Diary) -> None:
        kinds = np.arange(12 * PER_EPOCH, dtype=np.int64)
        frames, labels = tiny_run.stripes(len(kinds), 0).__getitems__(kinds)
        super().__init__(frames.numpy(), labels.numpy())
        self.diary, self.batches = diary, 0

    def __getitems__(self, chosen: Sequence[int]) -> Any:
        if self.batches % EVERY == 0:
            self.diary.note(self.batches)
        self.batches += 1
        return super().__getitems__(chosen)


def watch(out: Path, steps: int) -> Diary:
    """Train conv-snn on stripes for ``steps`` steps, with DPAP and cuts, and return the memory on the way."""
    diary = Diary()
    splits = replace(tiny_run.splits(), train=Watched(diary))
    run.train(tiny_run.config(epochs=-(-steps // PER_EPOCH)), out, splits=splits, page=False)
    return diary


def draw(diary: Diary, path: Path) -> None:
    """Write a picture of a diary."""
    figure = Figure(figsize=(7.0, 2.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.plot(diary.steps, diary.megabytes, color="#0072B2")
    axes.set(xlabel="training step", ylabel="resident memory (MB)", ylim=(0, 1.15 * max(diary.megabytes)))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(sys.platform != "linux", reason="the mark of the highest size is Linux's")
def test_memory_does_not_rise(
    tmp_path: Path, count: Count, printed: Printed, request: pytest.FixtureRequest
) -> None:
    steps = count(60)
    diary = watch(tmp_path / "run", steps)
    draw(diary, PICTURE if request.config.getoption("draw", default=False) else tmp_path / "memory.png")
    row = (f"{diary.megabytes[-1]:.0f} MB", f"{diary.slope():+.2f} MB", f"{diary.spread():.1f} MB")
    head = "steps | resident at the end | slope, 1,000 steps | highest minus lowest"
    printed(head, [(diary.steps[-1], *row)])
    assert diary.slope() < RISE or steps < LONG
