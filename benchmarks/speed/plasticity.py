"""How fast a layer learns by its spikes beside SpikingJelly's learner, with the same changes of its weights.

    python -m benchmarks.speed.plasticity [--rounds 15] [--threads N] [--batch 10] [--steps 30]

The layer is that of `wta-snn` on MNIST: 784 inputs, of which a share fires in each step, and 400 units. Both
sides change weights by pairs of spikes with soft bounds, the neurons behind the layer being the same: LIF
neurons of SpikingJelly, or units that compete. Before anything is measured, the changes of both are compared.
"""

from __future__ import annotations

import math
import statistics
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from spikingjelly.activation_based import functional, layer, learning, neuron
from torch import Tensor, nn

from benchmarks.harness import about, parser, ratio, take_turns
from snnprune.nn.models.wta import WinnerTakesAllNode
from snnprune.nn.plasticity import TraceSTDP
from support.markdown import table

if TYPE_CHECKING:
    from collections.abc import Callable

INPUTS, UNITS = 784, 400
FIRING = 0.05
"""Share of the inputs that fire in a step."""

LARGEST = 1.0
TRACE = 2.0
ETA = 1e-4
"""So small that weights stay where they are however many steps are measured."""

REACH = 1 / 5
NEURONS: dict[str, Callable[[], nn.Module]] = {
    "LIF neurons of SpikingJelly": lambda: neuron.LIFNode(v_threshold=2.0, step_mode="m"),
    "units that compete": lambda: WinnerTakesAllNode(UNITS, threshold=2.0, step_mode="m"),
}
ROUNDING = 1e-4
"""Largest difference of two changes in float32, as a share of the largest change."""


class Side:
    """A layer and its neurons with a learner: SpikingJelly's, or ours."""

    def __init__(self, x: Tensor, make: Callable[[], nn.Module], *, own: bool) -> None:
        self.x = x
        torch.manual_seed(0)
        self.net: Any = nn.Sequential(layer.Linear(INPUTS, UNITS, bias=False, step_mode="m"), make())
        self.net.requires_grad_(requires_grad=False)
        self.weight = self.net.get_parameter("0.weight").uniform_(0, LARGEST / 10)
        first, behind = self.net
        self.rule: Any = None
        self.learner: Any = None
        if own:
            self.rule = TraceSTDP(first, behind, kind="pair", eta=ETA, tau=TRACE)
        else:
            self.learner = learning.STDPLearner(
                "m", first, behind, TRACE, TRACE, f_pre=lambda w: w, f_post=lambda w: LARGEST - w
            )

    def forward(self) -> None:
        """Show the batch."""
        with nullcontext() if self.rule is None else self.rule.watching() as self.seen:
            self.net(self.x)

    def change(self) -> Tensor:
        """Return the change of the weights, as the batch that was shown asks for."""
        if self.rule is not None:
            return self.rule.change(*self.seen.both())
        return self.learner.step(on_grad=False, scale=ETA)

    def end(self) -> None:
        """Forget the batch."""
        functional.reset_net(self.net)
        if self.learner is not None:
            self.learner.reset()

    def step(self) -> None:
        """Learn from the batch."""
        self.forward()
        self.weight.add_(self.change()).clamp_(0, LARGEST)
        self.end()


def spikes(steps: int, batch: int) -> Tensor:
    """Return input spikes [T, B, I], the same each time."""
    generator = torch.Generator().manual_seed(0)
    return (torch.rand(steps, batch, INPUTS, generator=generator) < FIRING).float()


def difference(theirs: Side, own: Side) -> float:
    """Return how far two changes are apart, as a share of the largest change; nan if nothing changes."""
    changes = []
    for side in (theirs, own):
        side.forward()
        changes.append(side.change().clone())
        side.end()
    most = changes[0].abs().max().item()
    return (changes[0] - changes[1]).abs().max().item() / most if most else math.nan


def main() -> None:
    options = parser(__doc__, rounds=15)
    options.add_argument("--batch", type=int, default=10)
    options.add_argument("--steps", type=int, default=30)
    given = options.parse_args()
    if given.threads is not None:
        torch.set_num_threads(given.threads)
    rows, x = [], spikes(given.steps, given.batch)
    for name, make in NEURONS.items():
        theirs, own = (Side(x, make, own=own) for own in (False, True))
        apart = difference(theirs, own)
        if not apart < ROUNDING:
            raise SystemExit(f"{name}: changes differ by {apart:.1e} of the largest one")
        took = take_turns({side: side.step for side in (theirs, own)}, given.rounds)
        seconds = [took[side].times for side in (theirs, own)]
        share = ratio(seconds[1], seconds[0])
        rows.append((
            name, *(f"{1000 * statistics.median(each):.2f}" for each in seconds),
            f"{share:.4f} ({REACH:.1f}{', missed' if share > REACH else ''})", f"{apart:.0e}",
        ))  # fmt: skip
    print(table(":neurons | SpikingJelly's learner, ms | ours, ms | ratio | changes differ by", rows))
    print(about(given.device))


if __name__ == "__main__":
    main()
