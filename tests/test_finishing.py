"""Runs that a method ends: at its peak, with the network that it had there."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from snnprune.config.schema import MethodConfig
from snnprune.export import evaluation
from snnprune.runs import checkpoint
from snnprune.training import run
from support import tiny_run

if TYPE_CHECKING:
    from pathlib import Path

OPTIONS = {"train_epochs": 1, "patience": 1, "share": 0.5}


def config(compact_every: int | None) -> Any:
    made = tiny_run.config("bdnn-sp", epochs=9)
    return replace(made, method=MethodConfig("bdnn-sp", options=OPTIONS, compact_every=compact_every))


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("compact_every", [None, 1])
def test_a_run_ends_with_the_network_of_the_peak(tmp_path: Path, compact_every: int | None) -> None:
    summary = run.train(config(compact_every), tmp_path / "run", page=False)
    measured, peak = rows(tmp_path / "run"), summary["returned_to_epoch"]
    assert peak is not None
    assert peak < summary["epochs"] == len(measured) < 9
    assert summary["accuracy"] == float(measured[peak - 1]["test_accuracy"])
    assert summary["pruning_rate"] == float(measured[peak - 1]["pruned_synapses"])
    assert summary["weights_left"] == int(measured[peak - 1]["weights"])
    evaluated = evaluation.evaluate(tmp_path / "run")
    assert (evaluated["accuracy"], evaluated["epoch"]) == (summary["accuracy"], peak)
    saved = checkpoint.load(tmp_path / "run" / "checkpoints" / "last.ckpt")
    assert saved["callbacks"]["PruningCallback"]["pruner"]["returned_to"] == peak - 1


@pytest.mark.parametrize("compact_every", [None, 1])
def test_without_its_last_files_it_is_resumed_to_the_same_end(
    tmp_path: Path, compact_every: int | None
) -> None:
    first = run.train(config(compact_every), tmp_path / "run", page=False)
    table = (tmp_path / "run" / "metrics.csv").read_text()
    for name in ("summary.json", "metrics.csv", "model.safetensors"):
        (tmp_path / "run" / name).unlink()
    second = run.resume(tmp_path / "run", page=False)
    assert json.loads(json.dumps(second))["accuracy"] == first["accuracy"]
    assert second["neurons_left"] == first["neurons_left"]
    assert second["returned_to_epoch"] == first["returned_to_epoch"]
    assert (tmp_path / "run" / "metrics.csv").read_text() == table
