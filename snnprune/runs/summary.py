"""The final numbers of a run: summary.json."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snnprune.common import document
from snnprune.common.version import __version__
from snnprune.config.names import METHODS, options_of
from snnprune.runs.size import Layer, Size
from snnprune.runs.typed import Record, read_file, typed

if TYPE_CHECKING:
    from snnprune.config.schema import RunConfig
    from snnprune.runs.epochs import History

MEASURED_ON = {
    "accuracy": "test set, network of the last epoch, or of returned_to_epoch if the method went back to it; "
    "this network is saved",
    "validation_accuracy": "validation set, the same network",
    "best_epoch": "first epoch with the highest accuracy on the validation set, counted from 1",
    "accuracy_at_best": "test set, network of best_epoch",
    "pruned_at_best": "share of all weights that were pruned in best_epoch",
    "targets": "every target by its measure, where there is another than of weights: shares of the dense "
    "network; of synops, energy and latency in the first training batch of the last epoch, against the last "
    "epoch in which nothing was pruned",
    "compact_answers_differ": "number of test samples for which the compact and the trained network predict "
    "different classes",
    "compact": "the saved network, with the zeros of pruned synapses between surviving units; macs are of "
    "one sample over all its time steps, as macs_dense and macs_left are",
    "synops": "test set, average of a sample over all its time steps: spikes of the last epoch's network "
    "at all synapses of the dense network, at those not pruned, at those of the compact network, once for "
    "each cell (pixel, polarity, time step) with events; by_events once for each event, which differs in "
    "layers that read the recordings; macs are of layers with analogue input; energy_pj is of the arithmetic "
    "alone, by cells",
    "bytes": "weights at 32 bits, each layer as the smallest of a dense block between units that are left, "
    "of its synapses with a bit map, and of its synapses with an index each: of the dense network, of what "
    "is not pruned, and of the compact network",
    "seconds": "training, validation and test of all epochs",
    "inference_seconds": "median forward of one test batch; dense (freshly built) and compact take turns",
    "recording_ms": "median of one test sample at a time, on one thread, in turns: dense (freshly built), "
    "masked (as trained, with the zeros of what was pruned), compact, and event_driven (the compact network, "
    "computed where spikes arrive)",
    "peak_memory_mb": "peak during training in 10^6 bytes, of the last session of a resumed run: on a CPU "
    "resident memory of the process with its libraries, on a GPU memory that torch allocated",
}

SIDES = {
    "dense": "dense",
    "masked": "as trained, with zeros",
    "compact": "compact",
    "event_driven": "event-driven",
}
"""Networks that are timed side by side (``recording_ms``), and what tables call them."""

BY_EVENTS = (
    "SynOps count a cell (pixel, polarity, time step) with several events once, as hardware that is fed "
    "frames does; by events, they count each event, as hardware that is fed events one by one does."
)
"""What the two numbers of operations mean, for a reader of a table."""

SHARES = (
    "accuracy", "validation_accuracy", "accuracy_at_best", "target", "pruning_rate", "pruned_neurons",
    "pruned_at_best",
)  # fmt: skip
"""Fields of a summary that lie in [0, 1]."""


@dataclass(frozen=True)
class Compact(Record):
    """Weights and MACs a sample of the compact network."""

    weights: int
    macs: int


@dataclass(frozen=True)
class Counts(Record):
    """A number for all synapses of the dense network, for those not pruned, and for the compact network."""

    dense: float
    masked: float
    compact: float


@dataclass(frozen=True)
class LayerSynops(Counts):
    """Synaptic operations at one layer, its MACs if its input is analogue, and its input's rate.

    ``by_events`` is None in runs of versions that did not count it.
    """

    macs: Counts
    rate: float
    by_events: Counts | None = None


@dataclass(frozen=True)
class Synops(Counts):
    """Synaptic operations of one test sample; MACs of layers with analogue input; energy in picojoules.

    The operations are by cells, and those of ``by_events`` by events (`snnprune.network.synops`). It is None
    in runs of versions that did not count it.
    """

    macs: Counts
    energy_pj: Counts
    constants_pj: dict[str, float]
    layers: dict[str, LayerSynops]
    by_events: Counts | None = None


@dataclass(frozen=True)
class Aim(Record):
    """A target: the share that was asked for, and the one that was pruned; None where it was not measured."""

    asked: float
    pruned: float | None


@dataclass(frozen=True)
class Machine(Record):
    """What depends on the machine: seconds of a batch, milliseconds of a recording, memory in 10^6 bytes.

    ``recording_ms`` is None in runs of versions that did not measure it.
    """

    inference_seconds: dict[str, float]
    inference_batch: int
    inference_rounds: int
    threads: int
    peak_memory_mb: float
    recording_ms: dict[str, float] | None = None

    def __post_init__(self) -> None:
        for kind in ("dense", "compact"):
            if kind not in self.inference_seconds:
                raise ValueError(f"'machine.inference_seconds.{kind}' is missing")


@dataclass(frozen=True)
class Summary(Record):
    """The keys of summary.json, in their order. Shares are in [0, 1]; `MEASURED_ON` explains the numbers.

    The fields from ``weights_dense`` to ``neurons_left`` are those of `Size`. ``targets`` are by measure;
    None where weights are the only one, or none. ``bytes`` and ``pruned_at_best`` are None in runs of
    versions that did not count them.
    """

    dataset: str
    model: str
    method: str
    seed: int
    epochs: int
    returned_to_epoch: int | None
    accuracy: float
    validation_accuracy: float
    best_epoch: int
    accuracy_at_best: float
    measured_on: dict[str, str]
    target: float | None
    pruning_rate: float
    pruned_neurons: float
    weights_dense: int
    weights_left: int
    macs_dense: int
    macs_left: int
    layers: dict[str, Layer]
    neurons_left: dict[str, tuple[int, int]]
    seconds: float
    device: str
    versions: dict[str, str]
    git_commit: str | None
    compact_answers_differ: int
    compact: Compact
    synops: Synops
    machine: Machine
    targets: dict[str, Aim] | None = None
    bytes: Counts | None = None
    pruned_at_best: float | None = None

    def __post_init__(self) -> None:
        for name in SHARES:
            if not 0 <= (getattr(self, name) or 0.0) <= 1:
                raise ValueError(f"'{name}' must be between 0 and 1, and is {getattr(self, name)}")
        Size(**{name: getattr(self, name) for name in Size.__dataclass_fields__})
        if not 1 <= (self.returned_to_epoch or 1) <= self.epochs or not 1 <= self.best_epoch <= self.epochs:
            raise ValueError(f"it names an epoch that is none of {self.epochs}")

    @property
    def prunes(self) -> bool:
        """Whether anything was pruned."""
        return self.weights_left < self.weights_dense

    @property
    def final_epoch(self) -> int:
        """Epoch, from 1, of the network that the run ended with."""
        return self.returned_to_epoch or self.epochs

    def json(self) -> str:
        """Return the text of summary.json."""
        return json.dumps(asdict(self, dict_factory=_written), indent=2) + "\n"


def _written(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the fields of a record without those that its version did not count."""
    later = ("by_events", "recording_ms", "targets", "bytes", "pruned_at_best")
    return {name: value for name, value in fields if name not in later or value is not None}


