"""The numbers that a run ends with."""

from __future__ import annotations

import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import snnprune
from snnprune.config.names import METHODS, options_of

if TYPE_CHECKING:
    from snnprune.config.schema import RunConfig
    from snnprune.training.callbacks.record import History

MEASURED_ON = {
    "accuracy": "test set, network of the last epoch, or of returned_to_epoch where a method went back to "
    "it, which is the one saved",
    "validation_accuracy": "validation set, the same network",
    "best_epoch": "first epoch with the highest accuracy on the validation set, counted from 1",
    "accuracy_at_best": "test set, network of best_epoch",
    "compact_answers_differ": "test samples that the compact network answers otherwise than the trained one",
    "compact": "the network that was saved, with the zeros that are left between living units; macs are of "
    "one sample over all its time steps, as macs_dense and macs_left are",
    "synops": "test set, average of a sample over all its time steps: spikes of the last epoch's network "
    "at all synapses of the dense network, at those alive, at those of the compact network; macs are of "
    "layers with analogue input; energy_pj is of the arithmetic alone",
    "seconds": "training, validation and test of all epochs",
    "inference_seconds": "median forward of one test batch; dense (freshly built) and compact take turns",
    "peak_memory_mb": "on a CPU resident memory of the process with its libraries, on a GPU what torch had "
    "allocated: the most while it trained, in 10^6 bytes, in the last session of a resumed run",
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
        "returned_to_epoch": history.returned_to,
        "accuracy": last["test_accuracy"],
        "validation_accuracy": last["val_accuracy"],
        "best_epoch": int(best["epoch"]),
        "accuracy_at_best": best["test_accuracy"],
        "measured_on": MEASURED_ON,
        "target": config.method.target
        if "target" in options_of(METHODS, "method", config.method.name)
        else None,
        "pruning_rate": last["pruned_synapses"],
        "pruned_neurons": last["pruned_neurons"],
        **network,
        "seconds": round(history.seconds(), 3),
        "device": device,
        "versions": versions(),
        "git_commit": git_commit(),
    }


NUMBERS = (
    "epochs",
    "accuracy",
    "best_epoch",
    "accuracy_at_best",
    "pruning_rate",
    "weights_dense",
    "weights_left",
    "macs_dense",
    "macs_left",
    "seconds",
)
"""Of a summary, without which no table can be made of it."""


def is_summary(read: Any) -> bool:
    """Whether what stands in a file is a summary that a table can be made of."""
    if not isinstance(read, dict) or not all(_is_number(read.get(key)) for key in NUMBERS):
        return False
    if not all(isinstance(read.get(key), str) for key in ("dataset", "model", "method")):
        return False
    if not (read.get("target", "") is None or _is_number(read.get("target"))):
        return False
    layers, neurons = read.get("layers"), read.get("neurons_left")
    if not isinstance(layers, dict) or not isinstance(neurons, dict):
        return False
    pairs = [(e.get("left"), e.get("dense")) if isinstance(e, dict) else () for e in layers.values()]
    pairs += [(read["weights_left"], read["weights_dense"]), (read["macs_left"], read["macs_dense"])]
    return all(_is_share(pair) for pair in pairs) and all(
        isinstance(counts, list) and len(counts) == 2 for counts in neurons.values()
    )


def _is_share(pair: tuple[Any, ...]) -> bool:
    """Whether a table can say how much of the second number the first one is."""
    return len(pair) == 2 and all(map(_is_number, pair)) and (pair[0] == pair[1] or pair[1] > 0)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and abs(value) < 1e18  # no NaN, and nothing that no float holds


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
