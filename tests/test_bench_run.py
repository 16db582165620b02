"""A bench as it runs: cells in processes of their own, killed, failing, resumed; its folder read again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors import safe_open

from snnprune import cli
from snnprune.bench import run
from snnprune.bench.executor import Executor, Local
from snnprune.bench.grid import Grid
from snnprune.bench.process import Outcome, launch, sentence
from snnprune.bench.results import read
from snnprune.common.errors import UserError
from snnprune.runs.summary import Compact
from snnprune.training import run as training
from support import tiny_cell, tiny_run

PROGRAM = (sys.executable, tiny_cell.__file__)
GRID = Grid(("dense", "dpap"), (0.5,), (0, 1))
NAMES = ["dense-seed0", "dpap-0.5-seed0", "dense-seed1", "dpap-0.5-seed1"]
BASE = tiny_run.config(epochs=3)


class Here:
    """Runs cells in this process, one at a time: a process of its own imports for longer than it trains."""

    slots = 1

    def __init__(self) -> None:
        self._over: list[Outcome] = []

    def start(self, name: str, folder: Path) -> None:
        training.resume(folder, page=False)
        self._over.append(Outcome(name, None))

    def ended(self) -> list[Outcome]:
        over, self._over = self._over, []
        return over

    def stop(self) -> None:
        pass


def local(out: Path, jobs: int) -> Local:
    return Local(jobs, out / "logs", PROGRAM)


def bench(out: Path, grid: Grid = GRID, executor: Executor | None = None) -> int:
    return run.bench(BASE, grid, out, executor or Here(), look=0.05)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a bench that nothing happened to."""
    out = tmp_path_factory.mktemp("bench") / "whole"
    assert bench(out) == 0
    return out


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "copy"))


def numbers(out: Path, names: list[str]) -> dict[str, Any]:
    """Return the summaries of cells without what the clock decides, or whoever commits meanwhile."""
    found = {}
    for name in names:
        found[name] = json.loads((out / name / "summary.json").read_text())
        del found[name]["seconds"], found[name]["machine"], found[name]["git_commit"]
    return found


def weights_of(run: Path) -> list[list[int]]:
    """Return the shapes of the weights of the network that a run has saved."""
    with safe_open(run / "model.safetensors", framework="numpy") as file:
        shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118 - it is no dict
    return [shape for shape in shapes if len(shape) > 1]


# --- what a bench leaves


def test_every_cell_is_an_ordinary_run(whole: Path) -> None:
    assert sorted(path.parent.name for path in whole.glob("*/summary.json")) == sorted(NAMES)
    for name, cell in zip(NAMES, GRID.cells(), strict=True):
        config = yaml.safe_load((whole / name / "config.yaml").read_text())
        assert config["method"]["name"] == cell.method
        assert config["train"]["seed"] == cell.seed
        assert not (whole / name / "dense").exists()
        assert (whole / name / "model.safetensors").exists()


def test_the_page_of_a_cell_is_made_when_it_is_asked_for(copy: Path) -> None:
    page = copy / NAMES[1] / "report.html"
    assert (copy / "report.html").exists()
    assert not page.exists()
    assert cli.main(["report", str(page.parent)]) == 0
    assert page.exists()


def test_tables_are_written_and_agree_with_the_runs(whole: Path) -> None:
    compared = json.loads((whole / "comparison.json").read_text())
    summary = json.loads((whole / "dpap-0.5-seed1" / "summary.json").read_text())
    dense, dpap = compared["groups"]
    assert (dense["name"], dpap["name"]) == ("dense", "dpap-0.5")
    assert dpap["measures"]["accuracy"]["values"]["1"] == 100 * summary["accuracy"]
    assert dpap["measures"]["synops_compact"]["values"]["1"] == summary["synops"]["compact"] / 1e6
    assert compared["test_samples"] == 21
    for name in ("comparison.md", "comparison.tex", "comparison.csv", "cells.csv"):
        assert "dpap-0.5" in (whole / name).read_text()


