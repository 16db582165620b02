"""How fast trained networks answer: SpikingJelly, fused layers, other tools, the engine and its C.

    python -m benchmarks.engine.table --runs FOLDER --out engine.json [--only nmnist] [--networks dense]

Networks are trained once, in FOLDER: conv-snn on recordings of N-MNIST (simulated ones where it is not
there), and vgg-snn on a few images of CIFAR-10, whole and with 60 to 95 % of their weights pruned by DPAP and
by magnitude. Each network is measured at each setting (batch and threads) in a process of its own, where all
sides take turns on the same test recordings; ratios are within a round to SpikingJelly's whole network. Each
side's outputs are compared with the engine's. What is in the file of --out is not measured again.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks import harness
from benchmarks.engine.networks import TARGETS, TASKS, Trained, trained
from benchmarks.engine.others import OTHERS
from benchmarks.engine.sides import BASELINE, CHOSEN, OURS, AbsentError, Case, Side
from benchmarks.memory.peak import grown
from snnprune.common import atomic
from snnprune.nn import models
from support.markdown import table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Sequence

    import numpy.typing as npt
    from torch import Tensor

    Array = npt.NDArray[Any]

ROUNDS = 15

AT_ONCE = {"nmnist": 16, "cifar10": 2}
"""Answers of a turn at batch 1."""

COMPARED = {"nmnist": 100, "cifar10": 16}
"""Recordings whose answers are compared."""

SIDES: dict[str, type[Side]] = {**OURS, **OTHERS}
SLOW = ("torch.compile",)
"""Compiles for minutes: competes for some networks only."""

SHOWN = ("nmnist/dense", "nmnist/dpap-90")
"""Networks for what takes long: torch.compile, and memory."""

NETWORKS = ("dense", *(f"{method}-{100 * t:.0f}" for method in ("dpap", "magnitude") for t in TARGETS))
SETTINGS = {"nmnist": ("1x1", "1x2", "64x2"), "cifar10": ("1x1", "1x2")}
"""Batch x threads. A batch of 64 images of vgg-snn takes SpikingJelly seconds: ask for it with --settings."""

MEMORY = ("1x1", "64x2")
"""Settings in which memory is measured."""

REMEMBERING = (BASELINE, "fused", CHOSEN)
"""Sides whose memory is measured, each in a process of its own."""

PACKAGES = (
    "torch", "spikingjelly", "numpy", "numba", "onnxruntime", "openvino", "qualia-codegen-core",
    "qualia-codegen-plugin-snn",
)  # fmt: skip


# --- in a process of its own


def measure(network: Trained, whole: Trained, batch: int, given: argparse.Namespace) -> dict[str, Any]:
    """Let all sides take turns, and compare what they answer."""
    task = network.task.name
    frames, labels = recordings(network, max(batch, 4 if given.quick else COMPARED[task]))
    count = frames.shape[1] // batch * batch
    shots = [frames[:, i : i + batch].contiguous() for i in range(0, count, batch)]
    case = Case(_model(whole), _model(network), shots[0], torch.get_num_threads())
    sides, absent, seconds = _built(case, f"{task}/{network.folder.name}", given)
    at_once = min(AT_ONCE[task], len(shots)) if batch == 1 else 1
    turns = {name: _turn(side, shots[:at_once]) for name, side in sides.items()}
    took = harness.take_turns(turns, given.rounds, settled=True)
    outputs = {name: _outputs(side, shots) for name, side in sides.items() if "dense" not in name}
    engine = outputs[CHOSEN]
    chosen: Any = sides[CHOSEN]
    return {
        "seconds": {name: [t / (at_once * batch) for t in each.times] for name, each in took.items()},
        "absent": absent,
        "building": seconds,
        "differ": {name: differing(each, engine) for name, each in outputs.items()},
        "spikes": float(engine.sum()),
        "answers": count,
        "accuracy": float((engine.sum(0).argmax(1) == labels[:count]).mean()),
        "layers": chosen.engine.layers(),
        "machine": {**about(), "clock": given.clock},
    }


def differing(outputs: Array, engine: Array) -> dict[str, float]:
    """Return how many output spikes and answers differ from the engine's, [T, B, K] or [1, B, K] each."""
    if len(outputs) != len(engine):
        outputs, engine = (each.sum(0, keepdims=True) for each in (outputs, engine))
    mine, other = (each.sum(0).argmax(1) for each in (outputs, engine))
    spikes = np.abs(outputs.astype(np.float64) - engine).sum()
    return {"spikes": float(spikes), "answers": int((mine != other).sum())}


