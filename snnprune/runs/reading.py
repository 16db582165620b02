"""What the folder of a finished run says, read and looked at before anything is drawn of it."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from snnprune.common import document
from snnprune.common.errors import UserError, in_one_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    Tensors = dict[str, NDArray[Any]]

COLUMNS = (
    "epoch",
    "train_loss",
    "train_accuracy",
    "val_accuracy",
    "test_accuracy",
    "pruned_synapses",
    "pruned_neurons",
    "weights",
)
"""Columns of metrics.csv that a page cannot do without."""

NUMBERS = {"seed", "epochs", "accuracy", "pruning_rate", "pruned_neurons", "weights_dense", "weights_left"}
WORDS = {"dataset", "model", "method"}
TABLES = {"layers", "neurons_left", "versions"}
"""Keys of summary.json that a page cannot do without."""


@dataclass(frozen=True)
class Dynamics:
    """What happened to a sample of neurons and synapses, epoch by epoch.

    Attributes:
        about: names and shapes, as training wrote them.
        tensors: by name; `snnprune.training.callbacks.dynamics` says what they are.
    """

    about: dict[str, Any]
    tensors: Tensors

    @property
    def epochs(self) -> NDArray[Any]:
        """Numbers of the epochs, from 1."""
        return self.tensors["epochs"]

    def under(self, prefix: str) -> Tensors:
        """Return the tensors whose names begin with ``prefix``, by the rest of the name."""
        return {k.removeprefix(prefix): t for k, t in self.tensors.items() if k.startswith(prefix)}


@dataclass(frozen=True)
class Example:
    """One recording, and what the network did with it.

    Attributes:
        about: classes, label, answer and names, as training wrote them.
        tensors: by name; `snnprune.training.example` says what they are.
    """

    about: dict[str, Any]
    tensors: Tensors


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        path: its folder.
        config: its configuration, section by section, as it was resolved.
        config_text: the same as it stands in the file.
        summary: what it ended with.
        rows: its epochs, in order.
        answers: (labels, answers) of the test samples, or None where the run has no predictions.csv.
        dynamics: or None where it has no dynamics.safetensors.
        example: or None where it has no example.safetensors.
        twin: the unpruned network that was trained beside it, or None.
    """

    path: Path
    config: dict[str, Any]
    config_text: str
    summary: dict[str, Any]
    rows: list[dict[str, float]]
    answers: tuple[NDArray[np.int64], NDArray[np.int64]] | None
    dynamics: Dynamics | None
    example: Example | None
    twin: Run | None

    def column(self, name: str) -> list[float]:
        """Return a column of metrics.csv."""
        return [row[name] for row in self.rows]

    @property
    def epochs(self) -> list[float]:
        """Numbers of the epochs, from 1."""
        return self.column("epoch")

    @property
    def method(self) -> str:
        """Name of the method."""
        return str(self.summary["method"])

    @property
    def prunes(self) -> bool:
        """Whether anything was pruned."""
        return bool(self.summary["weights_left"] < self.summary["weights_dense"])


def read_run(path: Path) -> Run:
    """Read the folder of a finished run.

    Raises:
        UserError: it is no run, it is not finished, or one of its files is damaged; the sentence names it.
    """
    config = path / "config.yaml"
    if not config.is_file():
        raise UserError(
            f"{path} is not a run of snnprune: expected a folder with a config.yaml, as `snnprune train` "
            "makes it"
        )
    text = read_text(config, document.LARGEST_YAML)
    parsed = parsed_yaml(config, text)
    if not isinstance(parsed, dict):
        raise UserError(f"{config} is damaged: it has no sections; {_AGAIN}")
    rows = read_rows(path)
    summary = _summary(path, rows, parsed)
    twin = path / "dense"
    return Run(
        path,
        parsed,
        text,
        summary,
        rows,
        _answers(path / "predictions.csv"),
        _dynamics(path / "dynamics.safetensors"),
        _example(path / "example.safetensors"),
        read_run(twin) if (twin / "summary.json").is_file() else None,
    )


_AGAIN = "restore it, or train again"


def read_rows(path: Path) -> list[dict[str, float]]:
    """Return the epochs of the run in folder ``path``.

    Raises:
        UserError: there is none yet, a column is missing, or what stands there are not finite numbers.
    """
    file = path / "metrics.csv"
    if not file.is_file():
        raise UserError(f"{path} has no finished epoch yet: go on with `snnprune train --resume {path}`")
    table = list(cells(file))
    header = table[0] if table else []
    for name in COLUMNS:
        if name not in header:
            raise UserError(
                f"{file} has no column '{name}': it was changed, or written by another version; {_AGAIN}"
            )
    rows = []
    for number, line in enumerate(table[1:], 2):
        try:
            row = {name: float(value) for name, value in zip(header, line, strict=True)}
        except ValueError as error:
            raise UserError(
                f"{file} is damaged: line {number} is not a row of {len(header)} numbers; {_AGAIN}"
            ) from error
        if not all(math.isfinite(row[name]) for name in COLUMNS):
            raise UserError(f"{file} is damaged: line {number} holds what is not a finite number; {_AGAIN}")
        rows.append(row)
    if not rows:
        raise UserError(f"{file} holds no epoch: go on with `snnprune train --resume {path}`")
    return rows


