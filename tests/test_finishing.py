"""Runs that a method ends: at its peak, with the network that it had there."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from snnprune.config.schema import MethodConfig
from snnprune.export import evaluation
from snnprune.runs import checkpoint
from snnprune.training import run
from support import tiny_run

OPTIONS = {"train_epochs": 1, "patience": 1, "share": 0.5}


def config(compact_every: int | None) -> Any:
    made = tiny_run.config("bdnn-sp", epochs=9)
    return replace(made, method=MethodConfig("bdnn-sp", options=OPTIONS, compact_every=compact_every))


@pytest.fixture(scope="module", params=[None, 1])
def ended(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """Return a run with masks, and one that is cut while it trains: folder and summary."""
    out = tmp_path_factory.mktemp("ended") / "run"
    return out, run.train(config(request.param), out, page=False)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_ends_with_the_network_of_the_peak(ended: tuple[Path, Any]) -> None:
    out, summary = ended
    measured, peak = rows(out), summary["returned_to_epoch"]
    assert peak is not None
    assert peak < summary["epochs"] == len(measured) < 9
    assert summary["accuracy"] == float(measured[peak - 1]["test_accuracy"])
    assert summary["pruning_rate"] == float(measured[peak - 1]["pruned_synapses"])
    assert summary["weights_left"] == int(measured[peak - 1]["weights"])
    evaluated = evaluation.evaluate(out)
    assert (evaluated["accuracy"], evaluated["epoch"]) == (summary["accuracy"], peak)
    saved = checkpoint.load(out / "checkpoints" / "last.ckpt")
    assert saved["callbacks"]["PruningCallback"]["pruner"]["returned_to"] == peak - 1


def test_without_its_last_files_it_is_resumed_to_the_same_end(
    ended: tuple[Path, Any], tmp_path: Path
) -> None:
    whole, first = ended
    out = Path(shutil.copytree(whole, tmp_path / "run"))
    for name in ("summary.json", "metrics.csv", "model.safetensors"):
        (out / name).unlink()
    second = run.resume(out, page=False)
    assert second["accuracy"] == first["accuracy"]
    assert second["neurons_left"] == first["neurons_left"]
    assert second["returned_to_epoch"] == first["returned_to_epoch"]
    assert (out / "metrics.csv").read_text() == (whole / "metrics.csv").read_text()
