"""What removing is worth beside masking: a training step and an inference of the paper's conv-snn.

    python benchmarks/compaction.py [--steps 8] [--batch 100] [--rounds 15] [--threads N] [--device cpu]
    python benchmarks/compaction.py --live [--root FOLDER] [--epochs 6] [--every 2] [--seed 0] [--only NAME]

The same units are dead in both networks of a row, a share of every population's; one network only holds them
at zero, the other has lost them. All variants take turns, a measurement each per round, so that whatever else
the machine does meets all of them alike; medians are over the rounds, ratios are to the dense network.

With --live networks are trained on recordings of N-MNIST instead, and cut meanwhile: see live.py.
"""

from __future__ import annotations

import argparse
import copy
import platform
import statistics
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import live
import torch
from contest import INFER, TRAIN, Contender, compete, ratio
from removed import kill

from snnprune import compact, verify
from snnprune.common.errors import UserError
from snnprune.config.schema import ModelConfig
from snnprune.network import discover
from snnprune.nn import models
from snnprune.pruning import Masks

if TYPE_CHECKING:
    from torch import Tensor

SHARES = (0.0, 0.3, 0.5, 0.7)
SHAPE = (2, 34, 34)  # N-MNIST
CLASSES = 10


@dataclass
class Variant:
    """One network of a row."""

    share: float
    contender: Contender


def variants(x: Tensor, y: Tensor) -> list[Variant]:
    """Return a masked and a compact network for each share, all with the same weights."""
    torch.manual_seed(0)
    dense = models.build(ModelConfig("conv-snn"), SHAPE, CLASSES).to(x.device)
    found = []
    for share in SHARES:
        masked = copy.deepcopy(dense)
        masks = Masks(masked, discover(masked, x[:, :1]))
        kill(masks, share)
        masks.apply()
        small = compact(masked, masks)
        report = verify(masked, small, x[:, :8])
        print(f"{share:.0%} dead: {report.flipped} spikes flipped, outputs differ by {report.difference:.1e}")
        found.append(Variant(share, Contender("masked", masked, x, y, masks.apply)))
        found.append(Variant(share, Contender("compact", small, x, y)))
    return found


def table(found: list[Variant]) -> str:
    """Return medians and ratios to the dense network as a Markdown table."""
    lines = [
        "| dead | network | weights | training step, s | ratio | inference, s | ratio |",
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    dense = found[0].contender
    for v in found:
        cells = [f"{v.share:.0%}", v.contender.name, f"{v.contender.weights:,}"]
        for what in (TRAIN, INFER):
            own = v.contender.seconds[what]
            cells += [f"{statistics.median(own):.4f}", f"{ratio(own, dense.seconds[what]):.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=8, help="time steps T")
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=15, help="at least 5; two more warm up")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--device", default="cpu")
    training = parser.add_argument_group("with --live")
    training.add_argument("--live", action="store_true", help="train, with cuts and with masks alone")
    training.add_argument("--root", help="folder of N-MNIST (default: $SNNPRUNE_DATA)")
    training.add_argument("--epochs", type=int, default=6)
    training.add_argument("--every", type=int, default=2, help="epochs between two cuts")
    training.add_argument("--seed", type=int, default=0)
    training.add_argument("--quick", action="store_true", help="a handful of recordings: does it run?")
    training.add_argument("--only", choices=live.NETWORKS, help="one of the networks")
    given = parser.parse_args()
    if given.live:
        plans = live.plans(given.epochs, given.every, given.seed, quick=given.quick)
        plans = [plan for plan in plans if given.only in (None, plan.network)]
        try:
            print(f"\n{live.report([live.compare(plan, given.root) for plan in plans])}")
        except UserError as error:
            sys.exit(f"compaction.py: {error}")
        return
    if given.threads is not None:
        torch.set_num_threads(given.threads)
    generator = torch.Generator().manual_seed(0)
    x = torch.poisson(torch.full((given.steps, given.batch, *SHAPE), 0.2), generator).to(given.device)
    y = torch.eye(CLASSES, device=x.device)[torch.arange(given.batch) % CLASSES]
    found = variants(x, y)
    rounds = max(given.rounds, 5)
    compete([v.contender for v in found], rounds)
    size = f"{SHAPE[1]} x {SHAPE[2]} frames, T = {given.steps}, batch {given.batch}"
    machine = f"{given.device}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    print(f"\nconv-snn on {size}; {machine}, {platform.machine()}; {rounds} rounds\n")
    print(table(found))


if __name__ == "__main__":
    main()
