"""How fast a recurrent network trains beside SpikingJelly's container, and how much memory it takes.

    python -m benchmarks.speed.recurrent [--rounds 9] [--allocator tuned] [--neuron lif] [--out file.json]

The network is `rsnn` on frames as of SHD: 700-256R-256R-20, 100 steps, batches of 64, a readout that leaks
and does not spike. SpikingJelly's has the same layers, with a ``LinearRecurrentContainer`` around each layer
of its ``LIFNode``. All contenders take turns in one process; memory is measured in a process for each.
"""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from spikingjelly.activation_based import layer, neuron
from torch import nn

import snnprune
from benchmarks import harness
from benchmarks.harness import ALLOCATORS, Contender, child, kill, machine, parser, ratio
from benchmarks.memory.peak import peak
from snnprune.config.schema import ModelConfig
from snnprune.nn import models
from support.markdown import table

if TYPE_CHECKING:
    import argparse

    from torch import Tensor

CONTAINER, LOOP, FUSED = "SpikingJelly's container", "snnprune, step by step", "fused"
DPAP, REMOVED = "fused, DPAP", "fused, DPAP, half removed"
CONTENDERS = (CONTAINER, LOOP, FUSED, DPAP, REMOVED)
REACH = {DPAP: (0.35, 0.50), REMOVED: (0.15, None)}
"""At most this much of the container's time and memory."""

PEAKS = 3  # malloc does not fill its holes alike in every process
EVENTS = 0.02
"""Mean number of spikes in a channel of a frame of SHD: some 8,000 in a recording, at frames of 10 ms."""


@dataclass(frozen=True)
class Size:
    """Of the network and its batch."""

    channels: int = 700
    hidden: int = 256
    classes: int = 20
    steps: int = 100
    batch: int = 64


class Stacked(nn.Module):
    """SpikingJelly's leaky readout, whose list of steps becomes [T, B, K]."""

    def __init__(self, tau: float) -> None:
        super().__init__()
        self.node = neuron.NonSpikingLIFNode(tau)

    def forward(self, x: Tensor) -> Tensor:
        """Return the potentials [T, B, K] for currents of the same shape."""
        return torch.stack(self.node(x))


def ours(size: Size, kind: Any) -> nn.Module:
    """Return `rsnn`, with the same weights each time."""
    torch.manual_seed(0)
    config = ModelConfig("rsnn", hidden=size.hidden, neuron=kind, readout="leaky")
    return models.build(config, (1, 1, size.channels), size.classes)


def container(size: Size) -> nn.Module:
    """Return the same network of SpikingJelly's own parts, with `rsnn`'s LIF neurons and weights."""
    built: dict[str, Any] = dict(ours(size, "lif").named_children())
    tau = built["fc1_rec"].neuron.tau
    layers: list[nn.Module] = [layer.Flatten(step_mode="m")]
    for name in ("fc1", "fc2"):
        own = built[f"{name}_rec"]
        own.neuron.step_mode = "s"
        wired = layer.LinearRecurrentContainer(own.neuron, size.hidden, size.hidden, step_mode="m")
        with torch.no_grad():
            wired.rc.weight.copy_(torch.cat([torch.eye(size.hidden), own.feedback.weight], 1))
            wired.rc.bias.zero_()
        layers += [built[name], wired]
    return nn.Sequential(*layers, built["out"], Stacked(tau))


def contender(name: str, size: Size, kind: str) -> Contender:
    """Return one of `CONTENDERS`, with its batch."""
    generator = torch.Generator().manual_seed(0)
    x = torch.poisson(torch.full((size.steps, size.batch, 1, 1, size.channels), EVENTS), generator)
    y = torch.eye(size.classes)[torch.arange(size.batch) % size.classes]
    if name in {CONTAINER, LOOP}:
        return Contender(name, container(size) if name == CONTAINER else ours(size, kind), x, y)
    model = snnprune.accelerate(ours(size, kind))
    if name == FUSED:
        return Contender(name, model, x, y)
    pruner = snnprune.Pruner(model, x[:, :1], "dpap", epochs=60, target=0.6)  # no epoch ends here
    if name == REMOVED:
        kill(pruner.masks, 0.5)
        pruner.masks.apply()
        pruner.compact()
    return Contender(name, model, x, y, pruner.step)


def turns(size: Size, kind: str, rounds: int) -> dict[str, list[float]]:
    """Let all contenders take turns, and return the seconds of a training step."""
    made = {name: contender(name, size, kind).train for name in CONTENDERS}
    return {name: took.times for name, took in harness.take_turns(made, rounds).items()}


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Measure times and memory in processes of their own."""
    options = ["--rounds", str(given.rounds), "--neuron", given.neuron]
    options += ["--threads", str(given.threads)] * (given.threads is not None) + ["--quick"] * given.quick

    def measured(*words: str) -> Any:
        return child("benchmarks.speed.recurrent", [*options, *words], given.allocator)

    found: dict[str, Any] = {"machine": machine(), "seconds": measured("--here", "turns"), "peak": {}}
    for name in CONTENDERS:
        peaks = [measured("--here", name) for _ in range(1 if given.quick else PEAKS)]
        found["peak"][name] = None if None in peaks else statistics.median(peaks)
    return found


def report(found: dict[str, Any]) -> str:
    """Return what was measured as a Markdown table; what is to be reached stands in brackets."""

    def share(value: float, most: float | None) -> str:
        missed = ", missed" if most is not None and value > most else ""
        return f"{value:.3f}" + (f" ({most:.2f}{missed})" if most is not None else "")

    rows = []
    for name in CONTENDERS:
        seconds, memory = (found[what][name] for what in ("seconds", "peak"))
        of_time, of_memory = REACH.get(name, (None, None))
        base = found["peak"][CONTAINER]
        peaked = memory and base
        rows.append((
            name, f"{1000 * statistics.median(seconds):.1f}",
            share(ratio(seconds, found["seconds"][CONTAINER]), of_time),
            f"{memory / 1e6:.1f}" if memory else "-",
            share(memory / base, of_memory) if peaked else "-",
        ))  # fmt: skip
    return table(":training step | ms | of the container | peak memory, MB | of the container", rows)


def main() -> None:
    options = parser(__doc__, rounds=9)
    options.add_argument("--allocator", choices=ALLOCATORS, default="tuned")
    options.add_argument("--neuron", choices=("lif", "alif"), default="lif", help="of all but the container")
    options.add_argument("--out", type=Path, help="a file for the figures, which are measured once")
    options.add_argument("--quick", action="store_true", help="tiny shapes: does it run at all?")
    options.add_argument("--here", choices=("turns", *CONTENDERS), help="measure one thing, print it as JSON")
    given = options.parse_args()
    if given.threads is not None:
        torch.set_num_threads(given.threads)
    size = Size(10, 8, 3, 4, 4) if given.quick else Size()
    if given.here == "turns":
        print(json.dumps(turns(size, given.neuron, given.rounds)))
    elif given.here is not None:
        print(peak(contender(given.here, size, given.neuron)) or "null")
    else:
        found = measure(given) if given.out is None else harness.once(given.out, lambda: measure(given))
        print(report(found))


if __name__ == "__main__":
    main()
