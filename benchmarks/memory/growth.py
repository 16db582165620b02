"""Peak memory of training that is sparse from the first step, beside the same network with masks alone.

    python -m benchmarks.memory.growth [--target 0.98] [--steps 8] [--batch 100] [--threads N] [--device cpu]

Each contender trains in a process of its own. What is counted is everything from before its network is made:
weights, gradients, moments, masks, activity, what the method keeps, and what its decisions take for a while.
The reference has masks of the same density and a method that never changes them.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

import snnprune
from benchmarks.harness import Contender, about, child, parser
from benchmarks.memory.peak import taken
from benchmarks.workloads import WORKLOADS, Workload
from snnprune.config.names import METHODS
from snnprune.methods.growing import GrowingMethod
from support.markdown import table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snnprune.pruning import Decision, View

MASKED = "masks alone"
LIMIT = 1.05
EPOCHS, BATCHES = 4, 3
"""In four epochs there is growth, and the first batches of three of them see the gradients of the dead."""

GROWING = [name for name in METHODS if issubclass(METHODS[name].load(), GrowingMethod)]
"""All that may begin as sparse as they end."""


class Masked(GrowingMethod):
    """Leaves a random part of each layer alive, and never changes which."""

    def end_epoch(self, view: View, metrics: Mapping[str, float] | None) -> Decision:  # noqa: ARG002
        """Change nothing."""
        return snnprune.pruning.Decision()


def train(name: str, workload: Workload, device: str, target: float) -> None:
    """Train a contender for some epochs, decisions included."""
    x, y = workload.inputs(device)
    model = snnprune.accelerate(workload.network().to(device), channels_last=True)
    options = {"target": target, "initial_density": None}
    if name == MASKED:
        pruner = snnprune.Pruner(model, x[:, :1], Masked(**options), epochs=EPOCHS)
    else:
        pruner = snnprune.Pruner(model, x[:, :1], name, epochs=EPOCHS, **options)
    contender = Contender(name, model, x, y, pruner.step)
    for _ in range(EPOCHS):
        for _ in range(BATCHES):
            contender.train()
        pruner.end_epoch()
    pruner.close()


def peak(name: str, workload: Workload, device: str, target: float) -> int | None:
    """Return the bytes that a contender's training takes at most; None off Linux."""
    train(name, workload.tiny(), device, min(target, 0.5))  # load what a step loads, compiled kernels too
    return taken(lambda: train(name, workload, device, target), device)


def compare(given: argparse.Namespace) -> str:
    """Return a table with a row for each contender."""
    words = ["--steps", str(given.steps), "--batch", str(given.batch), "--target", str(given.target)]
    words += ["--device", given.device, *(["--threads", str(given.threads)] if given.threads else [])]
    found: dict[str, int] = {}
    for name in (MASKED, *given.only):
        print(f"{name} ...", file=sys.stderr)
        found[name] = child("benchmarks.memory.growth", ["--contender", name, *words])
    rows = []
    for name, taken_by in found.items():
        share = taken_by / found[MASKED]
        over = " **above**" if share > LIMIT else ""
        rows.append((name, f"{taken_by / 2**20:.1f}", f"{share:.3f}", f"{LIMIT:.2f}{over}"))
    return table(":method | peak, MB | ratio | limit", rows)


def main() -> None:
    options = parser(__doc__, rounds=1)
    options.add_argument("--steps", type=int, default=8, help="time steps T")
    options.add_argument("--batch", type=int, default=100)
    options.add_argument("--target", type=float, default=0.98, help="share of all weights that is dead")
    options.add_argument("--only", nargs="+", choices=GROWING, default=GROWING)
    options.add_argument("--contender", choices=[MASKED, *GROWING], help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.threads is not None:
        torch.set_num_threads(given.threads)
    workload = replace(WORKLOADS["mnist"], steps=given.steps, batch=given.batch)
    if given.contender is not None:
        print(json.dumps(peak(given.contender, workload, given.device, given.target)))
        return
    print(f"conv-snn, MNIST, T = {given.steps}, batch {given.batch}, target {given.target}; ", end="")
    print(f"{about(given.device)}\n\n{compare(given)}")


if __name__ == "__main__":
    main()
