"""Records of runs that nobody trained: a network of two layers, 1000 weights, 10 test samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from snnprune.config.schema import DataConfig, MethodConfig, ModelConfig, RunConfig, TrainConfig
from snnprune.runs.epochs import Epoch
from snnprune.runs.predictions import Predictions
from snnprune.runs.reading import Run
from snnprune.runs.summary import Compact, Counts, Layer, LayerSynops, Machine, Summary, Synops

SAMPLES = 10
NONE = Counts(0.0, 0.0, 0.0)


def epoch(number: int, accuracy: float, pruned: float = 0.0, **changed: Any) -> Epoch:
    """A row of metrics.csv, with one accuracy on all sets."""
    values = {
        "epoch": number, "train_loss": 1.0 / number, "train_accuracy": accuracy, "val_accuracy": accuracy,
        "test_accuracy": accuracy, "pruned_synapses": pruned, "pruned_neurons": pruned / 2,
        "weights": round(1000 * (1 - pruned)), "macs": 50 * round(1000 * (1 - pruned)), "synops": 1e6,
        "seconds": 1.0,
    }  # fmt: skip
    return Epoch(**(values | changed))


def summary(**changed: Any) -> Summary:
    """What a run of three epochs ends with; keywords are its fields, and those beside them follow."""
    target = changed.get("target")
    left = round(1000 * (1 - (target or 0.0)))
    kinds = Counts(2e6, 2e3 * left, 1e3 * (1000 + left))
    energy = Counts(0.9 * kinds.dense, 0.9 * kinds.masked, 0.9 * kinds.compact)
    values = {
        "dataset": "stripes", "model": "net", "method": "dense", "seed": 0, "epochs": 3,
        "returned_to_epoch": None, "accuracy": 0.8, "validation_accuracy": 0.8, "best_epoch": 1,
        "accuracy_at_best": 0.8, "measured_on": {}, "target": None, "pruning_rate": target or 0.0,
        "pruned_neurons": 0.0, "weights_dense": 1000, "weights_left": left, "macs_dense": 50_000,
        "macs_left": 50 * left,
        "layers": {"conv": Layer(100, 100, 0.0), "fc": Layer(900, left - 100, target or 0.0)},
        "neurons_left": {"conv": (10, 10), "fc": (9, 9)}, "seconds": 10.0, "device": "cpu",
        "versions": {"snnprune": "0.1.0"}, "git_commit": None, "compact_answers_differ": 0,
        "compact": Compact((1000 + left) // 2, 25 * (1000 + left)),
        "synops": Synops(
            kinds.dense, kinds.masked, kinds.compact, NONE, energy, {"mac": 4.6, "accumulate": 0.9},
            {"fc": LayerSynops(kinds.dense, kinds.masked, kinds.compact, NONE, 0.1)},
        ),
        "machine": Machine({"dense": 0.02, "compact": 0.01}, 12, 7, 1, 300.0),
    }  # fmt: skip
    return Summary(**(values | changed))


def run(
    method: str = "dense",
    target: float | None = None,
    seed: int = 0,
    curve: tuple[float, ...] | list[float] = (0.2, 0.8, 0.8),
    *,
    right: int = 8,
    samples: int = SAMPLES,
    pruned: list[float] | None = None,
    **changed: Any,
) -> Run:
    """A run that answers the first ``right`` samples rightly; keywords are fields of its summary."""
    wanted = {
        "method": method, "target": target, "seed": seed, "epochs": len(curve), "accuracy": right / samples,
        "accuracy_at_best": right / samples,
    }  # fmt: skip
    shares = pruned or [target or 0.0] * len(curve)
    rows = [epoch(i, *values) for i, values in enumerate(zip(curve, shares, strict=True), 1)]
    labels = np.zeros(samples, dtype=np.int64)
    answers = np.array([0] * right + [1] * (samples - right))
    config = RunConfig(
        DataConfig(name="stripes"),
        ModelConfig(name="net"),
        MethodConfig(name=method, target=target),
        TrainConfig(seed=seed),
    )
    name = f"{method}-{target}-seed{seed}"
    return Run(Path(name), config, summary(**(wanted | changed)), rows, Predictions(labels, answers))
