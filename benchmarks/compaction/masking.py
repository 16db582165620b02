"""What removing is worth beside masking: a training step and an inference of the paper's conv-snn.

    python -m benchmarks.compaction.masking [--steps 8] [--batch 100] [--rounds 15] [--threads N]

The same units are dead in both networks of a row, a share of every population's; one network only holds them
at zero, the other has lost them. Ratios are to the dense network.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from benchmarks.harness import ROUNDS, Contender, about, kill, parser, ratio, take_turns, weights
from benchmarks.workloads import WORKLOADS
from snnprune import compact, verify
from snnprune.network import discover
from snnprune.pruning import Masks
from support.markdown import table

if TYPE_CHECKING:
    from torch import Tensor, nn

SHARES = (0.0, 0.3, 0.5, 0.7)
MASKED, COMPACT = "masked", "compact"


def contenders(dense: nn.Module, x: Tensor, y: Tensor) -> dict[tuple[float, str], Contender]:
    """Return a masked and a compact network for each share, all with the same weights."""
    found = {}
    for share in SHARES:
        masked = copy.deepcopy(dense)
        masks = Masks(masked, discover(masked, x[:, :1]))
        kill(masks, share)
        masks.apply()
        small = compact(masked, masks)
        report = verify(masked, small, x[:, :8])
        print(f"{share:.0%} dead: {report.flipped} spikes flipped, outputs differ by {report.difference:.1e}")
        found[share, MASKED] = Contender(MASKED, masked, x, y, masks.apply)
        found[share, COMPACT] = Contender(COMPACT, small, x, y)
    return found


def main() -> None:
    options = parser(__doc__, rounds=15)
    options.add_argument("--steps", type=int, default=8, help="time steps T")
    options.add_argument("--batch", type=int, default=100)
    given = options.parse_args()
    if given.threads is not None:
        torch.set_num_threads(given.threads)
    workload = replace(WORKLOADS["nmnist"], steps=given.steps, batch=given.batch)
    x, y = workload.inputs(given.device)
    found, rounds = contenders(workload.network().to(x.device), x, y), max(given.rounds, ROUNDS)
    took = [
        take_turns({key: getattr(one, what) for key, one in found.items()}, rounds)
        for what in ("train", "infer")
    ]
    dense = next(iter(found))
    rows = []
    for key, one in found.items():
        cells = [f"{key[0]:.0%}", one.name, f"{weights(one.model):,}"]
        for of in took:
            cells += [f"{of[key].median:.4f}", f"{ratio(of[key].times, of[dense].times):.2f}"]
        rows.append(cells)
    size = f"{x.shape[-2]} x {x.shape[-1]} frames, T = {given.steps}, batch {given.batch}"
    print(f"\nconv-snn on {size}; {rounds} rounds; {about(given.device)}\n")
    print(table("dead | :network | weights | training step, s | ratio | inference, s | ratio", rows))


if __name__ == "__main__":
    main()
