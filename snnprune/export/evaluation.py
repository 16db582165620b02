"""Evaluate a trained network, from any of its files, on a data set: answers, operations, latency, bits."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rich.console import Console

from snnprune.common import atomic
from snnprune.common.console import say
from snnprune.common.errors import UserError
from snnprune.export import connections, engine_run, event_driven, neurobench_report, nir_file
from snnprune.export.comparison import RoundTrip, spiking_run
from snnprune.export.finding import find
from snnprune.export.latency import BATCHES, latency, per_recording
from snnprune.export.quantisation import quantise
from snnprune.export.subject import Subject
from snnprune.network import discover
from snnprune.network.synops import SpikeCounter
from snnprune.network.weights import synapses_of
from snnprune.nn.losses import loss_of
from snnprune.nn.run_network import accelerated, build_network
from snnprune.nn.scores import scores_of
from snnprune.runs.folder import RunFolder
from snnprune.runs.summary import SIDES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from snnprune.data import Splits

Result = dict[str, Any]

COMPARED = 500
"""Most recordings that the event-driven network answers, beside the network that is measured."""

WIDEST = 20
"""Most classes of a confusion matrix that is shown in a terminal."""


def evaluate(
    path: Path,
    data: Mapping[str, Any] | None = None,
    *,
    bits: int | None = None,
    device: str | None = None,
    dt: float | None = None,
    neurobench: bool = False,
    out: Path | None = None,
    splits: Splits | None = None,
) -> Result:
    """Measure a network on the test set of a data set, print the result, and return it.

    Args:
        path: folder of a run (the network as it was trained), a compact network (.safetensors), or an export
            (.onnx, .nir, or a list of connections, which the event-driven network computes).
        data: settings of `DataConfig` that replace those of the run, such as its root.
        bits: measure the compact network with weights of this many bits, compared with itself.
        device: "cpu", "cuda" or "auto", in place of that of the run.
        dt: seconds of a time step in a NIR file; by default what the file says.
        neurobench: add NeuroBench's report, from that package.
        out: a JSON file for the result.
        splits: the data, if they were made by hand; ``data`` then says how they are encoded.

    Raises:
        UserError: no network at ``path``, data that cannot be read or do not fit, or a network that cannot be
            rounded.
    """
    subject = find(path, data or {}, device, compact=bits is not None, splits=splits, dt=dt)
    result = {
        "network": str(path),
        "dataset": subject.config.data.name,
        "split": "test",
        "samples": len(subject.splits.test),
        "epoch": subject.epoch,
        **(_answers(subject) if bits is None else _quantised(subject, bits)),
    }
    if bits is None and subject.model is not None:
        result |= _beside(subject, path)
    if neurobench:
        result["neurobench"] = neurobench_report.report(subject)
    if out is not None:
        atomic.write_text(out, json.dumps(result, indent=2) + "\n")
    say(Console(), described(result, subject.splits.classes))
    return result


def _answers(subject: Subject) -> Result:
    """Evaluate the network, and count and time its operations."""
    with _counter(subject) or nullcontext() as counter:
        scores, labels = subject.answers()
    return {
        **_hits(scores.argmax(1), labels, len(subject.splits.classes)),
        "loss": _loss(subject, scores, labels),
        "operations": _operations(subject, counter),
        "latency": latency(subject),
    }


def _beside(subject: Subject, path: Path) -> Result:
    """Time a recording in the dense, the trained, the compact and the event-driven network, and compare."""
    splits, sides = subject.splits, {}
    if path.is_dir():
        dense = build_network(subject.config, splits.shape, len(splits.classes))
        sides = {"dense": Subject.of("dense", dense, subject.config, splits), "masked": subject}
        if not RunFolder(path).network.is_file():
            return {"recording_ms": per_recording(sides)}
        subject = find(path, asdict(subject.config.data), subject.device.type, compact=True, splits=splits)
    events = event_driven.event_driven(subject)
    if subject.model is not None:
        accelerated(subject.model, subject.config)
    sides["compact"] = subject
    if isinstance(events, str):
        return {"recording_ms": per_recording(sides), "event_driven": {"none": events}}
    samples = differ = 0
    with torch.inference_mode():
        for encoded, _ in subject.batches():
            part = encoded[:, : COMPARED - samples]
            differ += int((subject.scores(part).argmax(1).cpu() != events.scores(part).argmax(1)).sum())
            samples += part.shape[1]
            if samples >= COMPARED:
                break
    compared = {"samples": samples, "answers_differ": differ}
    return {"recording_ms": per_recording(sides | {"event_driven": events}), "event_driven": compared}


def _loss(subject: Subject, scores: Tensor, labels: Tensor) -> float | None:
    """Return the value of the loss that the network was trained with, None if its file does not name it."""
    chosen = subject.config.train.loss
    if chosen == "auto" and subject.model is None:
        return None
    return float(loss_of(chosen, subject.model)(scores.double(), labels))


def _hits(answers: Tensor, labels: Tensor, classes: int) -> Result:
    """Return the accuracy and the confusion matrix (rows: true class, columns: predicted)."""
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (labels.numpy(), answers.numpy()), 1)
    return {"accuracy": float(np.trace(counts)) / max(len(labels), 1), "confusion": counts.tolist()}


def _counter(subject: Subject) -> SpikeCounter | None:
    """Begin to count operations. Return None for an ONNX file, whose graph counts them."""
    if subject.model is not None:
        return SpikeCounter(subject.model, discover(subject.model, subject.example()))
    if subject.imported is not None:
        topology = discover(subject.imported, subject.example())
        return SpikeCounter(subject.imported, topology, nir_file.wrappers(subject.imported))
    return None


def _operations(subject: Subject, counter: SpikeCounter | None) -> Result | None:
    """Return the operations of one sample at alive synapses. MACs are those of analogue layers only."""
    samples = len(subject.splits.test)
    if counter is None:
        return None if subject.counting is None else dict(subject.counting.operations(samples))
    alive = {name: synapses_of(counter.model.get_submodule(name)) for name in counter.topology.projections}
    counted = counter.operations(samples, alive)
    return {
        "synops": counted.synops,
        "synops_by_events": counted.synops_by_events,
        "macs": counted.macs,
    }


def _quantised(subject: Subject, bits: int) -> Result:
    """Compare the network with its copy rounded to ``bits`` bits, over the whole test set."""
    if subject.model is None or not subject.spiking:
        raise UserError(
            f"--bits needs a spiking network in the folder of a run or in its model.safetensors, and "
            f"{subject.name} is none: a list of connections and an export have bits of their own"
        )
    grid = quantise(subject.model, subject.example(), bits)
    engine = event_driven.engine_of_grid(grid)
    mine = spiking_run(subject.model)
    other = spiking_run(grid.model, grid.neurons) if engine is None else engine_run.spiking_run(engine)
    over_time = subject.config.train.over_time
    sizes = [len(connections.content(n, subject.example(1), **subject.kept())) for n in (subject.model, grid)]
    found, answers, labels, floats = RoundTrip(over_time), [], [], 0
    with torch.inference_mode():
        for encoded, wanted in subject.batches():
            one, two = mine(encoded), other(encoded)
            found.add(one, two)
            answers.append(scores_of(two[0], over_time).argmax(1).cpu())
            labels.append(wanted)
            floats += int((scores_of(one[0], over_time).argmax(1).cpu() == wanted).sum())
    return {
        "bits": bits,
        **_hits(torch.cat(answers), torch.cat(labels), len(subject.splits.classes)),
        "accuracy_of_floats": floats / max(found.samples, 1),
        "beside_floats": found.report(),
        "bytes": {"connections_float32": sizes[0], "connections": sizes[1]},
    }


def described(result: Result, classes: tuple[str, ...]) -> str:
    """Return a result as text for a terminal."""
    after = "" if result["epoch"] is None else f", after epoch {result['epoch']}"
    bits = f", {result['bits']} bits" if "bits" in result else ""
    loss = "" if result.get("loss") is None else f", loss {result['loss']:.4f}"
    lines = [
        f"{result['network']}{after}{bits}: test accuracy {result['accuracy']:.2%} on "
        f"{result['samples']} samples of {result['dataset']}{loss}"
    ]
    if "bits" in result:
        beside, sizes = result["beside_floats"], result["bytes"]
        lines += [
            f"with floats {result['accuracy_of_floats']:.2%}; {beside['answers_differ']} answers differ, "
            f"{beside['spike_flips']:,} spikes flip beside {beside['spikes']:,}",
            f"as a list of connections {sizes['connections']:,} bytes, {sizes['connections_float32']:,} with "
            f"floats (`snnprune export --to csr --bits {result['bits']}` writes it)",
        ]
    if result.get("operations"):
        lines.append(_counts(**result["operations"]))
    if "latency" in result:
        lines += [_timing(result["latency"], size) for size in BATCHES]
    if "recording_ms" in result:
        lines.append(_side_by_side(result["recording_ms"], result.get("event_driven")))
    if "neurobench" in result:
        lines += ["", "NeuroBench:", json.dumps(result["neurobench"], indent=4)]
    if len(classes) <= WIDEST:
        lines += ["", *_table(result["confusion"], classes)]
    return "\n".join(lines)


def _counts(synops: float, synops_by_events: float, macs: float) -> str:
    several = "" if synops_by_events == synops else f" ({synops_by_events:,.0f} by events)"
    return (
        f"{synops:,.0f} SynOps{several} and {macs:,.0f} analogue MACs a sample (of layers that read spikes, "
        "and of those that read other numbers)"
    )


def _timing(latencies: Result, size: int) -> str:
    taken = latencies[f"batch_{size}"]
    return (
        f"batch {size}: median {taken['median_ms']:.2f} ms, 99th percentile {taken['p99_ms']:.2f} ms, of "
        f"{taken['rounds']} rounds on {latencies['device']}, {latencies['threads']} threads"
    )


def _side_by_side(taken: Result, compared: Result | None) -> str:
    times = ", ".join(f"{SIDES[name]} {milliseconds:.2f} ms" for name, milliseconds in taken.items())
    line = f"one recording on one thread, by network: {times}"
    if compared is None:
        return line
    if "none" in compared:
        return f"{line}; no event-driven network: {compared['none']}"
    return (
        f"{line}; compact and event-driven differ in {compared['answers_differ']} of "
        f"{compared['samples']} answers"
    )


def _table(counts: list[list[int]], classes: tuple[str, ...]) -> list[str]:
    """Return the confusion matrix in lines of text."""
    names = [name[:12] for name in classes]
    width = max(len(text) for text in (*names, *(str(n) for row in counts for n in row)))
    head = " " * width + "".join(f"  {name:>{width}}" for name in names)
    rows = [
        f"{name:>{width}}" + "".join(f"  {count:>{width}}" for count in row)
        for name, row in zip(names, counts, strict=True)
    ]
    return ["confusion matrix (rows: true class, columns: predicted):", head, *rows]
