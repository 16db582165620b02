"""Training with live compaction beside training with masks alone, on recordings of N-MNIST.

    python -m benchmarks.compaction.live [--root FOLDER] [--epochs 6] [--every 2] [--seed 0] [--only NAME]

Two networks of the same seed take turns, a batch each: one holds what is dead at zero, the other has it taken
out every few epochs. A third, masks alone on another number of threads, shows how far two trainings drift
apart that differ in nothing but the order in which floats are summed.

A loop of its own, as no two runs of a bench take turns batch by batch, and none is in float64.
"""

from __future__ import annotations

import statistics
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F
from torch.utils.benchmark import timer

from benchmarks.harness import about, accuracy, parser, step, weights
from benchmarks.workloads import sew_resnet18
from snnprune import data
from snnprune.common.errors import UserError
from snnprune.config.schema import DataConfig, ModelConfig
from snnprune.nn import models
from snnprune.nn.losses import squared_error
from snnprune.pruning import Pruner
from support.markdown import table

if TYPE_CHECKING:
    from torch import Tensor, nn

NETWORKS = {"conv-snn": 10, "sew_resnet18": 4}
"""The paper's network and SpikingJelly's, with frames T of a recording."""

TARGET = 0.6
BATCH = 50
RATE = 1e-3  # of Adam
THREADS = 2
CHUNK = 100  # recordings that are tested at once


@dataclass(frozen=True)
class Plan:
    """What is trained, and for how long.

    Attributes:
        network: of `NETWORKS`.
        steps: frames T of a recording.
        epochs: of the run, which the pruner plans for.
        every: epochs between two cuts.
        seed: of weights and order.
        float64_epochs: of the two networks in double precision.
        samples: training recordings used; all without a number.
    """

    network: str
    steps: int
    epochs: int
    every: int
    seed: int
    float64_epochs: int
    samples: int | None = None

    def build(self) -> nn.Module:
        """Return the network with weights that the seed decides, in multi-step mode."""
        torch.manual_seed(self.seed)
        if self.network == "conv-snn":
            return models.build(ModelConfig("conv-snn"), (2, 34, 34), 10)
        return sew_resnet18(2, 10)