def test_what_a_run_leaves_agrees_with_itself(whole: Path) -> None:
    for result in read(whole).results:
        summary, operations = result.summary, result.summary.synops
        assert result.tested.hits.mean() == pytest.approx(summary["accuracy"])
        assert summary["compact_answers_differ"] == 0
        assert operations["masked"] <= operations["dense"]
        for kind in ("dense", "masked", "compact"):
            layers = operations.layers.values()
            assert sum(layer[kind] for layer in layers) == pytest.approx(operations[kind])
            picojoules = 4.6 * operations.macs[kind] + 0.9 * operations[kind]
            assert operations.energy_pj[kind] == pytest.approx(picojoules)
            events = sum(layer.by_events[kind] for layer in layers)
            assert events == pytest.approx(operations.by_events[kind])
            assert events > operations[kind]
        metrics = (whole / result.name / "metrics.csv").read_text().splitlines()
        last = dict(zip(metrics[0].split(","), metrics[-1].split(","), strict=True))
        assert float(last["synops"]) == pytest.approx(operations["masked"])
        assert float(last["synops_by_events"]) == pytest.approx(operations.by_events["masked"])
        machine = summary["machine"]
        assert machine["inference_batch"] == 12
        assert min(machine.inference_seconds.values()) > 0
        assert machine["peak_memory_mb"] > 50  # python and torch alone are more
        # No order with what is alive: zeros between living units are in it, units that nothing reads are not.
        saved = sum(np.prod(shape) for shape in weights_of(whole / result.name))
        assert summary.compact.weights == saved <= summary["weights_dense"]
        assert summary.compact.macs <= summary["macs_dense"]
        if result.method == "dense":
            assert summary.compact == Compact(summary.weights_dense, summary.macs_dense)
            assert operations.dense == operations.masked == operations.compact


def test_threads_are_shared(whole: Path) -> None:
    machine = json.loads((whole / "dense-seed0" / "summary.json").read_text())["machine"]
    assert machine["threads"] == BASE.train.threads == 1


