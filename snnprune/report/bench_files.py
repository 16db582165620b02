"""The files of a bench, read and checked before anything is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from snnprune.common import document
from snnprune.common.errors import UserError, in_one_line
from snnprune.runs.reading import read_run

if TYPE_CHECKING:
    from pathlib import Path

    from snnprune.runs.reading import Run

KEYS: dict[str, type | tuple[type, ...]] = {
    "dataset": str,
    "model": str,
    "epochs": int,
    "test_samples": int,
    "groups": list,
    "pareto": dict,
    "unfinished": list,
    "level": float,
    "tables": list,
}
"""Keys of comparison.json that a page needs."""

MEASURES = ("accuracy", "pruned", "weights", "synops_masked")
"""Measures of each group that a page needs."""


@dataclass(frozen=True)
class Bench:
    """A bench and the comparison of its runs.

    Attributes:
        path: its folder.
        comparison: the content of comparison.json.
        curves: for each group, test accuracy over epochs of each run that still has its metrics.
        asked: methods, targets and seeds; {} if they are not known.
        sample: one of its runs, for versions and configuration, or None. It is the first run with options of
            the method, which a repetition needs, else the first run.
        left_out: for the name of a run, why it is not in the comparison, or why its curve is not on the page.
    """

    path: Path
    comparison: dict[str, Any]
    curves: dict[str, list[list[float]]]
    asked: dict[str, Any]
    sample: Run | None
    left_out: dict[str, str]

    @property
    def groups(self) -> list[dict[str, Any]]:
        """Runs that differ in the seed alone, the unpruned ones first."""
        found: list[dict[str, Any]] = self.comparison["groups"]
        return found

    @property
    def dense(self) -> dict[str, Any] | None:
        """The unpruned network; None if it was not trained."""
        return next((group for group in self.groups if group["method"] == "dense"), None)

    @property
    def pruned(self) -> list[dict[str, Any]]:
        """All other groups."""
        return [group for group in self.groups if group["method"] != "dense"]


def is_bench(path: Path) -> bool:
    """Tell whether a folder holds a bench rather than one run."""
    if (path / "config.yaml").is_file():  # a run, with its unpruned twin inside
        return False
    return (path / "bench.yaml").is_file() or (path / "comparison.json").is_file()


def read_bench(path: Path) -> Bench:
    """Read the folder of a bench.

    Raises:
        UserError: its runs were not compared yet, or one of its files is damaged.
    """
    comparison = _comparison(path)
    left_out = {str(name): str(why) for name, why in comparison.get("left_out", {}).items()}
    curves: dict[str, list[list[float]]] = {}
    runs: list[Run] = []
    for group in comparison["groups"]:
        for cell in (path / f"{group['name']}-seed{seed}" for seed in group["seeds"]):
            if not cell.is_dir():  # the user kept the comparison only
                continue
            try:
                runs.append(read_run(cell))
            except UserError as error:
                left_out.setdefault(cell.name, str(error))
            else:
                curves.setdefault(group["name"], []).append(runs[-1].column("test_accuracy"))
    sample = next((run for run in runs if run.config.method.options), runs[0] if runs else None)
    return Bench(path, comparison, curves, _asked(path / "bench.yaml"), sample, left_out)


def _comparison(path: Path) -> dict[str, Any]:
    file = path / "comparison.json"
    again = f"write it again with `snnprune bench --compare {path}`"
    if not file.is_file():
        raise UserError(
            f"{path} is a bench without comparison.json, since its runs have not been compared: {again}"
        )
    try:
        read = document.parse_json(document.read_text(file))
    except (OSError, ValueError) as error:
        raise UserError(f"{file} is damaged ({in_one_line(error)}): {again}") from error
    for key, kind in KEYS.items():
        if not isinstance(read, dict) or not isinstance(read.get(key), kind):
            raise UserError(f"{file} has no usable '{key}': {again}")
    if not isinstance(read.get("left_out", {}), dict):  # version 0.1 did not write it
        raise UserError(f"{file} has no usable 'left_out': {again}")
    for group in read["groups"] or [{}]:
        measures = group.get("measures") if isinstance(group, dict) else None
        whole = isinstance(measures, dict) and {"name", "method", "seeds"} <= group.keys()
        if not whole or any(key not in measures for key in MEASURES):  # type: ignore[operator]
            raise UserError(f"{file} is damaged: a group lacks its name, seeds or measures; {again}")
    found: dict[str, Any] = read
    return found


def _asked(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        read = document.parse_yaml(document.read_text(file, document.LARGEST_YAML))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(
            f"{file} is damaged ({in_one_line(error)}): remove it to get a page without the command"
        ) from error
    asked = read.get("asked") if isinstance(read, dict) else None
    return asked if isinstance(asked, dict) else {}
