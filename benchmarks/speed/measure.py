"""Measure one thing in this process, and print it as JSON; `step` starts it with malloc set as it wants.

python -m benchmarks.speed.measure turns mnist       # also: limit mnist, growth steps, bandwidth
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from benchmarks import harness
from benchmarks.workloads import BARE, DPAP, FUSED_SURROGATES, LIMIT, PLAIN, REMOVED, WORKLOADS, Workload
from snnprune.nn.fused import accelerate
from snnprune.nn.models.lif import lif

if TYPE_CHECKING:
    import argparse

COMPETING = (PLAIN, BARE, DPAP, REMOVED)
TRAIN, INFER = "train", "infer"

SWEEPS: dict[str, tuple[float, ...]] = {
    "steps": (2, 5, 10, 20, 40),
    "batch": (5, 15, 50, 150),
    "width": (0.5, 1, 2, 4),
}
"""How a step grows, from conv-snn on N-MNIST along one axis."""

GROWING = (PLAIN, DPAP, REMOVED)

PASSES = 5
"""Over [T, N], of whoever computes a layer of neurons: read the input, write the spikes; read the gradient
and the input (or what was kept of it), write the gradient. What a kernel moves beyond that is lost."""

LAYER = (10, 50, 15, 34, 34)  # first layer of conv-snn on N-MNIST


def turns(given: argparse.Namespace) -> dict[str, Any]:
    """Let all contenders of a workload take turns, and return their seconds."""
    names = (*COMPETING, *(FUSED_SURROGATES if given.device == "cuda" else ()))
    found = _compete(given, workload(given, given.of[0]), names, (TRAIN, INFER))
    seconds = {name: {what: found[name, what].times for what in (TRAIN, INFER)} for name in names}
    return {"seconds": seconds, "machine": harness.machine(given.device)}


def limit(given: argparse.Namespace) -> dict[str, Any]:
    """Let SpikingJelly's network and its bare layers take turns, and return their seconds."""
    found = _compete(given, workload(given, given.of[0]), (PLAIN, LIMIT), (TRAIN,))
    return {name: took.times for (name, _), took in found.items()}


def growth(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure along one axis, the others as they are for N-MNIST: values, and median seconds a contender."""
    (axis,), points = given.of, []
    for value in SWEEPS[axis][: 2 if given.quick else None]:
        grown = replace(workload(given, "nmnist"), rounds=1, **{axis: value})
        found = _compete(given, grown, GROWING, (TRAIN,))
        points.append({axis: value, "seconds": {name: took.median for (name, _), took in found.items()}})
    return points


def bandwidth(given: argparse.Namespace) -> dict[str, Any]:
    """Return bytes a second of a copy and of a layer of fused neurons, and the share that it reaches."""
    shape = (2, 2, *LAYER[2:]) if given.quick else LAYER
    node = accelerate(lif()).to(given.device)
    x = torch.rand(shape, device=given.device, requires_grad=True)
    gradient, target = torch.rand(shape, device=given.device), torch.empty(shape, device=given.device)

    def layer() -> None:
        node.reset()
        node(x).backward(gradient)
        x.grad = None

    found = harness.take_turns({"layer": layer, "copy": lambda: target.copy_(gradient)}, given.rounds)
    size = x.numel() * x.element_size()
    reached, possible = PASSES * size / found["layer"].median, 2 * size / found["copy"].median
    return {"shape": shape, "copy": possible, "layer": reached, "share": reached / possible}


def workload(given: argparse.Namespace, name: str) -> Workload:
    """Return a network with its batch, as large as was asked for."""
    return WORKLOADS[name].tiny() if given.quick else WORKLOADS[name]


def _compete(
    given: argparse.Namespace, load: Workload, names: tuple[str, ...], what: tuple[str, ...]
) -> dict[tuple[str, str], harness.Measurement]:
    x, y = load.inputs(given.device)
    contenders = [load.contender(name, x, y) for name in names]
    deeds = {(c.name, each): c.train if each == TRAIN else c.infer for c in contenders for each in what}
    return harness.take_turns(deeds, given.rounds * load.rounds)


MEASUREMENTS = {each.__name__: each for each in (turns, limit, growth, bandwidth)}


def main() -> None:
    options = harness.parser(__doc__, rounds=9)
    options.add_argument("what", choices=MEASUREMENTS)
    options.add_argument("of", nargs="*", help="a workload, or an axis to grow along")
    options.add_argument("--quick", action="store_true", help="tiny shapes: does it run at all?")
    given = options.parse_args()
    if given.threads is not None:
        torch.set_num_threads(given.threads)
    print(json.dumps(MEASUREMENTS[given.what](given)))


if __name__ == "__main__":
    main()
