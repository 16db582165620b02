"""The folder of a run: who holds it, which configuration it belongs to, where its files are."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, TypeVar

import yaml

from snnprune import atomic
from snnprune.config import DataConfig, MethodConfig, ModelConfig, RunConfig, TrainConfig
from snnprune.errors import UserError
from snnprune.training.lock import FolderLock

if TYPE_CHECKING:
    from pathlib import Path

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
        self.network = path / "model.safetensors"
        self.predictions = path / "predictions.csv"
        self.dynamics = path / "dynamics.safetensors"
        self.example = path / "example.safetensors"
        self.curves = path / "curves.png"
        self.report = path / "report.html"
        self.twin = path / "dense"

    def claim(self, config: RunConfig) -> None:
        """Make the folder that of ``config``, or find that it is already.

        Raises:
            UserError: the folder holds a run of another configuration, or something that is no run.
        """
        begun = self.last.exists() or self.summary.exists() or self.twin.exists()
        if self.config.exists() and begun:  # a start that failed before anything was trained claims nothing
            difference = first_difference(asdict(self.read_config()), asdict(config))
            if difference is not None:
                key, old, new = difference
                raise UserError(
                    f"{self.path} holds a run of another configuration: {key} is {old!r} there and {new!r} "
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
            read = yaml.safe_load(self.config.read_text(encoding="utf-8"))
            return RunConfig(
                data=_part(DataConfig, read["data"]),
                model=_part(ModelConfig, read["model"]),
                method=_part(MethodConfig, read["method"]),
                train=_part(TrainConfig, read["train"]),
            )
        except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError) as error:
            reason = str(error).partition("\n")[0]
            raise UserError(
                f"cannot read {self.config} ({reason}): it was changed, or written by another version"
            ) from error

    def read_summary(self) -> dict[str, Any] | None:
        """Return the summary of a finished run, None while it is unfinished."""
        if not self.summary.exists():
            return None
        summary: dict[str, Any] = json.loads(self.summary.read_text(encoding="utf-8"))
        return summary

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Mark the run as finished."""
        atomic.write_text(self.summary, json.dumps(summary, indent=2) + "\n")


def _part(kind: type[Part], values: dict[str, Any]) -> Part:
    unknown = set(values) - {field.name for field in fields(kind)}
    if unknown:
        raise KeyError(f"unknown key {min(unknown)}")
    return kind(**values)


def first_difference(
    old: dict[str, Any], new: dict[str, Any], prefix: str = ""
) -> tuple[str, Any, Any] | None:
    """Return (dotted key, old, new) of the first entry that differs, None where none does."""
    for key in [*old, *(key for key in new if key not in old)]:
        a, b = old.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found = first_difference(a, b, f"{prefix}{key}.")
            if found is not None:
                return found
        elif a != b:
            return f"{prefix}{key}", a, b
    return None
