"""The order in which a run sees its samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from torch.utils.data import Sampler

from snnprune.seeds import Stream, derive

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
