"""What pruning costs while it trains: a step of every method as a ratio to the unpruned step.

    python -m benchmarks.speed.methods [--steps 8] [--batch 100] [--rounds 15] [--threads N] [--device cpu]
        [--only METHOD ...] [--target 0.98] [--memory]

The paper's conv-snn, with SpikingJelly's neurons and with accelerated ones. Decisions that are taken
once an epoch stand apart, in seconds: an epoch of 60,000 images has 600 steps. With ``--memory``, peak memory
beside a network with masks alone, in place of times (`benchmarks.memory.growth`).
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

import snnprune
from benchmarks.harness import Contender, about, child, parser, ratio, take_turns
from benchmarks.memory import growth
from benchmarks.workloads import EPOCHS, WORKLOADS, Workload
from snnprune.config.names import METHODS, options_of
from support.markdown import table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

UNPRUNED = "unpruned"
LIMIT = 1.10
WITH_HIDDEN_STRENGTHS = {"deep-r", "grad-r", "admm", "stds"}
LIMIT_WITH_HIDDEN_STRENGTHS = 1.25
"""They keep a number beside every weight and move it in every step."""


class Pruned(Contender):
    """A network that a method prunes while it trains."""

    def __init__(
        self, method: str, workload: Workload, x: Tensor, y: Tensor, *, fused: bool, target: float | None
    ) -> None:
        model = workload.network().to(x.device)
        if fused:
            snnprune.accelerate(model, channels_last=True)
        after_step = None
        if method != UNPRUNED:
            aimed = target is not None and "target" in options_of(METHODS, "method", method)
            self.pruner = snnprune.Pruner(
                model,
                x[:, :1],
                method,
                epochs=EPOCHS,
                samples=60_000,
                **({"target": target} if aimed else {}),
            )
            after_step = self.pruner.step
        super().__init__(method, model, x, y, after_step)

    def decide(self) -> float:
        """Take the time of an epoch's decision, in seconds.

        Some methods decide in the first step of the next epoch; what it takes beyond the step behind it is
        counted as well.
        """
        self.train()
        turns = {
            "decision": lambda: self.pruner.end_epoch({"val_accuracy": 0.5, "val_loss": 1.0}),
            "first": self.train,
            "second": self.train,
        }
        took = {name: each.median for name, each in take_turns(turns, 1, warm_up=0).items()}
        return took["decision"] + max(took["first"] - took["second"], 0.0)


def measure(
    names: Sequence[str],
    workload: Workload,
    x: Tensor,
    y: Tensor,
    rounds: int,
    *,
    fused: bool,
    target: float | None,
) -> str:
    """Return a table with a row for each method."""
    contenders = [Pruned(n, workload, x, y, fused=fused, target=target) for n in (UNPRUNED, *names)]
    found = take_turns({each.name: each.train for each in contenders}, rounds)
    rows = [(UNPRUNED, f"{1000 * found[UNPRUNED].median:.1f}", "1.00", "", "")]
    for each in contenders[1:]:
        limit = LIMIT_WITH_HIDDEN_STRENGTHS if each.name in WITH_HIDDEN_STRENGTHS else LIMIT
        took, cost = found[each.name], ratio(found[each.name].times, found[UNPRUNED].times)
        over = " **above**" if cost > limit else ""
        cells = (f"{1000 * took.median:.1f}", f"{cost:.3f}", f"{limit:.2f}{over}", f"{each.decide():.3f}")
        rows.append((each.name, *cells))
        each.pruner.close()
    return table(":method | step, ms | ratio | limit | decision, s", rows)


def memory(given: argparse.Namespace) -> str:
    """Return a table of peak memory, each in a process of its own."""
    words = ["--steps", str(given.steps), "--batch", str(given.batch), "--device", given.device]
    words += ["--target", str(given.target), *(["--threads", str(given.threads)] if given.threads else [])]
    names = (growth.MASKED, *given.only)
    return growth.shown({name: child("benchmarks.speed.methods", ["--peak", name, *words]) for name in names})


def main() -> None:
    options = parser(__doc__, rounds=15)
    options.add_argument("--steps", type=int, default=8, help="time steps T")
    options.add_argument("--batch", type=int, default=100)
    options.add_argument(
        "--only", nargs="+", choices=METHODS, default=[name for name in METHODS if name != "dense"]
    )
    options.add_argument("--target", type=float, help="of the methods that have one; by default their own")
    options.add_argument("--memory", action="store_true", help="peak memory in place of times")
    options.add_argument("--peak", choices=(growth.MASKED, *METHODS), help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.threads is not None:
        torch.set_num_threads(given.threads)
    workload = replace(WORKLOADS["mnist"], steps=given.steps, batch=given.batch)
    if given.memory and given.target is None:
        options.error("--memory needs a --target, such as 0.98")
    if given.peak is not None:
        print(json.dumps(growth.peak(given.peak, workload, given.device, given.target)))
        return
    print(f"conv-snn, MNIST, T = {given.steps}, batch {given.batch}; {about(given.device)}")
    if given.memory:
        print(f"\npeak memory at {given.target:.0%} pruned\n\n{memory(given)}")
        return
    x, y = workload.inputs(given.device)
    for fused in (False, True):
        print(f"\n{'accelerated' if fused else 'SpikingJelly'} neurons, {given.rounds} rounds\n")
        print(measure(given.only, workload, x, y, given.rounds, fused=fused, target=given.target), flush=True)


if __name__ == "__main__":
    main()
