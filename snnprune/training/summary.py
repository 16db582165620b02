"""The numbers that a run ends with."""

from __future__ import annotations

import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import snnprune

if TYPE_CHECKING:
    from snnprune.config import RunConfig
    from snnprune.training.record import History

MEASURED_ON = {
    "accuracy": "test set, network of the last epoch, or of returned_to_epoch where a method has gone back to "
    "it, which is the one saved",
    "validation_accuracy": "validation set, the same network",
    "best_epoch": "first epoch with the highest accuracy on the validation set, counted from 1",
    "accuracy_at_best": "test set, network of best_epoch",
}


def summarise(config: RunConfig, history: History, device: str) -> dict[str, Any]:
    """Return what the summary of a finished run says of its training.

    Run again on the same machine, only ``seconds`` differs.
    """
    last, best, network = history.final(), history.best(), history.network
    return {
        "dataset": config.data.name,
        "model": config.model.name,
        "method": config.method.name,
        "seed": config.train.seed,
        "epochs": len(history.rows),
        "accuracy": last["test_accuracy"],
        "validation_accuracy": last["val_accuracy"],
        "best_epoch": int(best["epoch"]),
        "accuracy_at_best": best["test_accuracy"],
        "measured_on": MEASURED_ON,
        "target": None if config.method.name == "dense" else config.method.target,
        "pruning_rate": last["pruned_synapses"],
        "pruned_neurons": last["pruned_neurons"],
        **network,
        "returned_to_epoch": history.returned_to,
        "seconds": round(history.seconds(), 3),
        "device": device,
        "versions": versions(),
        "git_commit": git_commit(),
    }


def versions() -> dict[str, str]:
    """Return the versions of what decides a run's numbers."""
    packages = ("torch", "spikingjelly", "lightning", "tonic", "numpy")
    return {
        "python": platform.python_version(),
        "snnprune": snnprune.__version__,
        **{name: metadata.version(name) for name in packages},
    }


def git_commit() -> str | None:
    """Return the commit of the checkout that this package runs from, None for an installed package."""
    root, git = Path(snnprune.__file__).parents[1], shutil.which("git")
    if git is None or not (root / ".git").exists():
        return None
    asked = subprocess.run(  # noqa: S603 - fixed arguments
        [git, "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() or None
