"""Networks that take turns at one batch: whatever else the machine does meets all of them alike."""

from __future__ import annotations

import os
import platform
import statistics
import time
from importlib import metadata
from typing import TYPE_CHECKING, Any

import torch
from spikingjelly.activation_based import functional

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor, nn

TRAIN, INFER = "train", "infer"
WARM_UP = 2


class Contender:
    """A network that trains on one batch, or infers it, again and again.

    Args:
        name: of the contender.
        model: [T, B, ...] to [T, B, K], on the device of the batch.
        x: the batch [T, B, ...].
        y: what the output rates should be, [B, K].
        after_step: is given the optimiser after each of its steps, as `Pruner.step` is.

    Attributes:
        seconds: what its turns took, by "train" and "infer".
    """

    def __init__(
        self,
        name: str,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        after_step: Callable[[torch.optim.Optimizer], None] | None = None,
    ) -> None:
        self.name, self.model, self.x, self.y, self.after_step = name, model, x, y, after_step
        self.optimizer = torch.optim.Adam(model.parameters(), 1e-4)
        self.seconds: dict[str, list[float]] = {TRAIN: [], INFER: []}

    @property
    def weights(self) -> int:
        """How many parameters the network has."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def train(self) -> None:
        """Train on the batch once, as a plain loop does."""
        self.model.train()
        self.optimizer.zero_grad()
        (self.model(self.x).mean(0) - self.y).square().sum(1).mean().backward()
        self.optimizer.step()
        if self.after_step is not None:
            self.after_step(self.optimizer)
        functional.reset_net(self.model)

    @torch.inference_mode()
    def infer(self) -> None:
        """Infer the batch once."""
        self.model.eval()
        self.model(self.x)
        functional.reset_net(self.model)

    def turn(self, what: str) -> None:
        """Take the time of one turn."""
        wait(self.x)
        begun = time.perf_counter()
        self.train() if what == TRAIN else self.infer()
        wait(self.x)
        self.seconds[what].append(time.perf_counter() - begun)


def compete(contenders: Sequence[Contender], rounds: int, what: Sequence[str] = (TRAIN, INFER)) -> None:
    """Give each contender a turn a round, each round another one first; warming up is not counted."""
    for number in range(rounds + WARM_UP):
        if number == WARM_UP:
            for contender in contenders:
                for times in contender.seconds.values():
                    times.clear()
        first = number % len(contenders)
        for contender in (*contenders[first:], *contenders[:first]):
            for one in what:
                contender.turn(one)


def ratio(own: Sequence[float], other: Sequence[float]) -> float:
    """Return the median over the rounds of what one took in units of the other."""
    return statistics.median(a / b for a, b in zip(own, other, strict=True))


def wait(x: Tensor) -> None:
    """Wait until the device of ``x`` has nothing left to do."""
    if x.is_cuda:
        torch.cuda.synchronize()


def machine(device: str) -> dict[str, Any]:
    """Return what the seconds of this process depend on."""
    name = torch.cuda.get_device_name() if device == "cuda" else platform.processor() or platform.machine()
    return {
        "device": name,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "spikingjelly": metadata.version("spikingjelly"),
    }
