"""What removing is worth beside masking: a training step and an inference of the paper's conv-snn.

    python benchmarks/compaction.py [--steps 8] [--batch 100] [--rounds 15] [--threads N] [--device cpu]

The same units are dead in both networks of a row, a share of every population's; one network only holds them
at zero, the other has lost them. All variants take turns, a measurement each per round, so that whatever else
the machine does meets all of them alike; medians are over the rounds, ratios are to the dense network.
"""

from __future__ import annotations

import argparse
import copy
import platform
import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from spikingjelly.activation_based import functional

from snnprune import compact, models, verify
from snnprune.config import ModelConfig
from snnprune.network import discover
from snnprune.pruning import Masks

if TYPE_CHECKING:
    from torch import Tensor, nn

SHARES = (0.0, 0.3, 0.5, 0.7)
SHAPE = (2, 34, 34)  # N-MNIST
CLASSES = 10


@dataclass
class Variant:
    """One network, and how long its rounds took in seconds."""

    share: float
    compact: bool
    model: nn.Module
    masks: Masks | None
    train: list[float] = field(default_factory=list)
    infer: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.optimizer = torch.optim.Adam(self.model.parameters(), 1e-4)

    def step(self, x: Tensor, y: Tensor) -> None:
        """Train on one batch, as a plain loop does."""
        self.model.train()
        self.optimizer.zero_grad()
        (self.model(x).mean(0) - y).square().sum(1).mean().backward()
        self.optimizer.step()
        if self.masks is not None:
            self.masks.apply(self.optimizer)
        functional.reset_net(self.model)

    @torch.inference_mode()
    def look(self, x: Tensor) -> None:
        """Infer one batch."""
        self.model.eval()
        self.model(x)
        functional.reset_net(self.model)

    def measure(self, x: Tensor, y: Tensor) -> None:
        """Take the time of one training step and of one inference."""
        for call, times in ((lambda: self.step(x, y), self.train), (lambda: self.look(x), self.infer)):
            _wait(x)
            begun = time.perf_counter()
            call()
            _wait(x)
            times.append(time.perf_counter() - begun)


def variants(x: Tensor) -> list[Variant]:
    """Return a masked and a compact network for each share, all with the same weights."""
    torch.manual_seed(0)
    dense = models.build(ModelConfig("conv-snn"), SHAPE, CLASSES).to(x.device)
    found = []
    for share in SHARES:
        masked = copy.deepcopy(dense)
        masks = Masks(masked, discover(masked, x[:, :1]))
        generator = torch.Generator().manual_seed(1)
        for population in masks.topology.free():
            order = torch.randperm(population.size, generator=generator)
            masks.keep_units(population, (order >= round(share * population.size)).to(x.device))
        masks.refresh()
        masks.apply()
        small = compact(masked, masks)
        report = verify(masked, small, x[:, :8])
        print(f"{share:.0%} dead: {report.flipped} spikes flipped, outputs differ by {report.difference:.1e}")
        found += [Variant(share, False, masked, masks), Variant(share, True, small, None)]
    return found


def table(found: list[Variant]) -> str:
    """Return medians and ratios to the dense network as a Markdown table."""
    lines = [
        "| dead | network | weights | training step, s | ratio | inference, s | ratio |",
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for v in found:
        weights = sum(p.numel() for p in v.model.parameters())
        cells = [f"{v.share:.0%}", "compact" if v.compact else "masked", f"{weights:,}"]
        for own, dense in ((v.train, found[0].train), (v.infer, found[0].infer)):
            cells.append(f"{statistics.median(own):.4f}")
            cells.append(f"{statistics.median(a / b for a, b in zip(own, dense, strict=True)):.2f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _wait(x: Tensor) -> None:
    if x.is_cuda:
        torch.cuda.synchronize()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=8, help="time steps T")
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=15, help="at least 5; two more warm up")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    if given.threads is not None:
        torch.set_num_threads(given.threads)
    generator = torch.Generator().manual_seed(0)
    x = torch.poisson(torch.full((given.steps, given.batch, *SHAPE), 0.2), generator).to(given.device)
    y = torch.eye(CLASSES, device=x.device)[torch.arange(given.batch) % CLASSES]
    found = variants(x)
    for turn in range(max(given.rounds, 5) + 2):
        for v in found[turn % len(found) :] + found[: turn % len(found)]:
            v.measure(x, y)
        if turn == 1:
            for v in found:
                v.train.clear()
                v.infer.clear()
    size = f"{SHAPE[1]} x {SHAPE[2]} frames, T = {given.steps}, batch {given.batch}"
    machine = f"{given.device}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    print(f"\nconv-snn on {size}; {machine}, {platform.machine()}; {len(found[0].train)} rounds\n")
    print(table(found))


if __name__ == "__main__":
    main()
