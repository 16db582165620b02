"""What the runs of a bench left: read, and refused where they do not belong together."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from snnprune.bench.folder import settled
from snnprune.bench.grid import group_name
from snnprune.common import document
from snnprune.common.errors import UserError, in_one_line
from snnprune.runs.folder import RunFolder, first_difference

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

COLUMNS = ("epoch", "val_accuracy", "test_accuracy", "pruned_synapses", "seconds")
"""Of metrics.csv: what a comparison reads."""

KEYS = (
    "dataset", "model", "target", "epochs", "accuracy", "accuracy_at_best", "pruning_rate", "weights_dense",
    "weights_left", "macs_dense", "macs_left", "layers", "seconds", "synops", "machine",
)  # fmt: skip
"""Of summary.json."""


@dataclass(frozen=True)
class Result:
    """A finished run.

    Attributes:
        name: of its folder.
        method: its name.
        target: share of the weights that was asked for, None where none was.
        seed: of the run.
        summary: its summary.
        rows: its metrics, one row an epoch.
        labels: of the test samples, int64 [N].
        answers: of the network to them, int64 [N].
    """

    name: str
    method: str
    target: float | None
    seed: int
    summary: dict[str, Any]
    rows: list[dict[str, float]]
    labels: NDArray[np.int64]
    answers: NDArray[np.int64]

    @property
    def group(self) -> str:
        """What runs that differ in the seed alone have in common."""
        return group_name(self.method, self.target)

    @property
    def hits(self) -> NDArray[np.bool_]:
        """Which test samples it got right, bool [N]."""
        return self.labels == self.answers

    def curve(self) -> list[float]:
        """Return the accuracy on the test set after each epoch."""
        return [row["test_accuracy"] for row in self.rows]


@dataclass(frozen=True)
class Found:
    """What is in a folder of runs.

    Attributes:
        results: finished runs, one of each method, target and seed, ordered by these; unpruned ones first.
        unfinished: names of the others.
    """

    results: list[Result]
    unfinished: list[str]


def read(folder: Path) -> Found:
    """Read all runs in ``folder``.

    Raises:
        UserError: ``folder`` is a run itself, there is no finished run in it, one is damaged or of an older
            version, or two do not belong together.
    """
    if RunFolder(folder).config.exists():
        raise UserError(
            f"{folder} is one run, and a comparison takes a folder of runs: `snnprune report {folder}` makes "
            "its page"
        )
    runs = [RunFolder(path.parent) for path in sorted(folder.glob("*/config.yaml"))]
    done = [run for run in runs if run.summary.exists()]
    if not done:
        raise UserError(
            f"{folder} holds no finished run to compare: expected folders that `snnprune bench` or "
            "`snnprune train` made"
        )
    _check_common(done)
    results = [_result(run) for run in done]
    _check_distinct(results)
    order = sorted(results, key=lambda r: (r.method != "dense", r.method, r.target or 0.0, r.seed))
    return Found(order, [run.path.name for run in runs if not run.summary.exists()])


def _check_common(runs: list[RunFolder]) -> None:
    """Refuse runs that differ in more than method, target and seed."""
    first = settled(runs[0].read_config())
    for run in runs[1:]:
        difference = first_difference(first, settled(run.read_config()))
        if difference is not None:
            key, here, there = difference
            raise UserError(
                f"these runs cannot be compared: {key} is {here} in {runs[0].path.name} and {there} in "
                f"{run.path.name}; keep runs of one configuration in one folder"
            )


def _check_distinct(results: list[Result]) -> None:
    first = results[0]
    seen: dict[tuple[str, int], str] = {}
    for result in results:
        if not np.array_equal(result.labels, first.labels):
            raise UserError(
                f"these runs cannot be compared: {first.name} and {result.name} were tested on different "
                "samples"
            )
        twin = seen.setdefault((result.group, result.seed), result.name)
        if twin != result.name:
            raise UserError(
                f"{twin} and {result.name} are the same method, target and seed: keep one of them"
            )


def _result(run: RunFolder) -> Result:
    config, summary = run.read_config(), _summary(run.summary)
    rows = _numbers(run.metrics, COLUMNS)
    if not rows or len(rows) != summary["epochs"]:
        count = summary["epochs"]
        raise UserError(f"{run.metrics} has {len(rows)} rows, and the run had {count} epochs: {_AGAIN}")
    answers = _numbers(run.predictions, ("label", "answer"))
    if not answers:
        raise UserError(f"{run.predictions} holds no answer: {_AGAIN}")
    return Result(
        run.path.name,
        config.method.name,
        summary["target"],
        config.train.seed,
        summary,
        rows,
        np.array([row["label"] for row in answers], dtype=np.int64),
        np.array([row["answer"] for row in answers], dtype=np.int64),
    )


_AGAIN = "the run was half written, or by another version; delete its folder and run the bench again"


def _summary(path: Path) -> dict[str, Any]:
    try:
        summary = document.parse_json(document.read_text(path))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path} ({in_one_line(error)}): {_AGAIN}") from error
    missing = [key for key in KEYS if not isinstance(summary, dict) or key not in summary]
    if missing:
        raise UserError(f"{path} does not say '{missing[0]}': {_AGAIN}")
    return dict(summary)


def _numbers(path: Path, columns: tuple[str, ...]) -> list[dict[str, float]]:
    """Return the rows of a table of numbers that has at least ``columns``."""
    try:
        table = csv.DictReader(document.read_text(path).splitlines())
        missing = [name for name in columns if name not in (table.fieldnames or ())]
        if missing:
            raise UserError(f"{path} has no column '{missing[0]}': {_AGAIN}")
        rows = [{name: float(row[name]) for name in columns} for row in table]
    except FileNotFoundError as error:
        raise UserError(f"{path.parent} has a summary and no {path.name}: {_AGAIN}") from error
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise UserError(f"cannot read {path} ({in_one_line(error)}): {_AGAIN}") from error
    if not all(math.isfinite(value) for row in rows for value in row.values()):
        raise UserError(f"{path} holds what is no number: {_AGAIN}")
    return rows
