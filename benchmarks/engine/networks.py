"""The trained networks that engines are measured on: two of the DPAP paper, whole and pruned.

Each is a run of `snnprune.train` in a folder of its own, which is made once and continued where it stopped.
conv-snn sees all recordings of N-MNIST that are there. vgg-snn sees a few images of CIFAR-10 for a few
epochs, and its pruned versions begin with the weights of the whole one: it answers badly, but each hidden
layer fires.
"""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from snnprune import Splits, data
from snnprune.config.schema import DataConfig, MethodConfig, ModelConfig, RunConfig, TrainConfig
from snnprune.export.finding import find
from snnprune.network.firing import Firing, check
from snnprune.training.run import train

if TYPE_CHECKING:
    from pathlib import Path

    from snnprune.data import FrameSet
    from snnprune.export.subject import Subject

TARGETS = (0.6, 0.8, 0.9, 0.95)
"""Shares of all weights that are pruned."""

Method = Literal["dense", "dpap", "magnitude"]

STAND_IN = "digits-events"
"""Simulated recordings, which come with the package, where N-MNIST is not there."""


@dataclass(frozen=True)
class Task:
    """A network and what it is trained on.

    Attributes:
        name: of its folders.
        model: its name in `snnprune list`.
        data: settings of the data.
        train: settings of the training of the whole network.
        epochs: of the pruned ones.
        samples: of training, validation and test, where not all are used.
        from_dense: whether pruned networks begin with the weights of the whole one.
        suffix: of the name of their folder.
    """

    name: str
    model: str
    data: DataConfig
    train: TrainConfig
    epochs: int
    samples: tuple[int, int, int] | None = None
    from_dense: bool = False
    suffix: str = ""

    @property
    def folder(self) -> str:
        """Return the name of the folder of its networks."""
        return self.data.name + self.suffix

    def quick(self) -> Task:
        """Return the same with hardly any training, on small simulated recordings."""
        few = DataConfig(STAND_IN, time_steps=4)
        short = replace(self.train, epochs=4)
        return replace(
            self, model="conv-snn", data=few, train=short, epochs=4, samples=(100, 20, 40), suffix="-quick"
        )


HALF = 0.5
"""Share of a target by whole units."""


def _short(epochs: int, batch: int) -> TrainConfig:
    return TrainConfig(epochs=epochs, batch_size=batch, lr=1e-3, twin=False, device="cpu", threads=1)


TASKS = {
    "nmnist": Task("nmnist", "conv-snn", DataConfig("nmnist", time_steps=10), _short(20, 50), 20),
    "cifar10": Task(
        "cifar10", "vgg-snn", DataConfig("cifar10", time_steps=8, encoding="direct"), _short(4, 8), 4,
        samples=(80, 10, 64), from_dense=True,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Trained:
    """A trained network.

    Attributes:
        task: what it was trained on.
        method: that pruned it.
        target: share of its weights that was to be pruned.
        folder: of the run.
        subject: the compact network, with the test set.
        rates: share of active outputs of each layer of neurons, on test samples.
    """

    task: Task
    method: Method
    target: float
    folder: Path
    subject: Subject
    rates: list[Firing]

    @property
    def name(self) -> str:
        """Return what it is called in tables."""
        return "dense" if self.method == "dense" else f"{self.method}, {self.target:.0%}"


def trained(task: Task, runs: Path, method: Method, target: float = 0.0) -> Trained:
    """Train a network, unless it is there, and return it.

    Raises:
        RuntimeError: a hidden layer is silent, so that what the network costs says nothing. After little
            training that much pruning may silence the output; the table of rates shows it.
    """
    ours = replace(task, data=_located(task.data))
    splits = _splits(ours)
    folder = runs / ours.folder / (method if method == "dense" else f"{method}-{100 * target:.0f}")
    with contextlib.redirect_stdout(sys.stderr):  # where tables are printed, a run's own is in the way
        train(_config(ours, runs, method, target), folder, splits=splits, page=False)
    subject = find(folder, {}, compact=True, splits=splits)
    rates = check(subject.model, subject.example(8))  # type: ignore[arg-type]
    silent = [str(each) for each in rates[:-1] if each.state == "silent"]
    if silent and not task.suffix:
        raise RuntimeError(f"{folder}: {'; '.join(silent)}")
    return Trained(ours, method, target, folder, subject, rates)


def _config(task: Task, runs: Path, method: Method, target: float) -> RunConfig:
    if method == "dense":
        chosen, how = MethodConfig("dense", target=None), task.train
    else:
        options = {"scope": "global"} if method == "magnitude" else {}
        chosen = MethodConfig(method, target=target, structured=HALF, options=options)
        first = str(runs / task.folder / "dense") if task.from_dense else None
        how = replace(task.train, epochs=task.epochs, init=first)
    return RunConfig(data=task.data, model=ModelConfig(task.model), method=chosen, train=how)


def _located(settings: DataConfig) -> DataConfig:
    if settings.name == "nmnist" and data.where("nmnist") is None:
        return replace(settings, name=STAND_IN)
    return settings


def _splits(task: Task) -> Splits:
    splits = data.load(task.data)
    if task.samples is None:
        return splits
    parts = (splits.train, splits.validation, splits.test)
    few = [_few(part, count, len(splits.classes)) for part, count in zip(parts, task.samples, strict=True)]
    return replace(splits, train=few[0], validation=few[1], test=few[2])


def _few(part: FrameSet, count: int, classes: int) -> FrameSet:
    """Return the first samples, equally many of each class, one class after the other."""
    each = max(count // classes, 1)
    chosen = np.stack([np.flatnonzero(part.labels == label)[:each] for label in range(classes)])
    return part.pick(chosen.T.ravel())
