"""The order in which a run sees its samples, and which of them a process has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from torch.utils.data import Sampler

from snnprune.common.seeds import Stream, derive

if TYPE_CHECKING:
    from collections.abc import Iterator


class EpochSampler(Sampler[int]):
    """Every index of ``range(size)`` once, in an order that (seed, epoch) decides alone.

    Lightning calls ``set_epoch`` before each epoch, on a resumed run too.
    """

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of ``epoch``, counted from 0."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        order = np.random.default_rng(derive(self.seed, Stream.ORDER, self.epoch)).permutation(self.size)
        return iter(order.tolist())

    def __len__(self) -> int:
        return self.size


class SharedBatches(Sampler[list[int]]):
    """One process's share of every training batch: the batches are those of a single process, divided.

    Shares of a batch differ by one sample at most, no sample is seen twice, and none is left out but those of
    a last batch that has fewer samples than there are processes; these are others in each epoch.

    Args:
        sampler: the order of all samples.
        batch_size: of all processes together.
        rank: of this process.
        world_size: number of processes.
    """

    def __init__(self, sampler: EpochSampler, batch_size: int, rank: int, world_size: int) -> None:
        self.sampler = sampler  # Lightning tells it the epoch under this name
        self.batch_size, self.rank, self.world_size = batch_size, rank, world_size

    def __iter__(self) -> Iterator[list[int]]:
        order = list(self.sampler)
        for batch in range(len(self)):
            first, last = self._ends(batch)
            yield order[batch * self.batch_size + first : batch * self.batch_size + last]

    def __len__(self) -> int:
        whole, rest = divmod(len(self.sampler), self.batch_size)
        return whole + (rest >= max(self.world_size, 2))

    def weight(self, batch: int) -> float:
        """Return what makes of this process's mean over its share its part in the mean over processes."""
        first, last = self._ends(batch)
        return self.world_size * (last - first) / self._size(batch)

    def _size(self, batch: int) -> int:
        return min(self.batch_size, len(self.sampler) - batch * self.batch_size)

    def _ends(self, batch: int) -> tuple[int, int]:
        size = self._size(batch)
        return self.rank * size // self.world_size, (self.rank + 1) * size // self.world_size