def read_summary(file: Path) -> Summary:
    """Read a summary.json.

    Raises:
        UserError: it is not there, or damaged.
    """
    return read_file(file, lambda text: typed(Summary, document.parse_json(text)))


def summarise(config: RunConfig, history: History, device: str, measured: dict[str, Any]) -> Summary:
    """Return the summary of a finished run.

    If the run is repeated on the same machine, only ``seconds``, ``machine`` and ``git_commit`` may differ.

    Args:
        config: the configuration of the run.
        history: its epochs.
        device: the device that it was trained on.
        measured: measurements of its final network: the fields from ``compact_answers_differ`` on.
    """
    last, best = history.final(), history.best()
    assert history.network is not None
    return typed(
        Summary,
        {
            "dataset": config.data.name,
            "model": config.model.name,
            "method": config.method.name,
            "seed": config.train.seed,
            "epochs": len(history.rows),
            "returned_to_epoch": history.returned_to,
            "accuracy": last.test_accuracy,
            "validation_accuracy": last.val_accuracy,
            "best_epoch": best.epoch,
            "accuracy_at_best": best.test_accuracy,
            "pruned_at_best": best.pruned_synapses,
            "measured_on": MEASURED_ON,
            "target": config.method.target
            if "target" in options_of(METHODS, "method", config.method.name)
            else None,
            "pruning_rate": last.pruned_synapses,
            "pruned_neurons": last.pruned_neurons,
            **asdict(history.network),
            "seconds": round(history.seconds(), 3),
            "device": device,
            "versions": versions(),
            "git_commit": git_commit(),
        }
        | measured,
    )


def versions() -> dict[str, str]:
    """Return the versions of the packages that determine a run's numbers."""
    packages = ("torch", "spikingjelly", "lightning", "tonic", "numpy")
    return {
        "python": platform.python_version(),
        "snnprune": __version__,
        **{name: metadata.version(name) for name in packages},
    }


def git_commit() -> str | None:
    """Return the commit of the checkout that this package runs from, None for an installed package."""
    root, git = Path(__file__).parents[2], shutil.which("git")
    if git is None or not (root / ".git").exists():
        return None
    asked = subprocess.run(  # noqa: S603 - fixed arguments
        [git, "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() or None
