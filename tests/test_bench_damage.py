"""A file of one cell that is damaged, or of another run, costs that cell alone: every file, every damage."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from snnprune import cli
from snnprune.bench import run
from snnprune.bench.executor import Outcome
from snnprune.bench.grid import Grid
from snnprune.bench.results import read
from snnprune.common.errors import UserError
from snnprune.runs.folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Callable

WRITTEN = Path(__file__).parent / "fixtures" / "v0.1"
CELL = "dpap-0.4-seed1"
OTHERS = ["dense-seed0", "dense-seed1", "dpap-0.4-seed0"]
FILES = ("config.yaml", "metrics.csv", "predictions.csv", "summary.json")
GRID = Grid(("dense", "dpap"), (0.4,), (0, 1))


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    """A copy of a finished bench of two methods and two seeds."""
    return Path(shutil.copytree(WRITTEN / "bench", tmp_path / "bench"))


def empty(file: Path) -> None:
    file.write_bytes(b"")


def cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def not_text(file: Path) -> None:
    file.write_bytes(bytes(range(128, 256)))


def other_kind(file: Path) -> None:
    """A list where a mapping or a table is expected."""
    file.write_text("[1, 2, 3]")


def deep(file: Path) -> None:
    file.write_text("[" * 100_000)


def not_a_number(file: Path) -> None:
    """Each of the file's fractions, or else whole numbers, is NaN."""
    text, nan = file.read_text(), ".nan" if file.suffix == ".yaml" else "NaN"
    pattern = r"\b\d+\.\d+" if re.search(r"\d\.\d", text) else r"\b\d+\b"
    file.write_text(re.sub(pattern, nan, text))


def word(file: Path) -> None:
    file.write_text(re.sub(r"\b\d+(\.\d+)?\b", "two", file.read_text()))


def other_version(file: Path) -> None:
    """Keys and columns have other names."""
    text = file.read_text()
    names = ("answer", "test_accuracy") if file.suffix == ".csv" else ("synops", "batch_size")
    for name in names:
        text = text.replace(name, f"{name}_of_2031")
    file.write_text(text)


def folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def of_another_model(file: Path) -> None:
    shutil.copy(WRITTEN / "run" / file.name, file)


def of_another_cell(file: Path) -> None:
    shutil.copy(file.parents[1] / "dense-seed0" / file.name, file)


def missing(file: Path) -> None:
    file.unlink()


DAMAGES = (
    missing, empty, cut_short, not_text, other_kind, deep, not_a_number, word, other_version, folder,
    of_another_model, of_another_cell,
)  # fmt: skip
CANNOT_TELL = {
    ("summary.json", missing),  # the run counts as unfinished
    ("predictions.csv", of_another_cell),  # of the same test samples, and an accuracy near to its own
}


def damaged(kinds: tuple[Callable[[Path], None], ...]) -> list[object]:
    return [
        pytest.param(name, harm, id=f"{name}-{harm.__name__}")
        for name in FILES
        for harm in kinds
        if (name, harm) not in CANNOT_TELL
    ]


@pytest.mark.parametrize(("name", "harm"), damaged(DAMAGES))
def test_it_is_left_out_and_named(
    name: str, harm: Callable[[Path], None], bench: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    harm(bench / CELL / name)
    found = read(bench)
    assert sorted(run.name for run in found.results) == OTHERS
    assert list(found.left_out) == [CELL]
    assert str(bench / CELL) in found.left_out[CELL]
    assert "\n" not in found.left_out[CELL]
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("name", ["config.yaml", "metrics.csv"])
def test_screen_file_and_page_say_why(name: str, bench: Path, capsys: pytest.CaptureFixture[str]) -> None:
    not_text(bench / CELL / name)
    assert cli.main(["bench", "--compare", str(bench)]) == 1
    why = read(bench).left_out[CELL]
    assert f"warning: {CELL} is left out: {why}" in capsys.readouterr().out
    compared = json.loads((bench / "comparison.json").read_text())
    assert compared["left_out"] == {CELL: why}
    assert [group["seeds"] for group in compared["groups"]] == [[0, 1], [0]]
    assert f"Left out: {CELL}. " in (bench / "report.html").read_text()
    assert CELL in (bench / "comparison.md").read_text()


class Nobody:
    """Trains nothing: a cell that it is asked to run fails."""

    slots = 1

    def __init__(self) -> None:
        self.asked: list[str] = []

    def start(self, name: str, folder: Path) -> None:
        self.asked.append(name)

    def ended(self) -> list[Outcome]:
        done, self.asked = self.asked, []
        return [Outcome(name, "nobody is here") for name in done]

    def stop(self) -> None:
        pass


@pytest.mark.parametrize(("name", "harm"), damaged((folder,)))
def test_the_bench_goes_on_with_the_others(
    name: str, harm: Callable[[Path], None], bench: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = RunFolder(bench / "dense-seed0").read_config()
    harm(bench / CELL / name)
    assert run.bench(base, GRID, bench, Nobody(), look=0.0) == 1
    assert CELL in capsys.readouterr().out
    assert list(json.loads((bench / "comparison.json").read_text())["left_out"]) == [CELL]


def test_without_damage_nothing_is_left_out(bench: Path) -> None:
    assert cli.main(["bench", "--compare", str(bench)]) == 0
    assert json.loads((bench / "comparison.json").read_text())["left_out"] == {}


def test_an_unfinished_cell_is_no_damage(bench: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing(bench / CELL / "summary.json")
    assert cli.main(["bench", "--compare", str(bench)]) == 0
    assert f"Left out, because unfinished: {CELL}." in capsys.readouterr().out


def test_files_that_no_comparison_needs_cost_nothing(bench: Path) -> None:
    for name in ("dynamics.safetensors", "example.safetensors", "model.safetensors", "checkpoints"):
        (bench / CELL / name).write_text("x")
    assert cli.main(["bench", "--compare", str(bench)]) == 0


def test_a_cell_that_was_damaged_after_the_comparison_is_named_on_the_page(bench: Path) -> None:
    assert cli.main(["bench", "--compare", str(bench)]) == 0
    not_text(bench / CELL / "metrics.csv")
    assert cli.main(["report", str(bench)]) == 0
    assert f"Left out: {CELL}. " in (bench / "report.html").read_text()


@pytest.mark.parametrize("own_file", [True, False])
def test_most_runs_say_what_is_foreign(own_file: bool, bench: Path) -> None:
    """The first by name is of another configuration: the bench's file, or the majority, says so."""
    if not own_file:
        (bench / "bench.yaml").unlink()
    shutil.copytree(WRITTEN / "run", bench / "a-stranger")
    found = read(bench)
    assert list(found.left_out) == ["a-stranger"]
    assert "is of another configuration: model.name is 'conv-snn' there and 'mlp-snn'" in str(
        found.left_out["a-stranger"]
    )
    assert len(found.results) == 4


def test_of_two_folders_of_one_cell_its_own_is_kept(bench: Path) -> None:
    shutil.copytree(bench / CELL, bench / "a-copy")
    found = read(bench)
    assert CELL in [run.name for run in found.results]
    assert "has the same method, target and seed as dpap-0.4-seed1" in found.left_out["a-copy"]


def test_where_all_are_damaged_there_is_one_sentence(bench: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in (*OTHERS, CELL):
        empty(bench / name / "metrics.csv")
    assert cli.main(["bench", "--compare", str(bench)]) == cli.WRONG_INPUT
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "holds no finished run to compare: " in said
    assert "metrics.csv is damaged" in said
    with pytest.raises(UserError, match="holds no finished run to compare: expected folders"):
        read(bench / "nothing")
