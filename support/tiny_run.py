"""A run that takes a second: stripes for recordings. It may kill itself in mid-epoch."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from snnprune import data
from snnprune.common.errors import UserError
from snnprune.config.schema import DataConfig, MethodConfig, ModelConfig, RunConfig, TrainConfig

if TYPE_CHECKING:
    from pathlib import Path

DATA = "support.tiny_run:STRIPES"
"""The name of the data in a configuration: an import path, which child processes find as well."""

CLASSES, STEPS, SIZE = 3, 4, 8
METHODS = {"dpap": {"target": 0.5}, "dense": {}}


def stripes(count: int, seed: int) -> data.FrameSet:
    """Recordings uint8 [count, T, 2, 8, 8]: the class says which rows are busy."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int64) % CLASSES
    rate = np.full((count, STEPS, 2, SIZE, SIZE), 0.15)
    for i, label in enumerate(labels):
        rate[i, :, :, 2 * label + 1 : 2 * label + 3] = 1.5
    return data.FrameSet(rng.poisson(rate).astype(np.uint8), labels)


def splits(_: DataConfig | None = None) -> data.Splits:
    """Three sets of stripes; the training set leaves a short last batch."""
    return data.Splits(
        train=stripes(51, 0),
        validation=stripes(18, 1),
        test=stripes(21, 2),
        classes=("top", "middle", "bottom"),
        shape=(2, SIZE, SIZE),
        events=True,
    )


@dataclass
class Source:
    """A data set with a name, `DATA` or its like, so that a test patches nothing to have it read.

    Attributes:
        changed: fields of its splits that are not those of `splits`.
        fault: the sentence with which reading it fails.
        asked: with which settings it was read.
    """

    changed: dict[str, Any] = field(default_factory=dict)
    fault: str | None = None
    asked: list[DataConfig] = field(default_factory=list)
    events: ClassVar[bool] = True

    def found(self, root: Path | None) -> Path | None:
        return root

    def load(self, config: DataConfig) -> data.Splits:
        self.asked.append(config)
        if self.fault is not None:
            raise UserError(self.fault)
        return replace(splits(), **self.changed)


STRIPES = Source()


def config(method: str = "dpap", model: str = "conv-snn", **train: Any) -> RunConfig:
    """A run of 5 epochs on one thread; keywords are training settings."""
    settings: dict[str, Any] = {
        "epochs": 5,
        "batch_size": 12,
        "optimizer": "adamw",
        "weight_decay": 0.01,
        "lr": 2e-3,
        "schedule": "cosine",
        "warmup_epochs": 1,
        "device": "cpu",
        "threads": 1,
        "twin": False,
    }
    return RunConfig(
        data=DataConfig(name=DATA, time_steps=STEPS),
        model=ModelConfig(name=model, hidden=24),
        method=MethodConfig(name=method, **METHODS.get(method, {})),
        train=TrainConfig(**(settings | train)),
    )


def finished(out: Path, epochs: int) -> Path:
    """Train a run in ``out`` to its end, without its pictures, and return it."""
    from snnprune.training import run

    run.train(config(epochs=epochs), out, page=False)
    return out


def kill_in(epoch: int, batch: int) -> None:
    """Let this process be killed, with no chance to tidy up, in the middle of an epoch."""
    from snnprune.training.task import Task

    step = Task.training_step

    def deadly(self: Task, given: Any, batch_idx: int) -> Any:
        if (self.current_epoch, batch_idx) == (epoch, batch):
            os.kill(os.getpid(), signal.SIGKILL)
        return step(self, given, batch_idx)

    Task.training_step = deadly  # type: ignore[method-assign]
