"""Memory over thousands of training steps: what a leak would make rise."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from snnprune.training import run
from snnprune.training.task import Task

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from support import tiny_run

EVERY = 10
PER_EPOCH = 100
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


def watch(out: Path, steps: int) -> Diary:
    """Train conv-snn on stripes for ``steps`` steps, with DPAP and cuts, and return the memory on the way."""
    splits = replace(tiny_run.splits(), train=tiny_run.stripes(12 * PER_EPOCH, 0))
    diary, trained, done = Diary(), Task.training_step, iter(range(10**9))

    def step(self: Task, batch: Any, batch_idx: int) -> Any:
        number = next(done)
        if number % EVERY == 0:
            diary.note(number)
        return trained(self, batch, batch_idx)

    Task.training_step = step  # type: ignore[method-assign]
    try:
        run.train(tiny_run.config(epochs=-(-steps // PER_EPOCH)), out, splits=splits, page=False)
    finally:
        Task.training_step = trained  # type: ignore[method-assign]
    return diary


def draw(diary: Diary, path: Path) -> None:
    """Write a picture of a diary."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 2.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.plot(diary.steps, diary.megabytes, color="#0072B2")
    axes.set(xlabel="training step", ylabel="resident memory (MB)", ylim=(0, 1.15 * max(diary.megabytes)))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
