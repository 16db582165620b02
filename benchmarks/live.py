"""Training with live compaction beside training with masks alone, on recordings of N-MNIST.

Two networks of the same seed take turns, a batch each: one holds what is dead at zero, the other has it taken
out every few epochs. A third, masks alone on another number of threads, shows how far two trainings drift
apart that differ in nothing but the order in which floats are summed. Called by ``compaction.py --live``.
"""

from __future__ import annotations

import platform
import statistics
import time
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

import torch
from spikingjelly.activation_based import functional, neuron, surrogate
from spikingjelly.activation_based.layer import Conv2d
from spikingjelly.activation_based.model import sew_resnet
from torch.nn import functional as F

from snnprune import data
from snnprune.config.schema import DataConfig, ModelConfig
from snnprune.nn import models
from snnprune.nn.losses import squared_error
from snnprune.pruning import Pruner

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

NETWORKS = ("conv-snn", "sew_resnet18")
TARGET = 0.6
BATCH = 50
THREADS = 2
CHUNK = 100  # recordings that are tested at once


@dataclass(frozen=True)
class Plan:
    """What is trained, and for how long.

    Attributes:
        network: "conv-snn", the paper's, or "sew_resnet18", SpikingJelly's.
        steps: frames T of a recording.
        lr: of Adam.
        epochs: of the run, which the pruner plans for.
        every: epochs between two cuts.
        seed: of weights and order.
        samples: training recordings used; all without a number.
        float64_epochs: of the two networks in double precision.
    """

    network: str
    steps: int
    lr: float
    epochs: int
    every: int
    seed: int
    samples: int | None = None
    float64_epochs: int = 0

    def build(self) -> nn.Module:
        """Return the network with weights that the seed decides, in multi-step mode."""
        torch.manual_seed(self.seed)
        if self.network == "conv-snn":
            return models.build(ModelConfig("conv-snn"), (2, 34, 34), 10)
        net = sew_resnet.sew_resnet18(
            cnf="ADD", spiking_neuron=neuron.LIFNode, surrogate_function=surrogate.ATan(), num_classes=10
        )
        net.conv1 = Conv2d(2, net.conv1.out_channels, 7, stride=2, padding=3, bias=False)  # two polarities
        functional.set_step_mode(net, "m")
        return net

    def loss(self) -> Callable[[Tensor, Tensor], Tensor]:
        """Return the paper's loss for output rates, cross-entropy for a readout without neurons."""
        return squared_error if self.network == "conv-snn" else F.cross_entropy


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
        order = torch.randperm(
            len(self.train[1]), generator=torch.Generator().manual_seed(1000 * seed + epoch)
        )
        return [batch for batch in order.split(BATCH) if len(batch) > 1]


class Trainee:
    """A network in training, and what it took.

    Args:
        plan: what is trained.
        recordings: on what.
        dtype: of weights and frames.
        compact: whether the dead are taken out meanwhile.

    Attributes:
        seconds: of each batch, epoch by epoch.
        between: seconds of deciding and cutting after each epoch.
    """

    def __init__(self, plan: Plan, recordings: Recordings, dtype: torch.dtype, *, compact: bool) -> None:
        self.recordings, self.dtype, self.loss = recordings, dtype, plan.loss()
        self.model = plan.build().to(dtype)
        self.optimizer = torch.optim.Adam(self.model.parameters(), plan.lr)
        self.pruner = Pruner(
            self.model,
            self.encode(recordings.train[0][:1]),
            "dpap",
            epochs=plan.epochs,
            seed=plan.seed,
            target=TARGET,
            compact_every=plan.every if compact else None,
        )
        self.seconds: list[list[float]] = []
        self.between: list[float] = []

    def encode(self, frames: Tensor) -> Tensor:
        """Return the counts of events, time first."""
        return frames.transpose(0, 1).to(self.dtype)

    def learn(self, chosen: Tensor) -> None:
        """Train on one batch, and take its time."""
        x, y = self.encode(self.recordings.train[0][chosen]), self.recordings.train[1][chosen]
        begun = time.perf_counter()
        self.model.train()
        self.optimizer.zero_grad()
        self.loss(self.model(x).mean(0), y).backward()
        self.optimizer.step()
        self.pruner.step(self.optimizer)
        functional.reset_net(self.model)
        self.seconds[-1].append(time.perf_counter() - begun)

    def end_epoch(self) -> None:
        """Decide, cut where that is due, and take the time."""
        begun = time.perf_counter()
        self.pruner.end_epoch()
        self.between.append(time.perf_counter() - begun)

    @torch.inference_mode()
    def accuracy(self) -> float:
        """Return the share of the test recordings that are told right."""
        self.model.eval()
        hits = 0
        for frames, labels in zip(*(part.split(CHUNK) for part in self.recordings.test), strict=True):
            hits += int((self.model(self.encode(frames)).mean(0).argmax(1) == labels).sum())
            functional.reset_net(self.model)
        return hits / len(self.recordings.test[1])

    def epoch_seconds(self) -> list[float]:
        """Return what each epoch took: the median batch, as often as there are batches, and the decision."""
        return [
            statistics.median(batches) * len(batches) + between
            for batches, between in zip(self.seconds, self.between, strict=True)
        ]

    @property
    def weights(self) -> int:
        """How many parameters the network has, zeros among them."""
        return sum(parameter.numel() for parameter in self.model.parameters())


