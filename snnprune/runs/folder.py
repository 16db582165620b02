"""The folder of a run: its lock, the configuration that it belongs to, and the paths of its files."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from snnprune.common import atomic, document
from snnprune.common.errors import UserError, in_one_line
from snnprune.config.names import DATASETS
from snnprune.config.reading import as_config
from snnprune.runs.lock import LOCK, FolderLock
from snnprune.runs.summary import read_summary

if TYPE_CHECKING:
    from typing import Self

    from snnprune.config.schema import RunConfig
    from snnprune.runs.summary import Summary

OWN_FOLDERS = ("checkpoints", "tensorboard", "figures", "dense")


class RunFolder(FolderLock):
    """Paths of a run's files. As a context, it locks the folder against other processes.

    Args:
        path: the folder; it is made on entry if it is not there.

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
        """Take the lock, and remove unfinished files of a killed process.

        Raises:
            UserError: as the class says, or a folder inside the run is a symbolic link.
        """
        for name in OWN_FOLDERS:
            if (self.path / name).is_symlink():
                raise UserError(
                    f"{self.path / name} must be a folder inside that of the run, and is a link: put a "
                    "folder in its place"
                )
        super().__enter__()
        atomic.sweep(self.path)
        return self

    @property
    def checkpoints(self) -> tuple[Path, Path]:
        """Paths of the checkpoints, the newest first. Either file may be missing."""
        return self.last, self.previous

    @property
    def has_checkpoint(self) -> bool:
        """Whether an epoch was finished."""
        return any(path.is_file() for path in self.checkpoints)

    @property
    def is_claimed(self) -> bool:
        """Whether it belongs to a configuration. A run that failed before any training does not claim it."""
        return self.config.exists() and (self.has_checkpoint or self.summary.exists() or self.twin.exists())

    def look(self, config: RunConfig) -> None:
        """Check that the folder can be used for ``config``, without writing.

        Raises:
            UserError: as `claim`, the folder cannot be written, or it lies among the user's own recordings.
        """
        self.look_where()
        root = config.data.root
        known = DATASETS.get(config.data.name)  # data made in Python may have any name
        own = known is not None and known.has("own")
        if own and root is not None and self.path.absolute().resolve().is_relative_to(Path(root).resolve()):
            raise UserError(
                f"{self.path} lies among the recordings in {root}, where a run would be taken for a class: "
                "choose another folder with --out"
            )
        if not self.path.exists():
            return
        if self.is_claimed:
            difference = first_difference(asdict(self.read_config()), asdict(config))
            if difference is not None:
                key, old, new = difference
                raise UserError(
                    f"{self.path} holds a run of another configuration: {key} is {old} there and {new} "
                    "here; choose another folder with --out, or continue that run with --resume"
                )
        strangers = [p.name for p in self.path.iterdir() if not p.name.startswith(".") and p != self.twin]
        if strangers and not self.config.exists():
            raise UserError(
                f"{self.path} is not a run of snnprune: it holds '{min(strangers)}' and no config.yaml; "
                "choose an empty or a new folder with --out"
            )

    def claim(self, config: RunConfig) -> None:
        """Claim the folder for ``config``, unless it is already.

        Raises:
            UserError: the folder holds a run of another configuration, or something that is not a run.
        """
        self.look(config)
        if not self.is_claimed:
            atomic.write_text(self.config, yaml.safe_dump(asdict(config), sort_keys=False))

    def forsake(self) -> None:
        """Remove a folder that holds nothing but the configuration of a run that was refused."""
        if {entry.name for entry in self.path.glob("*")} <= {LOCK, self.config.name}:
            shutil.rmtree(self.path, ignore_errors=True)

    def read_config(self) -> RunConfig:
        """Return the configuration that the run was started with.

        Raises:
            UserError: the folder is not a run, or its configuration cannot be read.
        """
        if not self.config.is_file():
            raise UserError(
                f"{self.path} is not a run of snnprune: expected a folder with a config.yaml, as "
                "`snnprune train` makes it"
            )
        try:
            read = document.parse_yaml(document.read_text(self.config, document.LARGEST_YAML))
            return as_config(read, "it")
        except (OSError, UnicodeDecodeError, yaml.YAMLError, UserError) as error:
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


def _written(value: Any) -> str:
    """Return a value as a configuration file writes it: null rather than None."""
    return repr(value) if isinstance(value, str) else json.dumps(value, default=str)


def first_difference(
    old: dict[str, Any], new: dict[str, Any], prefix: str = ""
) -> tuple[str, str, str] | None:
    """Return (dotted key, old, new) of the first entry that differs, as a file writes them; else None."""
    for key in [*old, *(key for key in new if key not in old)]:
        a, b = old.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found = first_difference(a, b, f"{prefix}{key}.")
            if found is not None:
                return found
        elif a != b:
            return f"{prefix}{key}", _written(a), _written(b)
    return None
