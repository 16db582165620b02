"""What a person sees of a bench that runs."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from snnprune.bench import progress
from snnprune.bench.progress import DONE, FAILED, RUNNING, Line, Progress
from snnprune.runs.epochs import History
from snnprune.runs.folder import RunFolder
from support import records

if TYPE_CHECKING:
    from pathlib import Path


def line(folder: Path, name: str, epochs: int = 0) -> Line:
    run = RunFolder(folder / name)
    run.path.mkdir()
    after(run, epochs)
    made = Line(name, run)
    made.look()
    return made


def after(run: RunFolder, epochs: int) -> None:
    """Write the metrics of a run after so many epochs."""
    rows = [records.epoch(epoch, epoch / 10, epoch / 10 + 0.05) for epoch in range(1, epochs + 1)]
    run.metrics.write_text(History(rows).csv())


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_in_a_pipe_there_is_a_line_for_each_change(tmp_path: Path, clock: list[float]) -> None:
    out = io.StringIO()
    lines = [line(tmp_path, "a", epochs=2), line(tmp_path, "b"), line(tmp_path, "c")]
    with Progress(Console(file=out, width=60), lines, epochs=4) as shown:
        shown.change(lines[0], RUNNING)
        shown.refresh()
        clock[0] += 10
        after(lines[0].folder, 4)
        shown.change(lines[0], DONE)
        shown.change(lines[1], FAILED, "no data")
    # Two epochs in ten seconds, and the four of c are left; those before this session do not count.
    assert out.getvalue().splitlines() == [
        "a  running  from epoch 3",
        "a  done  val 40.0%  pruned 45.0%  1 of 3, left 0:40",
        "b  failed  2 of 3, left 0:20: no data",
    ]


def test_on_a_terminal_there_is_a_table(tmp_path: Path, clock: list[float]) -> None:
    out = io.StringIO()
    lines = [line(tmp_path, "a", epochs=4), line(tmp_path, "b")]
    lines[0].state = DONE
    with Progress(Console(file=out, width=80, height=20, force_terminal=True), lines, epochs=4) as shown:
        shown.change(lines[1], RUNNING)
        after(lines[1].folder, 1)
        clock[0] += 60
        shown.refresh()
        shown.change(lines[1], FAILED, "no data")
    text = out.getvalue()
    assert "1 of 2 cells done, left 3:00" in text
    for word in ("4/4", "1/4", "10.0%", "15.0%", "b failed: no data"):
        assert word in text


def test_a_table_fits_on_the_screen_and_shows_what_runs_first(tmp_path: Path) -> None:
    out = io.StringIO()
    lines = [line(tmp_path, f"cell{i}") for i in range(30)]
    for done in lines[:20]:
        done.state = DONE
    with Progress(Console(file=out, width=80, height=12, force_terminal=True), lines, epochs=4) as shown:
        shown.change(lines[25], RUNNING)
        shown.refresh()
        text = out.getvalue()
    assert "cell25" in text
    assert "cell20" in text
    assert "cell0 " not in text
