"""The benchmark of speed runs, and works out its figures as it says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from support.networks import conv_snn

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.append(str(BENCHMARKS))

import contest  # noqa: E402
import growth  # noqa: E402
import rows  # noqa: E402
import speed  # noqa: E402
from workloads import BARE, DPAP, PLAIN, REMOVED, WORKLOADS  # noqa: E402


def measured() -> dict:
    """What was measured where SpikingJelly takes 2, 4 and 6 seconds in three rounds, others a multiple."""
    shares = {PLAIN: 1.0, BARE: 0.38, DPAP: 0.4, REMOVED: 0.1}
    seconds = {name: {"train": [2 * s, 4 * s, 6 * s], "infer": [s, s, 9 * s]} for name, s in shares.items()}
    return {"seconds": seconds, "peak": {PLAIN: 100, DPAP: 45, REMOVED: 20}}


def test_figures_are_medians_of_the_ratios_within_a_round() -> None:
    assert contest.ratio([1, 2, 9], [2, 2, 3]) == 1.0  # of 0.5, 1, 3
    found = {
        (row.figure, row.workload): row.value(measured()) for row in rows.ROWS if row.workload == "mnist"
    }
    assert found[rows.UNPRUNED, "mnist"] == pytest.approx(0.4)
    assert found[rows.GONE, "mnist"] == pytest.approx(0.1)
    assert found[rows.SHARE, "mnist"] == pytest.approx(0.05)  # 0.02 of 0.40
    assert found[rows.LOOK, "mnist"] == pytest.approx(0.1)
    assert found[rows.PEAK, "mnist"] == pytest.approx(0.45)
    assert found[rows.FASTEST, "mnist"] is None  # SpikingJelly's fused surrogates run on a GPU


def test_the_table_says_what_was_missed() -> None:
    table = rows.table(
        {"default": {"mnist": measured()}, "tuned": {"mnist": measured()}}, ["default", "tuned"]
    )
    lines = [line for line in table.splitlines() if rows.UNPRUNED in line]
    assert lines == [f"| {rows.UNPRUNED} | conv-snn, MNIST | 0.400 (missed) | 0.32 | 0.400 | 0.40 |"]


def test_each_contender_has_one_turn_a_round_and_warming_up_is_not_counted() -> None:
    order = []

    class Counted(contest.Contender):
        def turn(self, what: str) -> None:
            order.append(self.name)
            self.seconds[what].append(len(order))

    x, y = torch.zeros(2, 1, 2, 12, 12), torch.zeros(1, 4)
    contenders = [Counted(name, conv_snn(), x, y) for name in "ab"]
    contest.compete(contenders, 3, ("train",))
    assert "".join(order) == "abba" + "abbaab"
    assert contenders[0].seconds["train"] == [5, 8, 9]


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
import sys, torch, memory
class Contender:
    x, y = torch.zeros(1, 2), torch.zeros(2, 1)
    def train(self):
        torch.ones(64 * 2**18 if self.x.shape[1] == 2 else 1)  # 64 MiB of floats with the whole batch
print(memory.peak(Contender()) / 2**20)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=BENCHMARKS, capture_output=True, text=True, check=True
    )
    assert 63 < float(done.stdout) < 72


def test_it_runs_on_tiny_shapes(tmp_path: Path) -> None:
    given = ["--quick", "--only", "nmnist", "--allocators", "default", "--rounds", "1", "--threads", "1"]
    given += ["--out", str(tmp_path / "speed.json")]
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "speed.py"), *given], capture_output=True, text=True, check=True
    )
    found = json.loads((tmp_path / "speed.json").read_text())["default"]
    assert found["nmnist"]["seconds"].keys() == {PLAIN, BARE, DPAP, REMOVED}
    assert all(len(times["train"]) == 1 for times in found["nmnist"]["seconds"].values())
    assert f"| {rows.UNPRUNED} | conv-snn, N-MNIST |" in done.stdout
    assert f"| {rows.FLOOR} | conv-snn, N-MNIST |" in done.stdout
    assert "GB/s" in done.stdout


def test_what_was_measured_is_not_measured_again(tmp_path: Path) -> None:
    figures = speed.Figures(tmp_path / "figures.json")
    assert figures.once("default", "mnist", lambda: 1) == 1
    assert speed.Figures(tmp_path / "figures.json").once("default", "mnist", lambda: 2) == 1
    assert figures.once("tuned", "mnist", lambda: 2) == 2


def test_growth_is_drawn(tmp_path: Path) -> None:
    sweeps = {axis: growth.sweep(axis, 1, "cpu", quick=True) for axis in growth.SWEEPS}
    assert [point["width"] for point in sweeps["width"]] == [0.5, 1]
    assert all(set(point["seconds"]) == {PLAIN, DPAP, REMOVED} for point in sweeps["steps"])
    growth.draw(tmp_path / "new" / "growth.png", sweeps)
    assert (tmp_path / "new" / "growth.png").read_bytes().startswith(b"\x89PNG")
