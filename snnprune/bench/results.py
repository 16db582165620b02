"""The finished runs of a bench: read one by one, and left out if they cannot be compared with the others."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from snnprune.bench.folder import BenchFolder, settled
from snnprune.bench.grid import DENSE, Cell
from snnprune.common.errors import UserError
from snnprune.runs.folder import RunFolder, first_difference
from snnprune.runs.reading import read_run

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable
    from pathlib import Path

    from snnprune.runs.reading import Run


@dataclass(frozen=True)
class Found:
    """The runs in a folder.

    Attributes:
        results: finished runs, one for each method, target and seed, ordered by these, unpruned ones first.
        unfinished: names of folders whose runs have not ended.
        left_out: for the name of a folder, a sentence on why its run is not in the comparison.
    """

    results: list[Run]
    unfinished: list[str]
    left_out: dict[str, str] = field(default_factory=dict)


def cell_of(run: Run) -> Cell:
    """Return the cell of a bench that a run belongs to."""
    return Cell(run.method, run.aim[1], run.seed, run.aim[0])


def read(folder: Path) -> Found:
    """Read all runs in ``folder``. One that is damaged, or does not belong to the others, is left out.

    Raises:
        UserError: ``folder`` is a run itself, or there is no run in it that can be compared.
    """
    if RunFolder(folder).config.exists():
        raise UserError(
            f"{folder} is one run, and a comparison takes a folder of runs: `snnprune report {folder}` makes "
            "its page"
        )
    finished: list[Run] = []
    unfinished: list[str] = []
    left_out: dict[str, str] = {}
    for run in _runs(folder):
        if not run.summary.exists():
            unfinished.append(run.path.name)
            continue
        try:
            whole = read_run(run.path)
            _ = whole.tested  # a comparison needs predictions
            finished.append(whole)
        except UserError as error:
            left_out[run.path.name] = str(error)
    if finished:
        finished, strange = _alike(folder, finished)
        finished, twice = _distinct(finished)
        left_out = dict(sorted((left_out | strange | twice).items()))
    if not finished:
        why = next(iter(left_out.values()), "expected folders that `snnprune bench` or `snnprune train` made")
        raise UserError(f"{folder} holds no finished run to compare: {why}")
    return Found(sorted(finished, key=_place), unfinished, left_out)


def _place(run: Run) -> tuple[bool, str, bool, float, str, int]:
    """Return what runs are ordered by: unpruned ones first, and of a method its own stopping first."""
    measure, target = run.aim
    return run.method != DENSE, run.method, target is not None, target or 0.0, measure, run.seed


def _runs(folder: Path) -> Iterable[RunFolder]:
    """Yield the folders in ``folder`` that hold a run, or some files of one."""
    for path in sorted(folder.iterdir() if folder.is_dir() else ()):
        run = RunFolder(path)
        if any(file.exists() for file in (run.config, run.summary, run.metrics)):
            yield run


def _alike(folder: Path, runs: list[Run]) -> tuple[list[Run], dict[str, str]]:
    """Return the runs of one configuration and one test set, and why the others are left out.

    The configuration is that of the bench if its file can be read, else that of most runs that prune. The
    test set is that of most runs.
    """
    left_out: dict[str, str] = {}
    own = BenchFolder(folder).settings()
    if own is None:
        deciding = [run for run in runs if run.method != DENSE] or runs
        own = settled(_most(deciding, lambda run: str(settled(run.config))).config)
    for run in runs:
        theirs = settled(run.config)
        if run.method == DENSE:  # how to prune says nothing about a run that does not, as a twin
            theirs["method"] = own["method"]
        difference = first_difference(own, theirs)
        if difference is not None:
            key, here, there = difference
            left_out[run.name] = (
                f"{run.path} is of another configuration: {key} is {there} there and {here} in this bench; "
                "keep it in another folder"
            )
    for value, what in (
        (_samples, "was tested on other samples"),
        (_layers, "has a network of other layers"),
    ):
        alike = [run for run in runs if run.name not in left_out]
        usual = value(_most(alike, value)) if alike else None
        left_out |= {
            run.name: f"{run.path} {what} than the other runs: keep it in another folder"
            for run in alike
            if value(run) != usual
        }
    return [run for run in runs if run.name not in left_out], left_out


def _samples(run: Run) -> Hashable:
    return run.tested.labels.tobytes()


def _layers(run: Run) -> Hashable:
    return tuple((name, layer.dense) for name, layer in run.summary.layers.items())


def _most(runs: list[Run], key: Callable[[Run], Hashable]) -> Run:
    """Return the first run that has the most frequent key."""
    ((most, _),) = Counter(map(key, runs)).most_common(1)
    return next(run for run in runs if key(run) == most)


def _distinct(runs: list[Run]) -> tuple[list[Run], dict[str, str]]:
    """Return one run of each cell, and why the others are left out; the cell's own folder comes first."""
    chosen: dict[str, Run] = {}
    left_out = {}
    for run in sorted(runs, key=lambda run: run.name != cell_of(run).name):
        first = chosen.setdefault(cell_of(run).name, run)
        if first is not run:
            left_out[run.name] = (
                f"{run.path} has the same method, target and seed as {first.name}: keep one of them"
            )
    return list(chosen.values()), left_out
