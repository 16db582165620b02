"""The benchmark of speed runs, and works out its figures as it says."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from benchmarks import harness
from benchmarks.speed import step
from benchmarks.speed.measure import SWEEPS
from benchmarks.workloads import BARE, DPAP, PLAIN, REMOVED, WORKLOADS
from support import markdown


def measured() -> dict:
    """What was measured where SpikingJelly takes 2, 4 and 6 seconds in three rounds, others a multiple."""
    shares = {PLAIN: 1.0, BARE: 0.38, DPAP: 0.4, REMOVED: 0.1}
    seconds = {name: {"train": [2 * s, 4 * s, 6 * s], "infer": [s, s, 9 * s]} for name, s in shares.items()}
    return {"seconds": seconds, "peak": {PLAIN: 100, DPAP: 45, REMOVED: 20}}


def test_figures_are_medians_of_the_ratios_within_a_round() -> None:
    assert harness.ratio([1, 2, 9], [2, 2, 3]) == 1.0  # of 0.5, 1, 3
    found = {
        (row.figure, row.workload): row.value(measured()) for row in step.ROWS if row.workload == "mnist"
    }
    assert found[step.UNPRUNED, "mnist"] == pytest.approx(0.4)
    assert found[step.GONE, "mnist"] == pytest.approx(0.1)
    assert found[step.SHARE, "mnist"] == pytest.approx(0.05)  # 0.02 of 0.40
    assert found[step.LOOK, "mnist"] == pytest.approx(0.1)
    assert found[step.PEAK, "mnist"] == pytest.approx(0.45)
    assert found[step.FASTEST, "mnist"] is None  # SpikingJelly's fused surrogates run on a GPU


def test_the_table_says_what_was_missed() -> None:
    table = step.table(
        {"default": {"mnist": measured()}, "tuned": {"mnist": measured()}}, ["default", "tuned"]
    )
    lines = [line for line in table.splitlines() if step.UNPRUNED in line]
    assert lines == [f"| {step.UNPRUNED} | conv-snn, MNIST | 0.400 (missed) | 0.32 | 0.400 | 0.40 |"]


def test_each_contender_has_one_turn_a_round_and_warming_up_is_not_counted() -> None:
    order: list[str] = []
    turns = {name: partial(order.append, name) for name in "abc"}
    found = harness.take_turns(turns, 20)
    rounds = ["".join(order[i : i + 3]) for i in range(0, len(order), 3)]
    assert len(rounds) == 20 + harness.WARM_UP
    assert {"".join(sorted(each)) for each in rounds} == {"abc"}
    before = {pair for pair in ("ab", "ac", "ba", "bc", "ca", "cb") if any(pair in each for each in rounds)}
    assert len(before) == 6  # no contender always follows the same one
    assert [len(took.times) for took in found.values()] == [20] * 3
    assert all(0 < took.median < 1 for took in found.values())


def test_a_settled_turn_begins_with_a_call_that_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[None] = []
    monkeypatch.setattr(harness, "timer", lambda: len(calls))
    found = harness.take_turns({"a": partial(calls.append, None)}, 5, settled=True)
    assert found["a"].times == [1] * 5
    assert len(calls) == 2 * (5 + harness.WARM_UP)


def test_a_table_aligns_words_left_and_numbers_right() -> None:
    assert markdown.table(":name | size", [("a", 1)]) == "| name | size |\n| --- | ---: |\n| a | 1 |"


def test_what_a_file_holds_is_not_made_again(tmp_path: Path) -> None:
    file = tmp_path / "new" / "cell.json"
    assert harness.once(file, lambda: {"made": 1}) == {"made": 1}
    assert harness.once(file, lambda: {"made": 2}) == {"made": 1}
    assert harness.cells(file.parent) == [{"made": 1}]


def test_a_child_has_the_setting_of_one_allocator_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")
    ours = {name for name in harness.environment("default") if name.startswith("MALLOC_")}
    tuned = {name for name in harness.environment("tuned") if name.startswith("MALLOC_")}
    assert (ours, tuned) == (set(), set(harness.ALLOCATORS["tuned"]))


def test_half_of_every_population_is_removed() -> None:
    workload = WORKLOADS["nmnist"].tiny()
    x, y = workload.inputs("cpu")
    whole, half = (workload.contender(name, x, y) for name in (DPAP, REMOVED))
    sizes = [[tuple(p.shape) for p in c.model.parameters() if p.ndim > 1] for c in (whole, half)]
    assert sizes[0] == [(15, 2, 3, 3), (40, 15, 3, 3), (300, 640), (10, 300)]
    assert sizes[1] == [(7, 2, 3, 3), (20, 7, 3, 3), (150, 320), (10, 150)]
    half.train()  # and goes on training
    assert all(torch.isfinite(p).all() for p in half.model.parameters())


@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="the mark of the highest size is Linux's"
)
def test_peak_memory_is_what_a_step_takes_beyond_the_model() -> None:
    program = """
import torch
from benchmarks.memory import peak
class Contender:
    x, y = torch.zeros(1, 2), torch.zeros(2, 1)
    def train(self):
        torch.ones(64 * 2**18 if self.x.shape[1] == 2 else 1)  # 64 MiB of floats with the whole batch
print(peak.peak(Contender()) / 2**20)
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=harness.ROOT, capture_output=True, text=True, check=True)
    assert 63 < float(done.stdout) < 72


@pytest.mark.slow
def test_it_runs_on_tiny_shapes(tmp_path: Path) -> None:
    given = ["--quick", "--only", "nmnist", "--allocators", "default", "--rounds", "1", "--threads", "1"]
    given += ["--out", str(tmp_path / "speed.json")]
    command = [sys.executable, "-m", "benchmarks.speed.step", *given]
    done = subprocess.run(command, cwd=harness.ROOT, capture_output=True, text=True, check=True)
    found = json.loads((tmp_path / "speed.json").read_text())["default"]
    assert found["nmnist"]["seconds"].keys() == {PLAIN, BARE, DPAP, REMOVED}
    assert all(len(times["train"]) == 1 for times in found["nmnist"]["seconds"].values())
    assert f"| {step.UNPRUNED} | conv-snn, N-MNIST |" in done.stdout
    assert f"| {step.FLOOR} | conv-snn, N-MNIST |" in done.stdout
    assert "GB/s" in done.stdout


def test_what_was_measured_is_not_measured_again(tmp_path: Path) -> None:
    figures = step.Figures(tmp_path / "figures.json")
    assert figures.once("default", "mnist", lambda: 1) == 1
    assert step.Figures(tmp_path / "figures.json").once("default", "mnist", lambda: 2) == 1
    assert figures.once("tuned", "mnist", lambda: 2) == 2


@pytest.mark.slow
def test_growth_is_drawn(tmp_path: Path) -> None:
    words = ["--quick", "--rounds", "1", "--threads", "1"]
    sweeps = {axis: harness.child("benchmarks.speed.measure", ["growth", axis, *words]) for axis in SWEEPS}
    assert [point["width"] for point in sweeps["width"]] == [0.5, 1]
    assert all(set(point["seconds"]) == {PLAIN, DPAP, REMOVED} for point in sweeps["steps"])
    step.draw(tmp_path / "new" / "growth.png", sweeps)
    assert (tmp_path / "new" / "growth.png").read_bytes().startswith(b"\x89PNG")
