"""Statistics of several processes: each has its own share of the samples, all decide as one."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import torch

from snnprune.common import ranks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from snnprune.pruning.criterion import Criterion
    from snnprune.pruning.masks import Masks
    from snnprune.pruning.traces import Activity


class Shares:
    """Keeps a criterion's statistics those of all processes, by what the criterion declares of them.

    Sums over samples are each process's own while it observes, and are added up when somebody reads them:
    one message an epoch. The first process then goes on from the total, the others from zero. What follows
    the mean of a batch (``Criterion.averaged``) is averaged after every batch, weighted with the samples that
    each process saw, so that shares of different sizes count as they should. In one process nothing happens.
    """

    def __init__(self) -> None:
        self._whole = True

    def part(self, criterion: Criterion) -> None:
        """Make ready to observe: from the total, return to a share of it."""
        if self._whole and not ranks.is_first():
            for tensor in _sums(criterion):
                tensor.zero_()
        self._whole = ranks.world_size() == 1

    def average(self, criterion: Criterion, traces: Mapping[str, Activity]) -> None:
        """Let what follows the batch follow that of all processes; every process has to call it."""
        places = [(p, name) for p in criterion.state for name in criterion.averaged]
        if ranks.world_size() == 1 or not places:
            return
        own = [criterion.state[p][name] for p, name in places]
        samples = [float(traces[p].samples) if p in traces else 0.0 for p, _ in places]
        parts = [tensor * count for tensor, count in zip(own, samples, strict=True)]
        *totals, counts = ranks.summed([*parts, own[0].new_tensor(samples)])
        for tensor, total, count in zip(own, totals, counts, strict=True):
            tensor.copy_(torch.where(count > 0, total / count, tensor))

    def total(self, criterion: Criterion) -> None:
        """Make ready to be read: add up what the processes have; every process has to call it."""
        if not self._whole:
            sums = _sums(criterion)
            for tensor, total in zip(sums, ranks.summed(sums), strict=True):
                tensor.copy_(total)
        self._whole = True


def _sums(criterion: Criterion) -> list[Tensor]:
    return [
        t for own in criterion.state.values() for name, t in own.items() if name not in criterion.averaged
    ]


def of_first(metrics: Mapping[str, float] | None) -> Mapping[str, float] | None:
    """Return the first process's ``metrics`` in every process.

    Raises:
        UserError: the processes measured different things.
    """
    names = sorted(metrics or {})
    ranks.agree(zlib.crc32(" ".join(names).encode()), "names of what was measured (metrics)")
    return dict(zip(names, ranks.from_first([(metrics or {})[n] for n in names]), strict=True)) or metrics


def agree(masks: Masks) -> None:
    """Look whether the same is alive in all processes.

    Raises:
        UserError: it is not.
    """
    if ranks.world_size() > 1:
        alive = [*masks.units.values(), *masks.synapses.values()]
        flat = torch.cat([mask.flatten() for mask in alive]).cpu()
        ranks.agree(zlib.crc32(flat.numpy().tobytes()), "decisions")
