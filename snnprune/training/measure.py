"""What a trained network answers, and what it costs: operations, time and memory.

Operations of every epoch are counted while its network is tested anyway (under 1 % of an epoch). Once
training has ended, the network as it was trained and the compact one answer the test set once more.
"""

# ruff: noqa: ARG002 - the methods' signatures are Lightning's
from __future__ import annotations

import contextlib
import math
import resource
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning
import torch

from snnprune.common import ranks
from snnprune.common.seeds import Stream
from snnprune.network import discover
from snnprune.network.cost import rates
from snnprune.network.synops import ACCUMULATE_PJ, MAC_PJ, LayerOperations, Operations, SpikeCounter
from snnprune.training import assembly
from snnprune.training.task import Task

if TYPE_CHECKING:
    from torch import Tensor, nn

    from snnprune.config.schema import RunConfig
    from snnprune.data import Splits
    from snnprune.network.topology import Projection, Topology
    from snnprune.pruning import Pruner
    from snnprune.training.callbacks.pruning import PruningCallback

TEST = 1
"""Which of the validation loop's loaders holds the test set."""

ROUNDS = 7
"""Timed forwards of each network; their median is reported."""

WARM_UP = 2
"""Forwards before those: kernels compile and memory is allocated in the first."""


class CountOperations(lightning.Callback):
    """Counts what the alive synapses of each epoch's network do on the test set.

    The number goes into ``pl_module.measured["synops"]``: operations of one sample, on average.

    Args:
        pruning: knows the network and who is alive.
    """

    def __init__(self, pruning: PruningCallback) -> None:
        self.pruning = pruning
        self._counter: SpikeCounter | None = None
        self._samples = 0

    def on_validation_batch_start(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Begin to count where the test set begins: the network may have been cut since the last time."""
        if dataloader_idx != TEST:
            return
        if batch_idx == 0:
            assert self.pruning.pruner is not None
            self._counter = SpikeCounter(self.pruning.pruner.model, self.pruning.pruner.topology)
            self._samples = 0
        self._samples += len(batch[1])

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: Task) -> None:  # type: ignore[override]
        """Publish the count."""
        assert self.pruning.pruner is not None
        synops = 0.0  # of a process that had no batch of the test set
        if self._counter is not None:
            synops = self._counter.operations(self._samples, alive(self.pruning.pruner)).synops
        if ranks.world_size() > 1:
            own = torch.tensor([synops * self._samples, self._samples], dtype=torch.float64)
            total, samples = ranks.summed([own])[0].tolist()
            synops = total / samples
        pl_module.measured["synops"] = synops
        self._close()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Take the hooks off the network."""
        self._close()

    def _close(self) -> None:
        if self._counter is not None:
            self._counter.close()
        self._counter, self._samples = None, 0


class PeakMemory:
    """The most memory that training held at once, from the making of this object on.

    On a GPU: what torch had allocated there. On a CPU: the resident memory of the process, its libraries
    included; where the system cannot start that count anew, from the beginning of the process.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
            return
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")

    def megabytes(self) -> float:
        """Return it, in units of 10^6 bytes."""
        if self.device == "cuda":
            return round(torch.cuda.max_memory_allocated() / 1e6, 1)
        try:
            status = Path("/proc/self/status").read_text(encoding="ascii")
            return round(int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6, 1)
        except (OSError, IndexError, ValueError):
            unit = 1 if sys.platform == "darwin" else 1024
            return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)


@dataclass(frozen=True)
class Measured:
    """What the final network does.

    Attributes:
        labels: of the test samples, in the data set's order.
        answers: of the network as it was trained.
        summary: for summary.json: "synops", repeatable to the digit, and "machine", which is not.
    """

    labels: list[int]
    answers: list[int]
    summary: dict[str, Any]


def measure(task: Task, small: nn.Module, pruner: Pruner, splits: Splits, config: RunConfig) -> Measured:
    """Let the network as it was trained and the compact one answer the test set.

    Args:
        task: holds the network as it was trained, which may have been cut meanwhile.
        small: the compact network.
        pruner: of the network as it was trained.
        splits: the data.
        config: of the run.
    """
    device = torch.device(assembly.device(config))
    trained, compact = task.to(device).eval(), Task(config, small).to(device).eval()
    frames = next(iter(assembly.loader(splits.test, config)))[0].to(device)
    answers, counted = _answers(trained, pruner.topology, splits, config)
    topology = discover(small, compact.encode(frames, Stream.TEST, 0))
    others, left = _answers(compact, topology, splits, config)
    samples = len(splits.test)
    operations = {
        "dense": undone(counted.operations(samples), pruner.topology, pruner.dense),
        "masked": counted.operations(samples, alive(pruner)),
        "compact": left.operations(samples),
    }
    return Measured(
        splits.test.labels.tolist(),
        answers,
        {
            "compact_answers_differ": sum(a != b for a, b in zip(answers, others, strict=True)),
            "compact": _size(topology),
            "synops": _report(operations),
            "machine": _times(compact, splits, config, frames),
        },
    )


def _size(topology: Topology) -> dict[str, int]:
    """Return the weights of a network, and its MACs a sample, whatever the weights are."""
    whole = rates(topology)
    return {"weights": whole.weights_dense, "macs": whole.macs_dense}


def alive(pruner: Pruner) -> dict[str, Tensor]:
    """Return which synapses of the network as it is are alive: bool, shape of the weight, by projection."""
    return {p.name: pruner.masks.alive(p) for p in pruner.topology.projections.values()}


def undone(counted: Operations, small: Topology, dense: Topology) -> Operations:
    """Return what the same spikes would do at all synapses of the network before it was cut.

    Units that are gone were silent, so what grows is the number of synapses that a spike reaches: in
    proportion to the units that it is sent to. An analogue layer multiplies for every synapse that it has.

    Args:
        counted: over all synapses of the network as it is.
        small: the network as it is.
        dense: the network before the first cut.
    """
    layers = {}
    for name, layer in counted.layers.items():
        now, before = small.projections[name], dense.projections[name]
        layers[name] = LayerOperations(
            layer.synops * _fan_out(before) / _fan_out(now),
            layer.macs * math.prod(before.shape) / math.prod(now.shape),
            layer.rate,
        )
    return Operations(layers)


def _fan_out(projection: Projection) -> int:
    """Return to how many units a place of the input sends, but for a factor that no cut changes."""
    own = projection.columns == 1 and not projection.inflow and projection.post != projection.name
    return 1 if own else projection.shape[0]  # a depthwise unit reads its own channel alone


def _answers(
    task: Task, topology: Topology, splits: Splits, config: RunConfig
) -> tuple[list[int], SpikeCounter]:
    """Return the answer to each test sample, with the noise of every other test, and the inputs counted."""
    device = next(task.model.parameters()).device
    answers: list[Tensor] = []
    with torch.inference_mode(), SpikeCounter(task.model, topology) as counter:
        for number, (frames, _) in enumerate(assembly.loader(splits.test, config)):
            answers.append(task(task.encode(frames.to(device), Stream.TEST, number)).argmax(1).cpu())
    task.reset()
    return torch.cat(answers).tolist(), counter


def _report(operations: dict[str, Operations]) -> dict[str, Any]:
    """Return operations of one sample in plain numbers, as they stand in the summary."""
    first = operations["masked"]
    return {
        **{name: counted.synops for name, counted in operations.items()},
        "macs": {name: counted.macs for name, counted in operations.items()},
        "energy_pj": {name: counted.energy() for name, counted in operations.items()},
        "constants_pj": {"mac": MAC_PJ, "accumulate": ACCUMULATE_PJ},
        "layers": {
            layer: {
                "rate": first.layers[layer].rate,
                **{name: counted.layers[layer].synops for name, counted in operations.items()},
                "macs": {name: counted.layers[layer].macs for name, counted in operations.items()},
            }
            for layer in first.layers
        },
    }


def _times(compact: Task, splits: Splits, config: RunConfig, frames: Tensor) -> dict[str, Any]:
    """Return what one batch takes the dense and the compact network, in turns."""
    dense = assembly.task(config, splits).to(frames.device).eval()
    taken: dict[str, list[float]] = {"dense": [], "compact": []}
    for turn in range(WARM_UP + ROUNDS):
        for name, task in (("dense", dense), ("compact", compact)):
            seconds = _forward(task, frames)
            if turn >= WARM_UP:
                taken[name].append(seconds)
    return {
        "inference_seconds": {name: round(statistics.median(times), 6) for name, times in taken.items()},
        "inference_batch": len(frames),
        "inference_rounds": ROUNDS,
        "threads": torch.get_num_threads(),
    }


def _forward(task: Task, frames: Tensor) -> float:
    with torch.inference_mode():
        encoded = task.encode(frames, Stream.TEST, 0)
        wait(frames)
        began = time.perf_counter()
        task(encoded)
        wait(frames)
    return time.perf_counter() - began


def wait(tensor: Tensor) -> None:
    """Let a GPU finish what it was asked, so that the clock sees it."""
    if tensor.device.type == "cuda":
        torch.cuda.synchronize()