@dataclass(frozen=True)
class Recordings:
    """Frames uint8 [N, T, 2, 34, 34] and labels [N], to train and to test on."""

    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]

    @classmethod
    def read(cls, plan: Plan, root: str | None) -> Recordings:
        """Read N-MNIST; the validation set is left alone.

        Raises:
            UserError: it is not there.
        """
        splits = data.load(DataConfig(name="nmnist", root=root, time_steps=plan.steps))
        step = -(-len(splits.train) // plan.samples) if plan.samples else 1
        return cls(
            splits.train.__getitems__(range(0, len(splits.train), step)),
            splits.test.__getitems__(range(len(splits.test))),
        )

    def batches(self, seed: int, epoch: int) -> list[Tensor]:
        """Return the indices of each batch of an epoch; a last one of a single recording is left out."""
        dice = torch.Generator().manual_seed(1000 * seed + epoch)
        order = torch.randperm(len(self.train[1]), generator=dice)
        return [batch for batch in order.split(BATCH) if len(batch) > 1]


class Trainee:
    """A network in training, and what it took.

    Args:
        plan: what is trained.
        recordings: on what.
        dtype: of weights and frames.
        compact: whether the dead are taken out meanwhile.

    Attributes:
        seconds: of each epoch: its median batch, as often as there are batches, and the decision.
    """

    def __init__(self, plan: Plan, recordings: Recordings, dtype: torch.dtype, *, compact: bool) -> None:
        self.recordings, self.dtype = recordings, dtype
        # the paper's loss for output rates, cross-entropy for a readout without neurons
        self.loss = squared_error if plan.network == "conv-snn" else F.cross_entropy
        self.model = plan.build().to(dtype)
        self.optimizer = torch.optim.Adam(self.model.parameters(), RATE)
        example, every = self.encode(recordings.train[0][:1]), plan.every if compact else None
        self.pruner = Pruner(
            self.model,
            example,
            "dpap",
            epochs=plan.epochs,
            seed=plan.seed,
            target=TARGET,
            compact_every=every,
        )
        self.seconds: list[float] = []
        self._batches: list[float] = []

    def encode(self, frames: Tensor) -> Tensor:
        """Return the counts of events, time first."""
        return frames.transpose(0, 1).to(self.dtype)

    def learn(self, chosen: Tensor) -> None:
        """Train on one batch, and take its time."""
        x, y = self.encode(self.recordings.train[0][chosen]), self.recordings.train[1][chosen]
        begun = timer()
        self.model.train()
        step(self.model, self.optimizer, lambda: self.loss(self.model(x).mean(0), y), self.pruner.step)
        self._batches.append(timer() - begun)

    def end_epoch(self) -> None:
        """Decide, cut where that is due, and take the time."""
        begun = timer()
        self.pruner.end_epoch()
        self.seconds.append(epoch_seconds(self._batches, timer() - begun))
        self._batches = []

    def accuracy(self) -> float:
        """Return the share of the test recordings that are told right."""
        frames, labels = self.recordings.test
        chunks = zip(map(self.encode, frames.split(CHUNK)), labels.split(CHUNK), strict=True)
        return accuracy(self.model, chunks)


def epoch_seconds(batches: list[float], decision: float) -> float:
    """Return what an epoch takes without what else the machine does: its median batch times their number."""
    return statistics.median(batches) * len(batches) + decision


def train(trainees: list[Trainee], plan: Plan, epochs: int) -> None:
    """Let ``trainees`` take turns, a batch each, the first turn going round."""
    for epoch in range(epochs):
        for number, chosen in enumerate(trainees[0].recordings.batches(plan.seed, epoch)):
            first = number % len(trainees)
            for one in (*trainees[first:], *trainees[:first]):
                one.learn(chosen)
        for one in trainees:
            one.end_epoch()


Masks = dict[str, dict[str, Any]]


def agreement(one: Masks, other: Masks) -> dict[str, float]:
    """Return the share of equal entries of each mask, of what `Pruner.dense_masks` returns."""
    return {
        f"{kind} of {name}": float((mask == other[kind][name]).double().mean())
        for kind in ("units", "synapses")
        for name, mask in one[kind].items()
    }


@dataclass(frozen=True)
class Outcome:
    """What the networks of a plan came to."""

    plan: Plan
    masked: Trainee
    live: Trainee
    other: Trainee
    exact: dict[str, float]

    def row(self) -> tuple[str, ...]:
        """Return a line of the table of all networks."""
        ratios = [a / b for a, b in zip(self.live.seconds, self.masked.seconds, strict=True)]
        whole = sum(self.live.seconds) / sum(self.masked.seconds)
        equal = sum(share == 1 for share in self.exact.values())
        return (
            self.plan.network,
            f"{self.live.pruner.rates().synapses:.1%}",
            f"{weights(self.live.model):,} of {weights(self.masked.model):,}",
            ", ".join(f"{one.accuracy():.1%}" for one in (self.masked, self.live, self.other)),
            f"{ratios[0]:.2f}, {ratios[-1]:.2f}",
            f"{whole:.2f}",
            f"{equal} of {len(self.exact)}, after {self.plan.float64_epochs} epochs" if self.exact else "-",
        )

    def masks(self) -> str:
        """Return the agreement of each mask as a table; masks that agree in full throughout share a line."""
        own = self.masked.pruner.dense_masks()
        live, other = (agreement(own, t.pruner.dense_masks()) for t in (self.live, self.other))
        apart = {name: (share, other[name]) for name, share in live.items() if min(share, other[name]) < 1}
        rows = [(name, *(f"{share:.2%}" for share in both)) for name, both in apart.items()]
        if len(apart) < len(live):
            rows.append((f"{len(live) - len(apart)} of {len(live)} masks", "100 %", "100 %"))
        head = (
            f":{self.plan.network}: equal entries of | live and masked | masked, on 1 and {THREADS} threads"
        )
        return table(head, rows)


def compare(plan: Plan, root: str | None) -> Outcome:
    """Train the networks of ``plan``.

    Raises:
        UserError: the recordings are not there.
    """
    recordings = Recordings.read(plan, root)
    print(f"{plan.network}: {len(recordings.train[1])} recordings, T = {plan.steps}, {plan.epochs} epochs")
    torch.set_num_threads(THREADS)
    masked, live = (Trainee(plan, recordings, torch.float32, compact=c) for c in (False, True))
    train([masked, live], plan, plan.epochs)
    torch.set_num_threads(1)
    other = Trainee(plan, recordings, torch.float32, compact=False)
    train([other], plan, plan.epochs)
    torch.set_num_threads(THREADS)
    exact: dict[str, float] = {}
    if plan.float64_epochs:
        pair = [Trainee(plan, recordings, torch.float64, compact=c) for c in (False, True)]
        train(pair, plan, plan.float64_epochs)
        exact = agreement(*(one.pruner.dense_masks() for one in pair))
    return Outcome(plan, masked, live, other, exact)


HEAD = (
    ":network | weights pruned | parameters left | test accuracy: masked, live, masked on 1 thread "
    "| time of an epoch, live / masked: first, last | of the whole training | :float64: equal masks"
)


def report(outcomes: list[Outcome]) -> str:
    """Return the tables of all networks, and what their numbers depend on."""
    first = outcomes[0].plan
    recordings = len(outcomes[0].masked.recordings.train[1])
    said = (
        f"N-MNIST, {recordings} recordings, {first.epochs} epochs of Adam at {RATE:g}, batch {BATCH}, "
        f"DPAP with target {TARGET:.0%}, cut every {first.every} epochs, seed {first.seed}; "
        f"T = {', '.join(f'{out.plan.steps} ({out.plan.network})' for out in outcomes)}; {about()}"
    )
    return "\n\n".join(
        [said, table(HEAD, [out.row() for out in outcomes]), *(out.masks() for out in outcomes)]
    )


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--root", help="folder of N-MNIST (default: $SNNPRUNE_DATA)")
    options.add_argument("--epochs", type=int, default=6)
    options.add_argument("--every", type=int, default=2, help="epochs between two cuts")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--only", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    options.add_argument("--quick", action="store_true", help="a handful of recordings: does it run?")
    given = options.parse_args()
    if given.quick:
        plans = [Plan(name, 2, 3, 1, given.seed, 3, samples=12) for name in given.only]
    else:
        exact = given.epochs // 2
        plans = [Plan(n, NETWORKS[n], given.epochs, given.every, given.seed, exact) for n in given.only]
    try:
        print(f"\n{report([compare(plan, given.root) for plan in plans])}")
    except UserError as error:
        sys.exit(f"live: {error}")


if __name__ == "__main__":
    main()
