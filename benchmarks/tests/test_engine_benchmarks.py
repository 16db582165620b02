"""The benchmarks of the engine run, and work out their figures as they say."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import replace
from shutil import which
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional

from benchmarks import harness
from benchmarks.engine import crossover, streams, table
from benchmarks.engine.others import OTHERS, single_step
from benchmarks.engine.sides import BASELINE, CHOSEN, OURS, AbsentError, Case
from benchmarks.engine.unrolled import Unrolled
from snnprune.config.schema import ModelConfig
from snnprune.nn import models

if TYPE_CHECKING:
    from pathlib import Path

TINY = (2, 8, 8)


@pytest.fixture
def case() -> Case:
    """A conv-snn on 8 x 8 pixels, and five steps of two samples."""
    torch.manual_seed(0)
    dense, model = (models.build(ModelConfig("conv-snn", hidden=20), TINY, 3).eval() for _ in range(2))
    for each in (dense, model):
        each.out.weight.data *= 20  # untrained it hardly fires
    frames = torch.poisson(torch.full((5, 2, *TINY), 0.3), torch.Generator().manual_seed(0))
    return Case(dense, model, frames, threads=1)


@pytest.fixture
def wanted(case: Case) -> np.ndarray:
    with torch.no_grad():
        out = case.model(case.example)
    functional.reset_net(case.model)
    assert out.sum() > 0
    return out.numpy()


def test_all_steps_as_one_graph_answer_as_the_network(case: Case, wanted: np.ndarray) -> None:
    with torch.no_grad():
        assert np.array_equal(Unrolled(case.model)(case.example).numpy(), wanted)


def test_single_steps_answer_as_the_network(case: Case, wanted: np.ndarray) -> None:
    single = single_step(case.model)
    with torch.no_grad():
        assert np.array_equal(torch.stack([single(x) for x in case.example]).numpy(), wanted)


@pytest.mark.parametrize("name", ["SpikingJelly", "fused", CHOSEN, "engine, rows", "onnxruntime, by steps"])
def test_sides_answer_as_the_network(name: str, case: Case, wanted: np.ndarray) -> None:
    side = {**OURS, **OTHERS}[name](case)
    answer = side.answer(side.given(case.example))
    assert np.array_equal(side.outputs(answer), wanted)
    assert table.differing(side.outputs(answer), wanted) == {"spikes": 0, "answers": 0}


@pytest.mark.skipif(which("gcc") is None, reason="there is no gcc here")
@pytest.mark.parametrize("share", [1.0, 0.9])
def test_the_engine_in_c_gives_as_many_spikes(share: float, case: Case) -> None:
    of_values = replace(case, example=share * case.example)  # 1.0: counts of events; else values
    with torch.no_grad():
        wanted = of_values.model(of_values.example).sum(0, keepdim=True).numpy()
    functional.reset_net(of_values.model)
    side = OURS["C of the engine"](of_values)
    answer = side.answer(side.given(of_values.example))
    assert np.array_equal(side.outputs(answer), wanted)


def test_what_is_not_installed_is_left_out_with_a_word(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.engine.others.find_spec", lambda name: None)
    for name in ("openvino", "C of qualia-codegen"):
        with pytest.raises(AbsentError, match="not installed"):
            OTHERS[name](case)


def test_spikes_and_answers_that_differ_are_counted() -> None:
    engine = np.zeros((2, 2, 3))
    engine[:, 0, 1] = 1  # sample 0: class 1 with two spikes
    engine[0, 1, 2] = 1  # sample 1: class 2 with one
    other = engine.copy()
    other[:, 1] = 0
    other[1, 1, 0] = 1  # class 0 in place of class 2
    assert table.differing(other, engine) == {"spikes": 2, "answers": 1}
    later = engine[::-1]  # the spike of sample 1 a step later: the same sum
    assert table.differing(later, engine) == {"spikes": 2, "answers": 0}
    assert table.differing(later.sum(0, keepdims=True), engine) == {"spikes": 0, "answers": 0}


def test_a_cell_says_ratio_spread_and_what_differs() -> None:
    measured = {
        "seconds": {BASELINE: [1.0, 2.0, 4.0], "other": [0.1, 0.2, 0.4]},
        "differ": {"other": {"spikes": 3, "answers": 1}},
    }
    assert table.cell(measured, "other") == "0.1000 (0%, 3 spikes, 1 answers)"
    assert table.cell(measured, "none") == "-"


def test_a_line_is_found_again() -> None:
    points = [{"synops": x, "seconds": 2e-9 * x + 1e-4} for x in (1e5, 2e5, 5e5)]
    found = crossover.line(points)
    assert found["slope"] == pytest.approx(2e-9)
    assert found["offset"] == pytest.approx(1e-4)
    assert found["r2"] == pytest.approx(1.0)


def test_the_fastest_side_is_named_with_its_share_of_torch() -> None:
    point = {"rate": 0.1, "alive": 0.5, "rows": 2.0, "synapses": 4.0, "product": 3.0, "torch": 8.0}
    assert crossover.sweep_table([point]).splitlines()[-1] == "| 50% | rows 2.0 (0.25) |"


def test_a_layer_alone_is_measured_on_all_sides() -> None:
    layer = crossover.One("small", (3, 5, 5), (4, 3, 3, 3), (4, 5, 5))
    given = argparse.Namespace(rounds=1, quick=True)
    points = crossover.sweep(layer, 2, given)
    assert len(points) == 4
    assert all(point[side] > 0 for point in points for side in crossover.SIDES)
    assert np.count_nonzero(layer.layer(0.0).weights) == 0
    assert np.count_nonzero(layer.layer(1.0).weights) == 4 * 3 * 9


def test_the_pictures_are_drawn(tmp_path: Path) -> None:
    points = [
        {"rate": r, "alive": a, "rows": r + 0.02, "synapses": 4 * r * a + 0.02, "product": 0.2, "torch": 0.3}
        for a in crossover.ALIVE
        for r in crossover.RATES
    ]
    names = [f"{layer.name}, batch {batch}" for layer in crossover.LAYERS for batch in crossover.BATCHES]
    found = {
        "sweep": dict.fromkeys(names, points),
        "roofline": {"adds": 1e10, "bytes": 1e10},
        "operations": [{"network": "dense", "synops": n, "seconds": 1e-9 * n} for n in (1e5, 2e5)],
    }
    crossover.pictures(found, tmp_path)
    assert {file.name for file in tmp_path.glob("*.svg")} == {"engine-crossover.svg", "engine-operations.svg"}


def test_streams_are_played_to_their_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["streams", "--quick", "--rounds", "1"])
    streams.main()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| 34 x 34")]
    assert len(lines) == len(streams.RATES)


@pytest.mark.slow
def test_the_table_runs_on_small_networks(tmp_path: Path) -> None:
    words = [
        "--runs",
        str(tmp_path / "runs"),
        "--out",
        str(tmp_path / "found.json"),
        "--quick",
        "--rounds",
        "1",
    ]
    words += ["--only", "nmnist", "--networks", "dpap-60", "--settings", "1x1", "--compiled"]
    command = [sys.executable, "-m", "benchmarks.engine.table", *words]
    done = subprocess.run(command, cwd=harness.ROOT, capture_output=True, text=True, check=True)
    found = json.loads((tmp_path / "found.json").read_text())["nmnist/dpap-60 1x1"]
    assert {BASELINE, CHOSEN, "C of the engine", "onnxruntime"} <= found["seconds"].keys()
    assert all(len(times) == 1 for times in found["seconds"].values())
    assert found["differ"][CHOSEN] == {"spikes": 0, "answers": 0}
    assert "| engine |" in done.stdout
    assert "torch.compile: compiles for minutes" in done.stdout