def test_what_is_done_is_not_done_again(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Nobody:
        slots = 2

        def start(self, name: str, folder: Path) -> None:
            raise AssertionError(f"{name} was started again")

        def ended(self) -> list[Outcome]:
            raise AssertionError("nothing runs")

        def stop(self) -> None:
            pass

    (copy / "comparison.md").unlink()
    assert run.bench(BASE, GRID, copy, Nobody()) == 0
    assert (copy / "comparison.md").exists()


def test_a_seed_may_be_added(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(copy, Grid(("dense",), (0.5,), (0, 2))) == 0
    said = capsys.readouterr().out
    assert "dense-seed2  done" in said
    assert "dense-seed0  running" not in said
    assert (copy / "dense-seed2" / "summary.json").exists()
    assert json.loads((copy / "comparison.json").read_text())["groups"][0]["seeds"] == [0, 1, 2]


def test_another_configuration_is_refused(copy: Path) -> None:
    other = replace(BASE, train=replace(BASE.train, lr=0.5))
    with pytest.raises(UserError, match=r"train.lr is 0.002 there and 0.5 here"):
        run.bench(other, GRID, copy, Here())


# --- what may happen to one


def test_a_failing_cell_is_reported_and_the_rest_goes_on(
    copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in NAMES[:2]:
        shutil.rmtree(copy / name)
    monkeypatch.setenv("BENCH_FAIL", NAMES[0])
    assert bench(copy, executor=local(copy, jobs=1)) == 1
    said = capsys.readouterr().out
    assert "dense-seed0  failed  3 of 4, left -:--: the recordings are gone" in said
    assert "dpap-0.5-seed0  done" in said
    assert "failed: dense-seed0; the same command tries again" in said
    assert [result.name for result in read(copy).results] == [
        "dense-seed1",
        "dpap-0.5-seed0",
        "dpap-0.5-seed1",
    ]
    assert bench(copy) == 0
    assert "dpap-0.5-seed0  running" not in capsys.readouterr().out
    assert len(read(copy).results) == 4


def started(out: Path, slow: str) -> subprocess.Popen[str]:
    """Start a bench as a process, in which a cell dawdles, and wait until that has finished an epoch."""
    code = (
        "import pathlib, signal, sys, test_bench_run as t\n"
        f"out = pathlib.Path({str(out)!r})\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # also where tests run in the background
        "sys.exit(t.bench(out, t.HALF, t.local(out, jobs=2)))"
    )
    environment = os.environ | {"BENCH_SLOW": slow, "PYTHONPATH": PATH, "COLUMNS": "200"}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment, **pipes)
    deadline = time.monotonic() + 120
    while not (out / slow / "metrics.csv").exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process


HALF = replace(GRID, seeds=(0,))
HERE = Path(__file__).parent
PATH = os.pathsep.join(filter(None, [str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH")]))


def cells_of(out: Path) -> list[Path]:
    """Return the processes, as folders of /proc, that have a cell of ``out`` on their command line."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if any(word.startswith(os.fsencode(out / "d")) for word in words):
                found.append(entry)
    return found


def is_over(process: Path) -> bool:
    """Tell whether a process has let go of its files: no thread of it runs any more."""
    with suppress(OSError):
        return all(
            (thread / "stat").read_text().rpartition(")")[2].split()[0] in "ZX"
            for thread in (process / "task").iterdir()
        )
    return True


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc, and asks Linux to end orphans")
@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (signal.SIGINT, 130, "the same command continues"),
        (signal.SIGTERM, 143, "the same command continues"),
        (signal.SIGKILL, -signal.SIGKILL, ""),
    ],
)
def test_a_bench_that_is_ended_leaves_nobody_behind_and_goes_on(
    whole: Path, tmp_path: Path, number: int, code: int, said: str
) -> None:
    out = tmp_path / "bench"
    process = started(out, slow="dpap-0.5-seed0")
    cells = cells_of(out)
    assert cells
    process.send_signal(number)
    printed = process.communicate(timeout=60)[0]
    assert process.returncode == code, printed
    assert said in printed
    assert "Traceback" not in printed
    deadline = time.monotonic() + 30
    while not all(is_over(cell) for cell in cells):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not (out / "dpap-0.5-seed0" / "summary.json").exists()
    if number == signal.SIGKILL:
        assert bench(out, HALF) == 0
        names = [cell.name for cell in HALF.cells()]
        assert numbers(out, names) == numbers(whole, names)


def test_why_a_cell_failed_is_one_sentence(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_text("warning: x\nsnnprune: no such data set\n")
    assert sentence(0, log) is None
    assert sentence(2, log) == "no such data set"
    log.write_text("Traceback (most recent call last):\n  ...\nValueError: shapes\n\n")
    assert sentence(1, log) == f"ValueError: shapes; its output is in {log}"
    assert str(sentence(-9, log)).startswith("it was ended by SIGKILL (was the memory full?)")


def test_a_cell_does_not_start_for_a_parent_that_is_gone(tmp_path: Path) -> None:
    from snnprune.bench import cell

    done = subprocess.run(
        [sys.executable, "-m", cell.__name__, str(tmp_path), str(os.getpid() + 10**6)], check=False
    )
    assert done.returncode == cell.ORPHANED


def test_a_cell_has_its_share_of_threads(tmp_path: Path) -> None:
    program = (sys.executable, "-c", "import os; print(os.environ['OMP_NUM_THREADS'])")
    launch(program, tmp_path, tmp_path / "log.txt", threads=3).wait()
    assert (tmp_path / "log.txt").read_text() == "3\n"


# --- a folder read again


def test_compare_writes_the_tables_anew_and_names_what_is_unfinished(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (copy / "comparison.json").read_text()
    (copy / "comparison.json").unlink()
    assert cli.main(["bench", "--compare", str(copy)]) == 0
    assert (copy / "comparison.json").read_text() == before
    (copy / "dpap-0.5-seed1" / "summary.json").unlink()
    assert cli.main(["bench", "--compare", str(copy)]) == 0
    assert "Left out, because unfinished: dpap-0.5-seed1." in capsys.readouterr().out


def nothing(copy: Path) -> None:
    for name in NAMES:
        shutil.rmtree(copy / name)


def a_run(copy: Path) -> None:
    """A run has its dense twin in a folder inside, as a bench has its runs."""
    shutil.copy(copy / NAMES[0] / "config.yaml", copy)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (nothing, "holds no finished run to compare"),
        (a_run, "is one run, and a comparison takes a folder of runs"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(
    copy: Path, capsys: pytest.CaptureFixture[str], harm: Any, said: str
) -> None:
    harm(copy)
    assert cli.main(["bench", "--compare", str(copy)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert said in error
