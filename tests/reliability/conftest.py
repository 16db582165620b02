"""How much is tried, and where the tables of docs/reliability.md are printed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from support import short_run
from support.markdown import table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from snnprune.config.schema import RunConfig

    Count = Callable[[int], int]
    Printed = Callable[[str, Iterable[Iterable[object]]], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of a command that names this folder, or a file of it."""
    parser.addoption("--count", type=int, help="kills, damages, malformed files, disks or steps; else few")
    parser.addoption("--python", action="append", help="interpreters that the wheel is installed into")
    parser.addoption("--draw", action="store_true", help="put the picture among the documents")


@pytest.fixture
def count(request: pytest.FixtureRequest) -> Count:
    """How many were asked for, or else as few as the test says."""
    asked = request.config.getoption("count", default=None)
    return lambda few: few if asked is None else asked


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Printed:
    """Print a table past pytest's capture: it is what the document shows."""

    def show(head: str, rows: Iterable[Iterable[object]]) -> None:
        with capsys.disabled():
            print(f"\n\n{table(head, rows)}")

    return show


class Whole(NamedTuple):
    """A run that nothing happened to: its folder, its configuration, and the folder of its recordings."""

    out: Path
    asked: RunConfig
    root: Path


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """A finished run on recordings, trained in a process of its own."""
    folder = tmp_path_factory.mktemp("whole")
    root, out = short_run.recordings(folder), folder / "whole"
    asked = short_run.config(root, short_run.frames_of(out))
    log = folder / "whole.log"
    assert short_run.forked(lambda: short_run.go_on(out, asked), log) == 0, log.read_text()
    return Whole(out, asked, root)
