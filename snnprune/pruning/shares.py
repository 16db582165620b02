"""Statistics of several processes: each sees a share of the samples, and all take the same decision."""

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
    """Combines a criterion's statistics over all processes, as the criterion declares them.

    While processes observe, each has its own sums over samples. They are added up when they are read, which
    takes one message an epoch. Rank 0 then continues from the total, and the other ranks from zero.
    Statistics that follow the mean of a batch (``Criterion.averaged``) are averaged after every batch,
    weighted by the number of samples that each process saw. With one process nothing happens.
    """

    def __init__(self) -> None:
        self._whole = True

    def part(self, criterion: Criterion) -> None:
        """Prepare to observe: after a total, keep it on rank 0 and start from zero on the other ranks."""
        if self._whole and not ranks.is_first():
            for tensor in _sums(criterion):
                tensor.zero_()
        self._whole = ranks.world_size() == 1

    def average(self, criterion: Criterion, traces: Mapping[str, Activity]) -> None:
        """Average the statistics in ``averaged`` over all processes; every process has to call it."""
        places = [
            (owner, name)
            for owner, own in criterion.state.items()
            for name in criterion.averaged
            if name in own
        ]
        if ranks.world_size() == 1 or not places:
            return
        own = [criterion.state[p][name] for p, name in places]
        samples = [float(traces[p].samples) if p in traces else 0.0 for p, _ in places]
        parts = [tensor * count for tensor, count in zip(own, samples, strict=True)]
        *totals, counts = ranks.summed([*parts, own[0].new_tensor(samples)])
        for tensor, total, count in zip(own, totals, counts, strict=True):
            tensor.copy_(torch.where(count > 0, total / count, tensor))

    def total(self, criterion: Criterion) -> None:
        """Prepare to be read: add up the sums of all processes; every process has to call it."""
        if not self._whole:
            sums = _sums(criterion)
            for tensor, total in zip(sums, ranks.summed(sums), strict=True):
                tensor.copy_(total)
        self._whole = True


def _sums(criterion: Criterion) -> list[Tensor]:
    others = {*criterion.averaged, *criterion.alike}
    return [t for own in criterion.state.values() for name, t in own.items() if name not in others]


def of_first(metrics: Mapping[str, float] | None) -> Mapping[str, float] | None:
    """Return the ``metrics`` of rank 0 in every process.

    Raises:
        UserError: the processes have metrics with different names.
    """
    names = sorted(metrics or {})
    ranks.agree(zlib.crc32(" ".join(names).encode()), "names of what was measured (metrics)")
    return dict(zip(names, ranks.from_first([(metrics or {})[n] for n in names]), strict=True)) or metrics


def agree(masks: Masks) -> None:
    """Check that the masks are the same in all processes.

    Raises:
        UserError: they differ.
    """
    if ranks.world_size() > 1:
        alive = [*masks.units.values(), *masks.synapses.values()]
        flat = torch.cat([mask.flatten() for mask in alive]).cpu()
        ranks.agree(zlib.crc32(flat.numpy().tobytes()), "decisions")