def _summary(path: Path, rows: list[dict[str, float]], config: dict[str, Any]) -> dict[str, Any]:
    file = path / "summary.json"
    if not file.is_file():
        train = config.get("train")
        epochs = train.get("epochs", "?") if isinstance(train, dict) else "?"
        raise UserError(
            f"{path} is not finished, and has no summary.json ({len(rows)} of {epochs} epochs): "
            f"go on with `snnprune train --resume {path}`"
        )
    try:
        summary = document.parse_json(read_text(file))
    except json.JSONDecodeError as error:
        raise UserError(f"{file} is damaged: it is not valid JSON (line {error.lineno}); {_AGAIN}") from error
    wanted: dict[str, type | tuple[type, ...]] = dict.fromkeys(NUMBERS, (int, float))
    wanted |= dict.fromkeys(WORDS, str) | dict.fromkeys(TABLES, dict)
    for key, kind in wanted.items():
        if not isinstance(summary, dict) or not isinstance(summary.get(key), kind):
            raise UserError(
                f"{file} has no usable '{key}': it was changed, or written by another version; {_AGAIN}"
            )
    read: dict[str, Any] = summary
    if len(rows) != read["epochs"]:
        raise UserError(
            f"{path / 'metrics.csv'} has {len(rows)} rows, and the run had {read['epochs']} epochs: {_AGAIN}"
        )
    return read


def _answers(file: Path) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    if not file.is_file():
        return None
    try:
        header, *lines = cells(file)
        rows = (dict(zip(header, line, strict=True)) for line in lines)
        table = [(int(row["label"]), int(row["answer"])) for row in rows]
        labels, answers = np.array(table, dtype=np.int64).reshape(-1, 2).T
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{file} is damaged: expected the columns label and answer, whole numbers, a row for each "
            f"sample; {_AGAIN}"
        ) from error
    if len(labels) == 0 or min(labels.min(), answers.min()) < 0:
        raise UserError(f"{file} is damaged: it holds no samples, or classes below 0; {_AGAIN}")
    return labels, answers


def _dynamics(file: Path) -> Dynamics | None:
    read = _safetensors(file, {"epochs", "weights", "units", "firing"}, {"layers", "populations", "neurons"})
    return None if read is None else Dynamics(*read)


def _example(file: Path) -> Example | None:
    keys = {"classes", "label", "answer", "neurons", "spiking", "events", "time_steps"}
    read = _safetensors(file, {"frames", "steps", "scores"}, keys)
    return None if read is None else Example(*read)


def _safetensors(file: Path, names: set[str], keys: set[str]) -> tuple[dict[str, Any], Tensors] | None:
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415

    if not file.is_file():
        return None
    try:
        with safe_open(file, framework="numpy") as opened:
            about = document.parse_json((opened.metadata() or {}).get("about", "{}"))
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - it is no dict
    except (SafetensorError, json.JSONDecodeError, OSError) as error:
        raise UserError(f"{file} is damaged: remove it for a page without it, or train again") from error
    missing = (names - tensors.keys()) | (keys - about.keys())
    if missing:
        raise UserError(f"{file} is damaged: it has no '{min(missing)}'; remove it for a page without it")
    return about, tensors


def cells(file: Path) -> Iterator[list[str]]:
    """Yield the lines of a table, cell by cell.

    Raises:
        UserError: it cannot be read, or is no table.
    """
    try:
        yield from csv.reader(read_text(file).splitlines())
    except csv.Error as error:  # a cell longer than any number
        raise UserError(f"{file} is damaged: it is no table ({in_one_line(error)})") from error


def parsed_yaml(file: Path, text: str) -> Any:
    """Return what ``text``, the content of ``file``, stands for.

    Raises:
        UserError: it is not YAML, or such as no configuration is.
    """
    try:
        return document.parse_yaml(text)
    except yaml.YAMLError as error:
        reason = in_one_line(error)
        raise UserError(
            f"{file} is damaged: it is not valid YAML of a configuration ({reason}); {_AGAIN}"
        ) from error


def read_text(file: Path, largest: int = document.LARGEST) -> str:
    """Return what a file of at most ``largest`` bytes says.

    Raises:
        UserError: it cannot be read, is larger, or is no text.
    """
    try:
        return document.read_text(file, largest)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text in UTF-8"
        raise UserError(f"cannot read {file}: {reason}") from error
