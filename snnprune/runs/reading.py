"""A finished run, read from its folder: one record, for pages, comparisons and users."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from snnprune.common.errors import UserError
from snnprune.runs.epochs import read_epochs
from snnprune.runs.folder import RunFolder
from snnprune.runs.predictions import read_predictions
from snnprune.runs.summary import read_summary
from snnprune.runs.tensors import read_dynamics, read_example

if TYPE_CHECKING:
    from pathlib import Path

    from snnprune.config.schema import RunConfig
    from snnprune.runs.epochs import Epoch
    from snnprune.runs.predictions import Predictions
    from snnprune.runs.summary import Summary
    from snnprune.runs.tensors import Dynamics, Example


TOLERANCE = 0.05
"""The most that an accuracy may differ when it is measured again, such as on a GPU or with other noise."""


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        path: its folder.
        config: its configuration, resolved.
        summary: what it ended with.
        rows: its epochs, in order.
        predictions: predictions of the test samples; None if the run has no predictions.csv.
    """

    path: Path
    config: RunConfig
    summary: Summary
    rows: list[Epoch]
    predictions: Predictions | None

    @cached_property
    def dynamics(self) -> Dynamics | None:
        """What happened to neurons and synapses; None if the run has no dynamics.safetensors."""
        return read_dynamics(RunFolder(self.path).dynamics)

    @cached_property
    def example(self) -> Example | None:
        """One recording and its prediction; None if the run has no example.safetensors."""
        return read_example(RunFolder(self.path).example)

    @cached_property
    def twin(self) -> Run | None:
        """The run of the unpruned network beside it; None if there is none, or it is not finished."""
        twin = RunFolder(RunFolder(self.path).twin)
        return read_run(twin.path) if twin.summary.is_file() else None

    def read_all(self) -> Run:
        """Read all files now rather than on access, so that damage is found before a page begins.

        Raises:
            UserError: one of the files is damaged.
        """
        for run in filter(None, (self, self.twin)):
            _ = run.dynamics, run.example
        return self

    @property
    def fired(self) -> str:
        """On what the firing rates of `dynamics` were measured."""
        return "one test batch"

    @property
    def tested(self) -> Predictions:
        """Its predictions, for callers that need them.

        Raises:
            UserError: the run has no predictions.csv.
        """
        return self.predictions or read_predictions(RunFolder(self.path).predictions)

    def column(self, name: str) -> list[float]:
        """Return a column of metrics.csv."""
        return [row[name] for row in self.rows]

    @property
    def epochs(self) -> list[float]:
        """Numbers of the epochs, from 1."""
        return self.column("epoch")

    @property
    def name(self) -> str:
        """Name of its folder."""
        return self.path.name

    @property
    def method(self) -> str:
        """Name of the method."""
        return self.summary.method

    @property
    def target(self) -> float | None:
        """Share of all weights that was to be pruned; None without a target."""
        return self.summary.target

    @property
    def aim(self) -> tuple[str, float | None]:
        """What its target is a share of, and the share; of several targets that of weights."""
        further = self.summary.targets or {}
        if self.target is not None or not further:
            return "weights", self.target
        measure, aim = next(iter(further.items()))
        return measure, aim.asked

    @property
    def reached(self) -> float | None:
        """The share of `aim` that was pruned; None without a target, and where it was not measured."""
        measure, target = self.aim
        if target is None:
            return None
        return (
            self.summary.pruning_rate
            if measure == "weights"
            else (self.summary.targets or {})[measure].pruned
        )

    @property
    def seed(self) -> int:
        """Seed of weights, order of the data and noise."""
        return self.summary.seed

    @property
    def prunes(self) -> bool:
        """Whether anything was pruned."""
        return self.summary.prunes


def read_run(path: Path) -> Run:
    """Read the folder of a finished run; dynamics, example and twin are read on access.

    Raises:
        UserError: it is not a run, it is not finished, or one of its files is damaged or of another run. The
            message names the file.
    """
    folder = RunFolder(path)
    config = folder.read_config()
    rows = read_epochs(folder.metrics)
    if not folder.summary.exists():
        raise UserError(
            f"{path} is not finished, and has no summary.json ({len(rows)} of {config.train.epochs} epochs): "
            f"continue it with `snnprune train --resume {path}`"
        )
    summary = read_summary(folder.summary)
    predictions = read_predictions(folder.predictions) if folder.predictions.exists() else None
    _check_together(folder, config, summary, rows)
    if predictions is not None and abs(predictions.hits.mean() - summary.accuracy) > TOLERANCE:
        raise UserError(
            f"{folder.predictions} is of another run than {folder.summary}: its accuracy is "
            f"{predictions.hits.mean():.2%}, and that of the summary {summary.accuracy:.2%}; {_again(folder)}"
        )
    return Run(path, config, summary, rows, predictions)


def _again(folder: RunFolder) -> str:
    return f"restore them, or train again in a new folder with --config {folder.config}"


def _check_together(folder: RunFolder, config: RunConfig, summary: Summary, rows: list[Epoch]) -> None:
    """Refuse files that belong to different runs.

    Raises:
        UserError: they do. The message names two of them.
    """
    said = {
        "dataset": (summary.dataset, config.data.name),
        "model": (summary.model, config.model.name),
        "method": (summary.method, config.method.name),
        "seed": (summary.seed, config.train.seed),
    }
    again = _again(folder)
    for key, (ended, begun) in said.items():
        if ended != begun:
            raise UserError(
                f"{folder.summary} is of another run than {folder.config}: its {key} is {ended!r}, and there "
                f"it is {begun!r}; {again}"
            )
    if len(rows) != summary.epochs:
        raise UserError(
            f"{folder.metrics} has {len(rows)} rows, and by {folder.summary} the run had {summary.epochs} "
            f"epochs: {again}"
        )
    last = rows[summary.final_epoch - 1].test_accuracy
    if last != summary.accuracy:
        raise UserError(
            f"{folder.metrics} is of another run than {folder.summary}: after epoch {summary.final_epoch} it "
            f"says {last:.2%}, and there it is {summary.accuracy:.2%}; {again}"
        )
