"""Answers and costs of a trained network compared with those of the compact one: operations and time.

Both are evaluated on the whole test set after training.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from snnprune.export.event_driven import event_driven
from snnprune.export.latency import per_recording, seconds
from snnprune.export.subject import Subject
from snnprune.network import discover
from snnprune.network.cost import rates
from snnprune.network.synops import ACCUMULATE_PJ, MAC_PJ, LayerOperations, Operations, SpikeCounter
from snnprune.nn.run_network import build_network
from snnprune.pruning.measures import CostModel

if TYPE_CHECKING:
    from torch import Tensor, nn

    from snnprune.config.schema import RunConfig
    from snnprune.data import Splits
    from snnprune.network.topology import Projection, Topology
    from snnprune.pruning import Pruner

ROUNDS = 7
"""Timed forwards of each network; their median is reported."""

STORED = CostModel("bytes")
"""Bytes of weights at 32 bits, as in the files of a run."""

WARM_UP = 2
"""Forwards before the timed ones: the first ones compile kernels and allocate memory."""


@dataclass(frozen=True)
class Measured:
    """Measurements of the final network.

    Attributes:
        labels: of the test samples, in the data set's order.
        answers: of the network as it was trained.
        summary: for summary.json: all repeats exactly, but "machine".
    """

    labels: list[int]
    answers: list[int]
    summary: dict[str, Any]


def measure(
    model: nn.Module, small: nn.Module, pruner: Pruner, splits: Splits, config: RunConfig
) -> Measured:
    """Evaluate the network as it was trained and the compact one on the test set.

    Args:
        model: the network as it was trained; it may have been cut during training.
        small: the compact network.
        pruner: of the network as it was trained.
        splits: the data.
        config: of the run.
    """
    trained = Subject.of("trained", model, config, splits)
    answers, labels, counted = _answers(trained, pruner.topology)
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
            "bytes": {
                "dense": STORED.dense(pruner.dense),
                "masked": pruner.cost(STORED),
                "compact": STORED.dense(topology),
            },
            "machine": _times(Subject.of("dense", dense, config, splits), trained, compact),
        },
    )


def _answers(subject: Subject, topology: Topology) -> tuple[list[int], list[int], SpikeCounter]:
    """Return the answer to each test sample, its label, and the counted inputs of each layer."""
    assert subject.model is not None
    with SpikeCounter(subject.model, topology) as counter:
        scores, labels = subject.answers()
    return scores.argmax(1).tolist(), labels.tolist(), counter


def _size(topology: Topology) -> dict[str, int]:
    """Return the number of weights of a network, zeros included, and its MACs per sample."""
    whole = rates(topology)
    return {"weights": whole.weights_dense, "macs": whole.macs_dense}


def alive(pruner: Pruner) -> dict[str, Tensor]:
    """Return which synapses of the current network are alive: bool, shape of the weight, by projection."""
    return {p.name: pruner.masks.alive(p) for p in pruner.topology.projections.values()}


def undone(counted: Operations, small: Topology, dense: Topology) -> Operations:
    """Return the operations of the same spikes at all synapses of the network before it was cut.

    The units that were cut were silent. So only the number of synapses that a spike reaches grows, in
    proportion to the units that it is sent to. An analogue layer multiplies at every synapse.

    Args:
        counted: over all synapses of the current network.
        small: the current network.
        dense: the network before the first cut.
    """
    layers = {}
    for name, layer in counted.layers.items():
        now, before = small.projections[name], dense.projections[name]
        layers[name] = LayerOperations(
            layer.synops * _fan_out(before) / _fan_out(now),
            layer.synops_by_events * _fan_out(before) / _fan_out(now),
            layer.macs * math.prod(before.shape) / math.prod(now.shape),
            layer.rate,
        )
    return Operations(layers)


def _fan_out(projection: Projection) -> int:
    """Return the number of units that a place of the input sends to, up to a factor that no cut changes."""
    other = projection.post not in {"", projection.name}
    own = projection.columns == 1 and not projection.inflow and other
    return 1 if own else projection.shape[0]  # a depthwise unit reads only its own channel


def _report(operations: dict[str, Operations]) -> dict[str, Any]:
    """Return the operations of one sample in plain numbers, for the summary."""
    first = operations["masked"]
    return {
        **{name: counted.synops for name, counted in operations.items()},
        "by_events": {name: counted.synops_by_events for name, counted in operations.items()},
        "macs": {name: counted.macs for name, counted in operations.items()},
        "energy_pj": {name: counted.energy() for name, counted in operations.items()},
        "constants_pj": {"mac": MAC_PJ, "accumulate": ACCUMULATE_PJ},
        "layers": {
            layer: {
                "rate": first.layers[layer].rate,
                **{name: counted.layers[layer].synops for name, counted in operations.items()},
                "by_events": {
                    name: counted.layers[layer].synops_by_events for name, counted in operations.items()
                },
                "macs": {name: counted.layers[layer].macs for name, counted in operations.items()},
            }
            for layer in first.layers
        },
    }


def _times(dense: Subject, trained: Subject, compact: Subject) -> dict[str, Any]:
    """Return the times of one batch in the dense and in the compact network, and of one recording."""
    encoded = compact.example(compact.config.train.batch_size)
    taken: dict[str, list[float]] = {"dense": [], "compact": []}
    for turn in range(WARM_UP + ROUNDS):
        for name, subject in (("dense", dense), ("compact", compact)):
            passed = seconds(subject, encoded)
            if turn >= WARM_UP:
                taken[name].append(passed)
    sides = {"dense": dense, "masked": trained, "compact": compact}
    events = event_driven(compact)
    if not isinstance(events, str):
        sides["event_driven"] = events
    return {
        "recording_ms": per_recording(sides),
        "inference_seconds": {name: round(statistics.median(times), 6) for name, times in taken.items()},
        "inference_batch": min(compact.config.train.batch_size, len(compact.splits.test)),
        "inference_rounds": ROUNDS,
        "threads": torch.get_num_threads(),
    }
