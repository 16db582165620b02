"""What version 0.1 wrote is still read: runs, benches, and states of every method in mid-training."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from snnprune import cli
from snnprune.export import evaluation
from snnprune.runs.reading import read_run
from snnprune.runs.tensors import read_dynamics, read_example
from support.families import FAMILIES
from support.loops import Loop, equal

WRITTEN = Path(__file__).parent / "fixtures" / "v0.1"


# --- folders of runs


def copied(name: str, to: Path) -> Path:
    """A copy of what version 0.1 wrote."""
    return Path(shutil.copytree(WRITTEN / name, to / name))


@pytest.mark.parametrize("name", ["run", "run/dense", "bench/dense-seed0", "bench/dpap-0.4-seed1"])
def test_the_record_of_a_run_says_what_its_files_say(name: str) -> None:
    folder = WRITTEN / name
    run = read_run(folder).read_all()
    written = json.loads((folder / "summary.json").read_text())
    assert json.loads(run.summary.json()) == written
    assert list(json.loads(run.summary.json())) == list(written)
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [{key: float(value) for key, value in row.items()} for row in rows] == [
        {key: value for key, value in vars(row).items() if value is not None} for row in run.rows
    ]
    assert {row.synops_by_events for row in run.rows} == {None}
    assert run.predictions is not None
    assert run.predictions.csv() == (folder / "predictions.csv").read_text()
    if not name.startswith("bench"):
        assert run.dynamics is not None
        assert run.dynamics.epochs.tolist() == [1, 2, 3, 4, 5, 6]
        assert run.example is not None
        assert len(run.example.about.classes) == 10


@pytest.mark.parametrize(
    ("name", "read"), [("dynamics.safetensors", read_dynamics), ("example.safetensors", read_example)]
)
def test_tensors_are_written_as_they_were_read(name: str, read: Any, tmp_path: Path) -> None:
    before = read(WRITTEN / "run" / name)
    before.write(tmp_path / name)
    after = read(tmp_path / name)
    assert after.about == before.about
    assert after.tensors.keys() == before.tensors.keys()
    for key, tensor in before.tensors.items():
        assert after.tensors[key].dtype == tensor.dtype
        assert after.tensors[key].tobytes() == tensor.tobytes()


@pytest.mark.parametrize("structured", [0.5, 0.75], ids=["the default of that time", "a value of its own"])
def test_a_finished_run_is_shown_and_measured_again(
    structured: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copied("run", tmp_path)
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("structured: 0.5", f"structured: {structured}"))
    assert cli.main(["train", "--resume", str(run)]) == 0
    assert "is finished: nothing to train" in capsys.readouterr().out
    summary = json.loads((run / "summary.json").read_text())
    for network in (run, run / "model.safetensors"):
        assert evaluation.evaluate(network)["accuracy"] == summary["accuracy"]


def test_a_finished_run_has_its_page(tmp_path: Path) -> None:
    run = copied("run", tmp_path)
    assert cli.main(["report", str(run)]) == 0
    page = (run / "report.html").read_text()
    assert f"{json.loads((run / 'summary.json').read_text())['accuracy']:.2%}" in page
    assert "not shown" not in page
    assert "by events" not in page  # version 0.1 did not count them


def test_a_finished_run_is_exported(tmp_path: Path) -> None:
    run = copied("run", tmp_path)
    assert cli.main(["export", str(run), "--to", "safetensors", "--samples", "20"]) == 0
    assert (run / "export" / "model.safetensors").is_file()


def test_an_unfinished_run_goes_on_to_the_end_that_it_would_have_had(tmp_path: Path) -> None:
    """Killed in its fifth epoch; the finished run had the same configuration, beside its twin."""
    run = copied("unfinished", tmp_path)
    assert cli.main(["train", "--resume", str(run)]) == 0
    whole, resumed = read_run(WRITTEN / "run"), read_run(run)
    assert len(resumed.rows) == 6
    assert [row.synops_by_events is None for row in resumed.rows] == [True] * 4 + [False] * 2
    four = [vars(row) | {"seconds": 0} for row in read_run(run).rows[:4]]
    assert four == [vars(row) | {"seconds": 0} for row in whole.rows[:4]]
    for key in ("weights_left", "neurons_left", "pruning_rate", "layers"):
        assert resumed.summary[key] == whole.summary[key]
    assert resumed.dynamics is not None
    assert resumed.dynamics.epochs.tolist() == [1, 2, 3, 4, 5, 6]


def test_a_bench_is_compared_and_has_its_page(tmp_path: Path) -> None:
    bench = copied("bench", tmp_path)
    before = json.loads((bench / "comparison.json").read_text())
    assert cli.main(["report", str(bench)]) == 0  # from the comparison of that time
    assert cli.main(["bench", "--compare", str(bench)]) == 0
    after = json.loads((bench / "comparison.json").read_text())
    for now, then in zip(after["groups"], before["groups"], strict=True):
        assert now | then == now  # what a target is a share of has come since
    assert after["pareto"] | before["pareto"] == after["pareto"]  # fronts over more costs have come since
    with (bench / "cells.csv").open() as file:
        assert {row["synops_by_events_masked"] for row in csv.DictReader(file)} == {""}


# --- states of methods


METHODS = sorted((WRITTEN / "methods").glob("*.pt"))


@pytest.mark.parametrize("path", METHODS, ids=lambda path: path.stem)
def test_a_state_of_each_method_is_trained_on_to_the_same_end(path: Path) -> None:
    torch.set_num_threads(1)
    saved = torch.load(path, weights_only=True)
    torch.manual_seed(0)
    loop = Loop(FAMILIES["four layers"], "m", path.stem, epochs=7, **saved["options"])
    loop.load(saved["at"]).epochs(4, 7, 2)
    assert equal(loop.alive(), saved["after"])
    assert loop.pruner.finished == saved["finished"]
