"""What the folder of a bench says, read and looked at before anything is drawn of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from snnprune.common import document
from snnprune.common.errors import UserError
from snnprune.runs.reading import parsed_yaml, read_rows, read_run, read_text

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
"""Keys of comparison.json that a page cannot do without."""

MEASURES = ("accuracy", "pruned", "weights", "synops_masked")
"""Of each group."""


@dataclass(frozen=True)
class Bench:
    """A bench and what was found when its runs were compared.

    Attributes:
        path: its folder.
        comparison: as it stands in comparison.json.
        curves: test accuracy over epochs of each run that still has its metrics, by group.
        asked: methods, targets and seeds, or {} where that is not known.
        sample: one of its runs, for versions and configuration, or None. The first, or the first whose method
            has constants of its own, which a repetition needs.
    """

    path: Path
    comparison: dict[str, Any]
    curves: dict[str, list[list[float]]]
    asked: dict[str, Any]
    sample: Run | None

    @property
    def groups(self) -> list[dict[str, Any]]:
        """Runs that differ in the seed alone, the unpruned ones first."""
        found: list[dict[str, Any]] = self.comparison["groups"]
        return found

    @property
    def dense(self) -> dict[str, Any] | None:
        """The unpruned network, where it was trained."""
        return next((group for group in self.groups if group["method"] == "dense"), None)

    @property
    def pruned(self) -> list[dict[str, Any]]:
        """All other groups."""
        return [group for group in self.groups if group["method"] != "dense"]


def is_bench(path: Path) -> bool:
    """Whether a folder holds many runs rather than one."""
    if (path / "config.yaml").is_file():  # a run with its dense twin inside
        return False
    return (path / "bench.yaml").is_file() or (path / "comparison.json").is_file()


def read_bench(path: Path) -> Bench:
    """Read the folder of a bench.

    Raises:
        UserError: its runs were not compared yet, or one of its files is damaged.
    """
    comparison = _comparison(path)
    curves: dict[str, list[list[float]]] = {}
    cells = []
    for group in comparison["groups"]:
        for seed in group["seeds"]:
            cell = path / f"{group['name']}-seed{seed}"
            if (cell / "metrics.csv").is_file():
                rows = read_rows(cell)
                curves.setdefault(group["name"], []).append([row["test_accuracy"] for row in rows])
                cells.append(cell)
    chosen = next(filter(_has_options, cells), cells[0] if cells else None)
    sample = None if chosen is None else read_run(chosen)
    return Bench(path, comparison, curves, _asked(path / "bench.yaml"), sample)


def _has_options(cell: Path) -> bool:
    """Whether the method of a run has constants of its own; a configuration that is damaged has none."""
    try:
        file = cell / "config.yaml"
        config = parsed_yaml(file, read_text(file, document.LARGEST_YAML))
        return bool(config["method"]["options"])
    except (UserError, KeyError, TypeError):
        return False


def _comparison(path: Path) -> dict[str, Any]:
    file = path / "comparison.json"
    again = f"write it anew with `snnprune bench --compare {path}`"
    if not file.is_file():
        raise UserError(
            f"{path} is a bench without comparison.json, none of its runs being compared: {again}"
        )
    try:
        read = document.parse_json(read_text(file))
    except json.JSONDecodeError as error:
        raise UserError(f"{file} is damaged: it is not valid JSON (line {error.lineno}); {again}") from error
    for key, kind in KEYS.items():
        if not isinstance(read, dict) or not isinstance(read.get(key), kind):
            raise UserError(f"{file} has no usable '{key}': {again}")
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
    read = parsed_yaml(file, read_text(file, document.LARGEST_YAML))
    asked = read.get("asked") if isinstance(read, dict) else None
    return asked if isinstance(asked, dict) else {}
