"""A bench from its grid to its tables: train the cells that are not done, and compare those that are."""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console

from snnprune.bench import formats
from snnprune.bench.comparison import compare as compare_runs
from snnprune.bench.folder import BenchFolder
from snnprune.bench.progress import DONE, FAILED, RUNNING, WAITING, Line, Progress
from snnprune.bench.results import read
from snnprune.bench.tables import tables
from snnprune.common import atomic
from snnprune.common.console import say
from snnprune.common.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import FrameType

    from snnprune.bench.comparison import Comparison
    from snnprune.bench.executor import Executor
    from snnprune.bench.grid import Cell, Grid
    from snnprune.config.schema import RunConfig
    from snnprune.runs.folder import RunFolder

A_CELL_FAILED = 1
INTERRUPTED = 130  # a shell's exit code for a program that Ctrl-C ended
TERMINATED = 143  # a shell's exit code for a program that SIGTERM ended

LOOK = 1.0
"""Seconds between two looks at the cells. A cell takes at least a minute."""

FORMATS = {"md": formats.markdown, "tex": formats.latex, "csv": formats.tidy, "json": formats.as_json}


class Terminated(KeyboardInterrupt):
    """This process got SIGTERM."""


def bench(base: RunConfig, grid: Grid, out: Path, executor: Executor, *, look: float = LOOK) -> int:
    """Train the cells of ``grid`` that are not done in ``out``, and compare all that are.

    Args:
        base: the configuration that all cells have in common.
        grid: methods, targets and seeds.
        out: the folder of the bench.
        executor: runs the cells.
        look: seconds between two looks at the cells.

    Returns:
        The exit code: 0; 1 if a cell failed, or was left out of the comparison because its files cannot be
        used (the others were run and compared); 130 after Ctrl-C; 143 after SIGTERM.

    Raises:
        UserError: the folder belongs to something else, there is no run that can be compared, or a method
            cannot prune the network as it is asked to, such as to a target that cannot be reached.
    """
    console = Console()
    cells, base = list(grid.cells()), base.located()
    _rehearse(base, [cell for cell in cells if not BenchFolder(out).cell(cell).is_claimed])
    with BenchFolder(out) as folder:
        folder.claim(base, grid)
        lines = [_claimed(folder.cell(cell), cell.config(base), console) for cell in cells]
        try:
            with _ended_by_sigterm(), Progress(console, lines, base.train.epochs) as progress:
                _run(lines, executor, progress, look)
        except KeyboardInterrupt as stop:
            done = sum(line.state == DONE for line in lines)
            say(console, f"stopped with {done} of {len(lines)} cells done; the same command continues")
            return TERMINATED if isinstance(stop, Terminated) else INTERRUPTED
        failed = [line.name for line in lines if line.state == FAILED]
        whole = True
        if any(line.state == DONE for line in lines):
            whole = not write(folder, console).left_out
        if failed:
            say(console, f"failed: {', '.join(failed)}; the same command tries again", style="red")
        return A_CELL_FAILED if failed or not whole else 0


def _rehearse(base: RunConfig, cells: list[Cell]) -> None:
    """Refuse what the cells that have not begun cannot do, before any of them begins."""
    methods = {cell.group: cell.config(base).method for cell in cells}
    if methods:
        from snnprune.training.rehearsal import rehearse_all  # noqa: PLC0415 - Lightning

        rehearse_all(base, methods)


def _claimed(run: RunFolder, config: RunConfig, console: Console) -> Line:
    """Claim the folder of a cell and return its line. If it cannot be claimed, the cell has failed."""
    line = Line(run.path.name, run, DONE if run.summary.exists() else WAITING)
    try:
        with run:
            run.claim(config)
    except UserError as error:
        line.state = FAILED
        say(console, f"{line.name} failed: {error}", style="red")
    line.look()
    return line


def compare(path: Path) -> int:
    """Compare the runs in folder ``path`` and write the tables, without training.

    Returns:
        The exit code: 0, or 1 if a run was left out because its files cannot be used.

    Raises:
        UserError: there is nothing to compare.
    """
    return A_CELL_FAILED if write(BenchFolder(path), Console()).left_out else 0


def write(folder: BenchFolder, console: Console) -> Comparison:
    """Write the comparison of the finished cells in every format and as a page, and print it."""
    from snnprune.report.report import report  # noqa: PLC0415 - matplotlib, once all is trained

    comparison = compare_runs(read(folder.path))
    atomic.write_text(folder.cells_table, formats.cells(comparison))
    for kind, form in FORMATS.items():
        atomic.write_text(folder.table(kind), form(comparison))
    for table in tables(comparison):
        drawn, hidden = formats.screen(table, console.width)
        console.print(drawn)
        if hidden:
            where = folder.table("md").name
            say(console, f"Not shown, for lack of room: {', '.join(hidden)}; {where} has all columns.")
        for note in table.notes:
            say(console, note, style="dim")
    for name, why in comparison.left_out.items():
        say(console, f"warning: {name} is left out: {why}", style="yellow")
    kinds = ", ".join(folder.table(kind).name for kind in FORMATS)
    page, rows = report(folder.path).path.name, folder.cells_table.name
    files = f"{page}, {kinds}; {rows} with a row for each run; a folder for each run"
    say(console, f"files in {folder.path}: {files}")
    return comparison


def _run(lines: list[Line], executor: Executor, progress: Progress, look: float) -> None:
    """Keep the executor's slots filled until every cell has ended. An interruption ends all cells."""
    by_name = {line.name: line for line in lines}
    waiting = [line for line in lines if line.state == WAITING]
    running = 0
    try:
        while waiting or running:
            while waiting and running < executor.slots:
                line = waiting.pop(0)
                executor.start(line.name, line.folder.path)
                running += 1
                progress.change(line, RUNNING)
            time.sleep(look)
            for outcome in executor.ended():
                running -= 1
                state = DONE if outcome.said is None else FAILED
                progress.change(by_name[outcome.name], state, outcome.said or "")
            progress.refresh()
    finally:
        executor.stop()


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Handle SIGTERM as Ctrl-C: the cells are stopped before this process ends."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
