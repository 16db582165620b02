"""Peak memory of training that is sparse from the first step, beside the same network with masks alone.

`benchmarks.speed.methods --memory` prints the table. Each contender trains in a process of its own. What is
counted is everything from before its network is made: weights, gradients, moments, masks, activity, what the
method keeps, and what its decisions take for a while. The reference has masks of the same density and a
method that never changes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import snnprune
from benchmarks.harness import Contender
from benchmarks.memory.peak import taken
from snnprune.config.names import METHODS, options_of
from snnprune.methods.growing import GrowingMethod
from snnprune.pruning import Decision
from support.markdown import table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.workloads import Workload
    from snnprune.pruning import View

MASKED = "masks alone"
LIMIT = 1.05
EPOCHS, BATCHES = 4, 3
"""In four epochs there is growth, and the first batches of three of them see the gradients of the dead."""


class Masked(GrowingMethod):
    """Leaves a random part of each layer alive, and never changes which."""

    def end_epoch(self, view: View, metrics: Mapping[str, float] | None) -> Decision:  # noqa: ARG002
        """Change nothing."""
        return Decision()


def train(name: str, workload: Workload, device: str, target: float) -> None:
    """Train a contender for some epochs, decisions included."""
    x, y = workload.inputs(device)
    model = snnprune.accelerate(workload.network().to(device), channels_last=True)
    if name == MASKED:
        pruner = snnprune.Pruner(model, x[:, :1], Masked(target), epochs=EPOCHS)
    else:
        known = options_of(METHODS, "method", name)
        given = {"target": target, "initial_density": None}
        options = {option: value for option, value in given.items() if option in known}
        pruner = snnprune.Pruner(model, x[:, :1], name, epochs=EPOCHS, **options)
    contender = Contender(name, model, x, y, pruner.step)
    for _ in range(EPOCHS):
        for _ in range(BATCHES):
            contender.train()
        pruner.end_epoch({"val_accuracy": 0.5, "val_loss": 1.0})
    pruner.close()


def peak(name: str, workload: Workload, device: str, target: float) -> int | None:
    """Return the bytes that a contender's training takes at most; None off Linux."""
    train(name, workload.tiny(), device, min(target, 0.5))  # load what a step loads, compiled kernels too
    return taken(lambda: train(name, workload, device, target), device)


def shown(found: Mapping[str, int]) -> str:
    """Return a table with a row for each contender, by the bytes of its peak."""
    rows = []
    for name, size in found.items():
        share = size / found[MASKED]
        over = " **above**" if share > LIMIT else ""
        rows.append((name, f"{size / 2**20:.1f}", f"{share:.3f}", f"{LIMIT:.2f}{over}"))
    return table(":method | peak, MB | ratio | limit", rows)
