"""The folder of a bench: the runs that belong in it, and the paths of its tables."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import yaml

from snnprune.common import atomic, document
from snnprune.common.errors import UserError, in_one_line
from snnprune.config.schema import FURTHER
from snnprune.runs.folder import RunFolder, as_config, first_difference
from snnprune.runs.lock import FolderLock

if TYPE_CHECKING:
    from pathlib import Path

    from snnprune.bench.grid import Cell, Grid
    from snnprune.config.schema import RunConfig


class BenchFolder(FolderLock):
    """Paths of a bench. As a context, it locks the folder against other benches.

    A bench belongs to one configuration: methods, targets and seeds may be added, nothing else may change.

    Args:
        path: the folder; it is made on entry if it is not there.

    Raises:
        UserError: on entry, when the folder cannot be written or another process holds it.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "bench")
        self.config = path / "bench.yaml"
        self.logs = path / "logs"
        self.cells_table = path / "cells.csv"

    def cell(self, cell: Cell) -> RunFolder:
        """Return the folder of one run."""
        return RunFolder(self.path / cell.name)

    def table(self, kind: str) -> Path:
        """Return the path of the comparison; ``kind`` is "csv", "md", "tex" or "json"."""
        return self.path / f"comparison.{kind}"

    def look(self) -> None:
        """Check that the folder can be used for a bench, without writing.

        Raises:
            UserError: it holds something else, or cannot be written.
        """
        self.look_where()
        if self.config.exists() or not self.path.exists():
            return
        strangers = [p.name for p in self.path.iterdir() if not p.name.startswith(".")]
        if strangers:
            raise UserError(
                f"{self.path} is not a bench of snnprune: it holds '{min(strangers)}' and no bench.yaml; "
                "choose an empty or a new folder with --out"
            )

    def claim(self, base: RunConfig, grid: Grid) -> None:
        """Claim the folder for benches with ``base``, unless it is already.

        Raises:
            UserError: it belongs to another configuration, or is not a bench.
        """
        mine = settled(base)
        self.look()
        if self.config.exists():
            difference = first_difference(self._settings(), mine)
            if difference is not None:
                key, old, new = difference
                raise UserError(
                    f"{self.path} holds a bench of another configuration: {key} is {old} there and {new} "
                    "here, and only methods, targets and seeds may be added; choose another folder with --out"
                )
        asked = {name: list(map(_written, values)) for name, values in asdict(grid).items()}
        atomic.write_text(self.config, yaml.safe_dump({"run": mine, "asked": asked}, sort_keys=False))

    def settings(self) -> dict[str, Any] | None:
        """Return the settings that all runs of the bench have in common; None if its file cannot be read."""
        try:
            return self._settings()
        except UserError:
            return None

    def _settings(self) -> dict[str, Any]:
        try:
            read = document.parse_yaml(document.read_text(self.config, document.LARGEST_YAML))
            return settled(
                as_config(read["run"], str(self.config))
            )  # a setting of a later version has its default
        except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError) as error:
            raise UserError(
                f"cannot read {self.config} ({in_one_line(error)}): it was changed, or written by another "
                "version; choose another folder with --out"
            ) from error


def _written(value: object) -> object:
    """Return an entry of a list as the command line reads it."""
    return ":".join(map(str, value)) if isinstance(value, tuple) else value


def settled(config: RunConfig) -> dict[str, Any]:
    """Return the settings that all runs of a bench have in common: those without seed, targets and method.

    The folders of the data are left out as well.
    """
    common = asdict(config)
    for section, keys in (
        ("data", ("root", "cache", "download")),
        ("train", ("seed", "twin")),
        ("method", ("name", "target", *FURTHER, "options")),
    ):
        for key in keys:
            del common[section][key]
    return common