def remember(network: Trained, whole: Trained, batch: int, name: str) -> int | None:
    """Return the bytes that a batch takes beyond the weights, potentials among them."""
    frames, _ = recordings(network, batch)
    tiny, threads = frames[:, :1, :, :8, :8].contiguous(), torch.get_num_threads()
    small, classes = tuple(tiny.shape[2:]), len(network.subject.splits.classes)
    toys = [models.build(network.subject.config.model, small, classes) for _ in range(2)]  # type: ignore[arg-type]
    warm = SIDES[name](Case(toys[0], toys[1], tiny, threads))
    warm.answer(warm.given(tiny))  # now all code is there
    side = SIDES[name](Case(_model(whole), _model(network), frames[:, :1].contiguous(), threads))
    shown = side.given(frames)
    side.forget()
    return grown(lambda: side.answer(shown))


def recordings(network: Trained, count: int) -> tuple[Tensor, Array]:
    """Return encoded test recordings [T, N, C, H, W] and labels; the first ones again if there are fewer."""
    test = network.subject.splits.test
    spread = np.random.default_rng(0).permutation(len(test))
    frames, labels = test.__getitems__([int(spread[i % len(test)]) for i in range(count)])
    return network.subject.encode(frames, 0), labels.numpy()


def about() -> dict[str, Any]:
    """Return processor, threads and versions."""
    found = {name: metadata.version(name) for name in PACKAGES if _is_there(name)}
    return {**harness.machine(), "processor": _processor(), **found}


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def _is_there(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def _model(network: Trained) -> Any:
    model = network.subject.model
    assert model is not None
    return model


def _built(
    case: Case, network: str, given: argparse.Namespace
) -> tuple[dict[str, Side], dict[str, str], dict[str, float]]:
    """Return the sides, why others are absent, and the seconds that building took."""
    sides: dict[str, Side] = {}
    absent, seconds = {}, {}
    for name, kind in SIDES.items():
        if name in SLOW and network not in given.compiled:
            absent[name] = f"compiles for minutes, so for {' and '.join(given.compiled) or 'none'} alone"
            continue
        begun = time.perf_counter()
        try:
            sides[name] = kind(case)
        except AbsentError as reason:
            absent[name] = str(reason)
        seconds[name] = time.perf_counter() - begun
    return sides, absent, seconds


def _turn(side: Side, shots: Sequence[Tensor]) -> Callable[[], None]:
    shown = [side.given(shot) for shot in shots]

    def answer() -> None:
        for each in shown:
            side.answer(each)

    return answer


def _outputs(side: Side, shots: Sequence[Tensor]) -> Array:
    return np.concatenate([side.outputs(side.answer(side.given(shot))) for shot in shots], axis=1)


# --- in the process that is called


def figures(given: argparse.Namespace) -> dict[str, Any]:
    """Train and measure what is not there yet, and return all that was asked for."""
    known = json.loads(given.out.read_text()) if given.out and given.out.exists() else {}
    found = {}
    for task, network in asked(given):
        for needed in ("dense", network):  # trained here, one after the other
            _network(given, task, needed)
        for setting in given.settings or SETTINGS[task]:
            keys = {f"{task}/{network} {setting}": ""}
            if setting in MEMORY and f"{task}/{network}" in SHOWN:
                keys |= {f"{task}/{network} {setting} memory of {side}": side for side in REMEMBERING}
            for key, side in keys.items():
                if key not in known:
                    known[key] = _child(given, task, network, setting, side)
                    if given.out:
                        atomic.write_text(given.out, json.dumps(known, indent=1) + "\n")
                found[key] = known[key]
    return found


def asked(given: argparse.Namespace) -> list[tuple[str, str]]:
    """Return the networks that were asked for, as task and name."""
    return [(task, network) for task in given.only for network in given.networks]


def _child(given: argparse.Namespace, task: str, network: str, setting: str, side: str) -> Any:
    words = ["--runs", str(given.runs), "--rounds", str(given.rounds)]
    words += ["--clock", given.clock, "--compiled", *given.compiled, "--here", task, network, setting, side]
    threads = setting.partition("x")[2]
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = threads  # numba and torch read it when they start
    try:
        return harness.child("benchmarks.engine.table", words + ["--quick"] * given.quick, "default")
    finally:
        os.environ.pop("OMP_NUM_THREADS")
        if before is not None:
            os.environ["OMP_NUM_THREADS"] = before


def _network(given: argparse.Namespace, task: str, network: str) -> Trained:
    method, _, percent = network.partition("-")
    settings = TASKS[task].quick() if given.quick else TASKS[task]
    return trained(settings, given.runs, method, int(percent or 0) / 100)  # type: ignore[arg-type]


# --- words


def report(found: dict[str, Any]) -> str:
    """Return all that was found as Markdown."""
    groups: dict[tuple[str, str], dict[str, Any]] = {}
    peaks: dict[tuple[str, str], dict[str, int | None]] = {}
    for key, value in found.items():
        network, setting, *memory = key.split(" ", 2)
        task, _, name = network.partition("/")
        if memory:
            peaks.setdefault((f"{task}, {name}", setting), {})[memory[0].removeprefix("memory of ")] = value
        else:
            groups.setdefault((task, setting), {})[name] = value
    parts = [times(*group, measured) for group, measured in groups.items()]
    if peaks:
        parts.append(memory_table(peaks))
    first = next((value for value in found.values() if isinstance(value, dict)), None)
    if first:
        parts.append(
            ", ".join(f"{name} {value}" for name, value in first["machine"].items() if name != "threads")
        )
    return "\n\n".join(parts)


def times(task: str, setting: str, measured: dict[str, Any]) -> str:
    """Return the table of one setting: a column for each network."""
    batch, _, threads = setting.partition("x")
    names = [name for name in SIDES if any(name in each["seconds"] for each in measured.values())]
    rows: list[tuple[str, ...]] = [
        ("accuracy of the engine", *(f"{each['accuracy']:.0%}" for each in measured.values())),
        (f"{BASELINE}, ms", *(_ms(each, BASELINE) for each in measured.values())),
        (f"{CHOSEN}, ms", *(_ms(each, CHOSEN) for each in measured.values())),
        *((name, *(cell(each, name) for each in measured.values())) for name in names),
    ]
    answers = next(iter(measured.values()))["answers"]
    notes = [
        f"{task}, batch {batch}, threads {threads}: time of a recording in units of {BASELINE}, its spread "
        "(distance of the quartiles, in percent), and output spikes that differ from the engine's in "
        f"{answers} recordings, where some do.",
        *_absences(measured),
    ]
    return table(":side | " + " | ".join(measured), rows) + "\n\n" + "\n\n".join(notes)


def cell(measured: dict[str, Any], name: str) -> str:
    """Return the ratio of a side to the baseline, its spread, and what it answers differently."""
    own = measured["seconds"].get(name)
    if own is None:
        return "-"
    base = measured["seconds"][BASELINE]
    ratios = [a / b for a, b in zip(own, base, strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    median = harness.ratio(own, base)
    differ = measured["differ"].get(name, {"spikes": 0, "answers": 0})
    wrong = f", {differ['spikes']:.0f} spikes" if differ["spikes"] else ""
    wrong += f", {differ['answers']} answers" if differ["answers"] else ""
    return f"{median:.4f} ({(high - low) / median:.0%}{wrong})"


def memory_table(peaks: dict[tuple[str, str], dict[str, int | None]]) -> str:
    """Return what answering takes beyond the weights."""
    rows = [
        (network, *setting.split("x"), *(_bytes(each.get(side), each.get(BASELINE)) for side in REMEMBERING))
        for (network, setting), each in peaks.items()
    ]
    head = ":network | batch | threads | " + " | ".join(REMEMBERING)
    return table(head, rows) + "\n\nMegabytes beyond the weights, and in units of " + BASELINE + "."


def _bytes(own: int | None, base: int | None) -> str:
    return "-" if own is None or not base else f"{own / 1e6:.2f} ({own / base:.3f})"


def _ms(measured: dict[str, Any], name: str) -> str:
    return f"{1000 * statistics.median(measured['seconds'][name]):.3f}"


def _absences(measured: dict[str, Any]) -> Iterable[str]:
    reasons: dict[str, list[str]] = {}
    for each in measured.values():
        for name, reason in each["absent"].items():
            if reason not in reasons.setdefault(name, []):
                reasons[name].append(reason)
    if reasons:
        yield "Left out: " + "; ".join(f"{name}: {', '.join(why)}" for name, why in reasons.items()) + "."
    for name in SLOW:
        took = [each["building"][name] for each in measured.values() if name in each["seconds"]]
        if took:
            yield f"{name} took {min(took):.0f} to {max(took):.0f} s to compile, less where its cache helps."


def trained_table(given: argparse.Namespace) -> str:
    """Return what the networks are: weights left, units left, firing rates."""
    rows = []
    for task, name in asked(given):
        network = _network(given, task, name)
        sizes = [p for p in _model(network).parameters() if p.ndim > 1]
        alive, size = sum(int(p.count_nonzero()) for p in sizes), sum(p.numel() for p in sizes)
        rates = ", ".join(f"{100 * each.rate:.1f}" for each in network.rates)
        rows.append((network.task.data.name, network.name, f"{alive:,}", f"{size:,}", rates))
    head = ":data | :network | weights that are not 0 | of so many in its layers | :% of each layer that fire"
    return table(head, rows)


def main() -> None:
    options = harness.parser(__doc__)
    options.add_argument("--runs", type=Path, required=True, help="folder of the trained networks")
    options.add_argument("--out", type=Path, help="a file for the figures, which are measured once")
    options.add_argument("--only", nargs="+", choices=TASKS, default=list(TASKS))
    options.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    options.add_argument("--settings", nargs="+", help="batch x threads, such as 1x1 64x2")
    options.add_argument("--rounds", type=int, default=ROUNDS, help=f"{harness.WARM_UP} more warm up")
    options.add_argument("--compiled", nargs="*", default=list(SHOWN), help="networks for torch.compile")
    harness.add_clock(options)
    options.add_argument(
        "--quick", action="store_true", help="hardly trained, few steps: does it run at all?"
    )
    options.add_argument("--here", nargs=4, help="measure one thing, print it as JSON")
    given = options.parse_args()
    if given.here:
        task, name, setting, side = given.here
        batch, threads = (int(word) for word in setting.split("x"))
        torch.set_num_threads(threads)
        network, whole = _network(given, task, name), _network(given, task, "dense")
        torch.set_num_threads(threads)  # the run's own setting was another
        harness.set_clock(given.clock)
        found = remember(network, whole, batch, side) if side else measure(network, whole, batch, given)
        print(json.dumps(found))
        return
    found = figures(given)
    print("\n" + trained_table(given) + "\n\n" + report(found))


if __name__ == "__main__":
    main()
