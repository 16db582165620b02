"""A whole training, data and measurements included: DPAP with live compaction beside SpikingJelly, dense."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

DENSE, PRUNED = "SpikingJelly, dense", "fused, DPAP, live compaction"
OPTIONS = {
    DENSE: ("--method.name", "dense", "--model.accelerate", "false"),
    PRUNED: ("--method.name", "dpap", "--method.target", "0.6", "--method.structured", "0.6"),
}
KEPT = ("seconds", "accuracy", "pruning_rate", "weights_left", "epochs", "dataset")


def train(name: str, epochs: int, environment: dict[str, str], folder: Path) -> dict[str, Any]:
    """Train one of `OPTIONS` on N-MNIST, in a process of its own; return what it took and what it reached."""
    given = ["--data.name", "nmnist", "--train.epochs", str(epochs), "--train.twin", "false"]
    command = [sys.executable, "-m", "snnprune", "train", *given, *OPTIONS[name], "--out", str(folder)]
    begun = time.perf_counter()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - begun
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    return {"wall": wall, **{key: summary[key] for key in KEPT}}


def compete(epochs: int, repeats: int, environment: dict[str, str]) -> dict[str, list[dict[str, Any]]]:
    """Train both ``repeats`` times, each time the other one first."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in OPTIONS}
    for number in range(repeats):
        for name in reversed(OPTIONS) if number % 2 else OPTIONS:
            with TemporaryDirectory() as folder:
                runs[name].append(train(name, epochs, environment, Path(folder) / "run"))
    return runs
