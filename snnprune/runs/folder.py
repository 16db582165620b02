"""The folder of a run: who holds it, which configuration it belongs to, where its files are."""

from __future__ import annotations

import json
from dataclasses import asdict
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from snnprune.common import atomic, document
from snnprune.common.errors import UserError, in_one_line
from snnprune.config.schema import DataConfig, MethodConfig, ModelConfig, RunConfig, TrainConfig
from snnprune.runs.lock import FolderLock
from snnprune.runs.summary import read_summary

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

    from snnprune.runs.summary import Summary

OWN_FOLDERS = ("checkpoints", "tensorboard", "figures", "dense")

Part = TypeVar("Part", DataConfig, ModelConfig, MethodConfig, TrainConfig)


class RunFolder(FolderLock):
    """Paths of a run's files; as a context, the lock that keeps a second process out.

    Args:
        path: the folder; made on entry, unless it is there.

    Raises:
        UserError: on entry, when the folder cannot be written or another process holds it.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "run")
        self.config = path / "config.yaml"
        self.metrics = path / "metrics.csv"
        self.summary = path / "summary.json"
        self.last = path / "checkpoints" / "last.ckpt"
        self.previous = path / "checkpoints" / "previous.ckpt"
        self.network = path / "model.safetensors"
        self.predictions = path / "predictions.csv"
        self.dynamics = path / "dynamics.safetensors"
        self.example = path / "example.safetensors"
        self.curves = path / "curves.png"
        self.report = path / "report.html"
        self.twin = path / "dense"

    def __enter__(self) -> Self:
        """Take the lock, and clear away what a killed process has left unfinished.

        Raises:
            UserError: as the class says, or a folder of the run is a link, which may lead anywhere.
        """
        for name in OWN_FOLDERS:
            if (self.path / name).is_symlink():
                raise UserError(
                    f"{self.path / name} is a link, and a run keeps its files in its own folder: put a "
                    "folder in its place"
                )
        super().__enter__()
        atomic.sweep(self.path)
        return self

    @property
    def checkpoints(self) -> tuple[Path, Path]:
        """Where checkpoints are, the newest first; the last may be missing and the one before it be there."""
        return self.last, self.previous

    @property
    def has_checkpoint(self) -> bool:
        """Whether an epoch was finished."""
        return any(path.is_file() for path in self.checkpoints)

    def claim(self, config: RunConfig) -> None:
        """Make the folder that of ``config``, or find that it is already.

        Raises:
            UserError: the folder holds a run of another configuration, or something that is no run.
        """
        begun = self.has_checkpoint or self.summary.exists() or self.twin.exists()
        if self.config.exists() and begun:  # a start that failed before anything was trained claims nothing
            difference = first_difference(asdict(self.read_config()), asdict(config))
            if difference is not None:
                key, old, new = difference
                raise UserError(
                    f"{self.path} holds a run of another configuration: {key} is {old} there and {new} "
                    "here; choose another folder with --out, or go on with that run with --resume"
                )
            return
        strangers = [p.name for p in self.path.iterdir() if not p.name.startswith(".") and p != self.twin]
        if strangers and not self.config.exists():
            raise UserError(
                f"{self.path} is not a run of snnprune: it holds '{min(strangers)}' and no config.yaml; "
                "choose an empty or a new folder with --out"
            )
        atomic.write_text(self.config, yaml.safe_dump(asdict(config), sort_keys=False))

    def read_config(self) -> RunConfig:
        """Return the configuration that the run was started with.

        Raises:
            UserError: the folder is no run, or its configuration cannot be read.
        """
        if not self.config.is_file():
            raise UserError(
                f"{self.path} is not a run of snnprune: expected a folder with a config.yaml, as "
                "`snnprune train` makes it"
            )
        try:
            return as_config(document.parse_yaml(document.read_text(self.config, document.LARGEST_YAML)))
        except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError) as error:
            reason = in_one_line(error)
            raise UserError(
                f"cannot read {self.config} ({reason}): it was changed, or written by another version"
            ) from error

    def read_summary(self) -> Summary | None:
        """Return the summary of a finished run, None while it is unfinished.

        Raises:
            UserError: it is damaged.
        """
        return read_summary(self.summary) if self.summary.exists() else None

    def write_summary(self, summary: Summary) -> None:
        """Mark the run as finished."""
        atomic.write_text(self.summary, summary.json())


def as_config(read: Any) -> RunConfig:
    """Return the configuration that plain values from a file stand for.

    Raises:
        KeyError, TypeError: a section is missing, a key is unknown, or a value is of another type.
    """
    return RunConfig(
        data=_part(DataConfig, read["data"]),
        model=_part(ModelConfig, read["model"]),
        method=_part(MethodConfig, read["method"]),
        train=_part(TrainConfig, read["train"]),
    )


def _part(kind: type[Part], values: dict[str, Any]) -> Part:
    hints = get_type_hints(kind)
    if not isinstance(values, dict):
        raise TypeError(f"a section of it is {values!r:.80}, and no mapping")
    for name, value in values.items():
        if name not in hints:
            raise KeyError(f"unknown key {name}")
        if not _fits(value, hints[name]):
            raise TypeError(f"{name} cannot be {value!r:.80}")
    return kind(**values)


def _fits(value: Any, hint: Any) -> bool:
    """Whether ``value`` is of the type that a configuration's annotation says."""
    if get_origin(hint) in (Union, UnionType):
        return any(_fits(value, option) for option in get_args(hint))
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if isinstance(value, bool):
        return hint is bool
    return isinstance(value, (int, float) if hint is float else get_origin(hint) or hint)


def _written(value: Any) -> str:
    """Return a value as a configuration file has it: null rather than None."""
    return repr(value) if isinstance(value, str) else json.dumps(value, default=str)


def first_difference(
    old: dict[str, Any], new: dict[str, Any], prefix: str = ""
) -> tuple[str, str, str] | None:
    """Return (dotted key, old, new) of the first entry that differs, as a file has them; None where none."""
    for key in [*old, *(key for key in new if key not in old)]:
        a, b = old.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found = first_difference(a, b, f"{prefix}{key}.")
            if found is not None:
                return found
        elif a != b:
            return f"{prefix}{key}", _written(a), _written(b)
    return None
