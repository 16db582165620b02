"""The order of the samples of a run, and the share of each process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from torch.utils.data import Sampler

from snnprune.common.seeds import Stream, derive

if TYPE_CHECKING:
    from collections.abc import Iterator


class EpochSampler(Sampler[int]):
    """Every index of ``range(size)`` once, in an order that depends only on (seed, epoch).

    Lightning calls ``set_epoch`` before each epoch, also in a resumed run.

    Args:
        size: number of samples.
        seed: of the run.
        with_epoch: yield ``epoch * size + index`` in place of the index, for samples that are other ones in
            each epoch (`snnprune.data.AugmentedSet`).
    """

    def __init__(self, size: int, seed: int, *, with_epoch: bool = False) -> None:
        self.size = size
        self.seed = seed
        self.with_epoch = with_epoch
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, counted from 0, whose order is used."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        order = np.random.default_rng(derive(self.seed, Stream.ORDER, self.epoch)).permutation(self.size)
        return iter((order + self.epoch * self.size if self.with_epoch else order).tolist())

    def __len__(self) -> int:
        return self.size


class SharedBatches(Sampler[list[int]]):
    """The share of one process of every training batch: the batches of a single process are divided.

    Shares of a batch differ by at most one sample. No sample is used twice. Samples are left out only if the
    last batch has fewer samples than there are processes; they are other samples in each epoch.

    Args:
        sampler: the order of all samples.
        batch_size: of all processes together.
        rank: of this process.
        world_size: number of processes.
    """

    def __init__(self, sampler: EpochSampler, batch_size: int, rank: int, world_size: int) -> None:
        self.sampler = sampler  # Lightning sets the epoch through this name
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
        """Return the factor by which to multiply this process's mean loss.

        With it, the mean over processes is the mean over the whole batch.
        """
        first, last = self._ends(batch)
        return self.world_size * (last - first) / self._size(batch)

    def _size(self, batch: int) -> int:
        return min(self.batch_size, len(self.sampler) - batch * self.batch_size)

    def _ends(self, batch: int) -> tuple[int, int]:
        size = self._size(batch)
        return self.rank * size // self.world_size, (self.rank + 1) * size // self.world_size
