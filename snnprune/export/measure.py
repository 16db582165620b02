"""What a trained network answers and costs beside the compact one: operations and time.

Once training has ended, both answer the whole test set.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from snnprune.export.latency import seconds
from snnprune.export.subject import Subject
from snnprune.network import discover
from snnprune.network.cost import rates
from snnprune.network.synops import ACCUMULATE_PJ, MAC_PJ, LayerOperations, Operations, SpikeCounter
from snnprune.nn.run_network import build_network

if TYPE_CHECKING:
    from torch import Tensor, nn

    from snnprune.config.schema import RunConfig
    from snnprune.data import Splits
    from snnprune.network.topology import Projection, Topology
    from snnprune.pruning import Pruner

ROUNDS = 7
"""Timed forwards of each network; their median is reported."""

WARM_UP = 2
"""Forwards before those: kernels compile and memory is allocated in the first."""


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


def measure(
    model: nn.Module, small: nn.Module, pruner: Pruner, splits: Splits, config: RunConfig
) -> Measured:
    """Let the network as it was trained and the compact one answer the test set.

    Args:
        model: the network as it was trained, which may have been cut meanwhile.
        small: the compact network.
        pruner: of the network as it was trained.
        splits: the data.
        config: of the run.
    """
    answers, labels, counted = _answers(Subject.of("trained", model, config, splits), pruner.topology)
    compact = Subject.of("compact", small, config, splits)
    topology = discover(small, compact.example())
    others, _, left = _answers(compact, topology)
    dense = build_network(config, splits.shape, len(splits.classes))
    samples = len(labels)
    operations = {
        "dense": undone(counted.operations(samples), pruner.topology, pruner.dense),
        "masked": counted.operations(samples, alive(pruner)),
        "compact": left.operations(samples),
    }
    return Measured(
        labels,
        answers,
        {
            "compact_answers_differ": sum(a != b for a, b in zip(answers, others, strict=True)),
            "compact": _size(topology),
            "synops": _report(operations),
            "machine": _times(Subject.of("dense", dense, config, splits), compact),
        },
    )


def _answers(subject: Subject, topology: Topology) -> tuple[list[int], list[int], SpikeCounter]:
    """Return the answer to each test sample, its label, and what came into each layer."""
    assert subject.model is not None
    with SpikeCounter(subject.model, topology) as counter:
        scores, labels = subject.answers()
    return scores.argmax(1).tolist(), labels.tolist(), counter


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


def _times(dense: Subject, compact: Subject) -> dict[str, Any]:
    """Return what one batch takes the dense and the compact network, in turns."""
    encoded = compact.example(compact.config.train.batch_size)
    taken: dict[str, list[float]] = {"dense": [], "compact": []}
    for turn in range(WARM_UP + ROUNDS):
        for name, subject in (("dense", dense), ("compact", compact)):
            passed = seconds(subject, encoded)
            if turn >= WARM_UP:
                taken[name].append(passed)
    return {
        "inference_seconds": {name: round(statistics.median(times), 6) for name, times in taken.items()},
        "inference_batch": min(compact.config.train.batch_size, len(compact.splits.test)),
        "inference_rounds": ROUNDS,
        "threads": torch.get_num_threads(),
    }
