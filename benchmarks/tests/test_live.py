"""Live compaction beside masks alone: the benchmark trains both, and prints what follows from their masks."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import torch

from benchmarks.compaction import live
from benchmarks.harness import ROOT
from support.recordings import write_nmnist

if TYPE_CHECKING:
    from pathlib import Path


def benchmark(*arguments: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name != "SNNPRUNE_DATA"}
    clean["OMP_WAIT_POLICY"] = (
        "passive"  # two threads that wait by spinning would starve each other in a test run
    )
    command = [sys.executable, "-m", "benchmarks.compaction.live", "--quick", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=clean)


@pytest.mark.slow
@pytest.mark.parametrize(("network", "masks"), [("conv-snn", 8), ("sew_resnet18", 34)])
def test_both_are_trained_and_decide_alike_in_float64(network: str, masks: int, tmp_path: Path) -> None:
    done = benchmark("--only", network, "--root", str(write_nmnist(tmp_path)))
    assert done.returncode == 0, done.stderr
    rows = [line.split(" | ") for line in done.stdout.splitlines()]
    (row,) = (row for row in rows if row[0] == f"| {network}")
    assert row[-1] == f"{masks} of {masks}, after 3 epochs |"
    left, dense = (int(number.replace(",", "")) for number in row[2].split(" of "))
    assert left < dense


def test_without_recordings_it_says_so(tmp_path: Path) -> None:
    done = benchmark("--root", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("live: N-MNIST")
    assert "Traceback" not in done.stderr


def test_agreement_is_the_share_of_equal_entries() -> None:
    def masks(units: list[int], synapses: list[list[int]]) -> live.Masks:
        return {"units": {"a": torch.tensor(units).bool()}, "synapses": {"a": torch.tensor(synapses).bool()}}

    one, other = masks([1, 1, 0, 0], [[1, 0], [0, 0]]), masks([1, 0, 1, 0], [[1, 0], [1, 0]])
    assert live.agreement(one, other) == {"units of a": 0.5, "synapses of a": 0.75}
    assert live.agreement(one, one) == {"units of a": 1.0, "synapses of a": 1.0}


def test_an_epoch_takes_its_median_batch_as_often_as_it_has_batches() -> None:
    assert live.epoch_seconds([1.0, 2.0, 9.0], 0.5) == 6.5
    assert live.epoch_seconds([4.0], 0.25) == 4.25