def train(trainees: list[Trainee], plan: Plan, epochs: int) -> None:
    """Let ``trainees`` take turns, a batch each, the first turn going round."""
    for epoch in range(epochs):
        for one in trainees:
            one.seconds.append([])
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

    @property
    def ratios(self) -> list[float]:
        """Time of each epoch with live compaction, in units of masking's."""
        return [a / b for a, b in zip(self.live.epoch_seconds(), self.masked.epoch_seconds(), strict=True)]

    def masks(self) -> dict[str, tuple[float, float]]:
        """Return agreement by mask: of masking with live compaction, and with masking on one thread."""
        own = self.masked.pruner.dense_masks()
        live, other = (agreement(own, t.pruner.dense_masks()) for t in (self.live, self.other))
        return {name: (share, other[name]) for name, share in live.items()}


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


def summary(outcomes: list[Outcome]) -> str:
    """Return a table with a line per network."""
    lines = [
        "| network | weights pruned | parameters left | test accuracy: masked, live, masked on 1 thread "
        "| time of an epoch, live / masked: first, last | of the whole training | float64: equal masks |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for out in outcomes:
        trained = (out.masked, out.live, out.other)
        whole = sum(out.live.epoch_seconds()) / sum(out.masked.epoch_seconds())
        equal = sum(share == 1 for share in out.exact.values())
        cells = (
            out.plan.network,
            f"{out.live.pruner.rates().synapses:.1%}",
            f"{out.live.weights:,} of {out.masked.weights:,}",
            ", ".join(f"{one.accuracy():.1%}" for one in trained),
            f"{out.ratios[0]:.2f}, {out.ratios[-1]:.2f}",
            f"{whole:.2f}",
            f"{equal} of {len(out.exact)}, after {out.plan.float64_epochs} epochs" if out.exact else "-",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def masks(out: Outcome) -> str:
    """Return the agreement of each mask as a table; masks that agree in full throughout share a line."""
    lines = [
        f"| {out.plan.network}: equal entries of | live and masked | masked, on 1 and {THREADS} threads |",
        "| --- | ---: | ---: |",
    ]
    shares = out.masks()
    for name, both in shares.items():
        if min(both) < 1:
            lines.append(f"| {name} | {both[0]:.2%} | {both[1]:.2%} |")
    whole = sum(min(both) == 1 for both in shares.values())
    if whole:
        lines.append(f"| {whole} of {len(shares)} masks | 100 % | 100 % |")
    return "\n".join(lines)


def plans(epochs: int, every: int, seed: int, *, quick: bool) -> list[Plan]:
    """Return what is trained: both networks at full width; quickly, on a handful of recordings."""
    if quick:
        short: dict[str, Any] = {"steps": 2, "epochs": 3, "every": 1, "seed": seed, "samples": 12}
        return [
            Plan("conv-snn", lr=1e-3, float64_epochs=3, **short),
            Plan("sew_resnet18", lr=1e-3, float64_epochs=3, **short),
        ]
    return [
        Plan("conv-snn", 10, 1e-3, epochs, every, seed, float64_epochs=epochs // 2),
        Plan("sew_resnet18", 4, 1e-3, epochs, every, seed, float64_epochs=epochs // 2),
    ]


def report(outcomes: list[Outcome]) -> str:
    """Return the tables of all networks, and what their numbers depend on."""
    first = outcomes[0].plan
    recordings = len(outcomes[0].masked.recordings.train[1])
    about = (
        f"N-MNIST, {recordings} recordings, {first.epochs} epochs of Adam at {first.lr:g}, batch {BATCH}, "
        f"DPAP with target {TARGET:.0%}, cut every {first.every} epochs, seed {first.seed}; "
        f"T = {', '.join(f'{out.plan.steps} ({out.plan.network})' for out in outcomes)}; "
        f"{THREADS} threads, Python {platform.python_version()}, PyTorch {torch.__version__}, "
        f"SpikingJelly {metadata.version('spikingjelly')}"
    )
    return "\n\n".join([about, summary(outcomes), *map(masks, outcomes)])
