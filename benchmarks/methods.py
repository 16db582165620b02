"""What pruning costs while it trains: a step of every method as a ratio to the unpruned step.

    python benchmarks/methods.py [--steps 8] [--batch 100] [--rounds 15] [--threads N] [--device cpu]

The paper's conv-snn, with SpikingJelly's neurons and with `snnprune.accelerate`d ones. Networks take turns, a
step each per round, so that whatever else the machine does meets all of them alike; a ratio is the median
over the rounds of a method's step in units of the unpruned one of its round. Decisions that are taken once an
epoch stand apart, in seconds: an epoch of 60,000 images has 600 steps.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from typing import TYPE_CHECKING

import torch
from contest import TRAIN, WARM_UP, Contender, compete, ratio, wait

import snnprune
from snnprune.config.names import METHODS
from snnprune.config.schema import ModelConfig
from snnprune.nn import models

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

SHAPE = (1, 28, 28)  # MNIST
CLASSES = 10
EPOCHS = 60
UNPRUNED = "unpruned"
LIMIT = 1.10
WITH_HIDDEN_STRENGTHS = {"deep-r", "grad-r", "admm", "stds"}
LIMIT_WITH_HIDDEN_STRENGTHS = 1.25
"""They keep a number beside every weight and move it in every step."""


class Pruned(Contender):
    """A network that a method prunes while it trains."""

    def __init__(self, method: str, x: Tensor, y: Tensor, *, fused: bool) -> None:
        torch.manual_seed(0)
        model = models.build(ModelConfig("conv-snn"), SHAPE, CLASSES).to(x.device)
        if fused:
            snnprune.accelerate(model, channels_last=True)
        after_step = None
        if method != UNPRUNED:
            self.pruner = snnprune.Pruner(model, x[:, :1], method, epochs=EPOCHS, samples=60_000)
            after_step = self.pruner.step
        super().__init__(method, model, x, y, after_step)

    def decide(self) -> float:
        """Take the time of an epoch's decision, in seconds."""
        self.train()
        wait(self.x)
        begun = time.perf_counter()
        self.pruner.end_epoch({"val_accuracy": 0.5, "val_loss": 1.0})
        wait(self.x)
        return time.perf_counter() - begun


def measure(names: Sequence[str], x: Tensor, y: Tensor, rounds: int, *, fused: bool) -> list[str]:
    """Return a row of the table for each method."""
    contenders = [Pruned(name, x, y, fused=fused) for name in (UNPRUNED, *names)]
    compete(contenders, rounds, (TRAIN,))
    base = contenders[0].seconds[TRAIN]
    rows = [f"| {UNPRUNED} | {_median(base)} | 1.00 | | |"]
    for each in contenders[1:]:
        hidden = each.name in WITH_HIDDEN_STRENGTHS
        limit = LIMIT_WITH_HIDDEN_STRENGTHS if hidden else LIMIT
        own = each.seconds[TRAIN]
        over = " **above**" if ratio(own, base) > limit else ""
        decision = f"{each.decide():.3f}"
        rows.append(
            f"| {each.name} | {_median(own)} | {ratio(own, base):.3f} | {limit:.2f}{over} | {decision} |"
        )
        each.pruner.close()
    return rows


def _median(seconds: Sequence[float]) -> str:
    return f"{1000 * statistics.median(seconds):.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=8, help="time steps T")
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=15, help=f"{WARM_UP} more warm up")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", nargs="+", choices=METHODS, default=[m for m in METHODS if m != "dense"])
    given = parser.parse_args()
    if given.threads is not None:
        torch.set_num_threads(given.threads)
    generator = torch.Generator().manual_seed(0)
    x = torch.poisson(torch.full((given.steps, given.batch, *SHAPE), 0.13), generator).to(given.device)
    y = torch.eye(CLASSES, device=x.device)[torch.arange(given.batch) % CLASSES]
    machine = f"{given.device}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    print(f"conv-snn, MNIST, T = {given.steps}, batch {given.batch}; {machine}, {platform.machine()}")
    for fused in (False, True):
        print(f"\n{'accelerated' if fused else 'SpikingJelly'} neurons, {given.rounds} rounds\n")
        print("| method | step, ms | ratio | limit | decision, s |\n| --- | ---: | ---: | ---: | ---: |")
        print("\n".join(measure(given.only, x, y, given.rounds, fused=fused)), flush=True)


if __name__ == "__main__":
    main()
