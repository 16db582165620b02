"""Randomness that is a function of (seed, epoch, batch), so that a killed epoch can be repeated exactly."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.utils.data import Sampler

if TYPE_CHECKING:
    from collections.abc import Iterator


class Stream(IntEnum):
    """What a random number is for; two purposes never share a sequence."""

    ORDER = 0
    EPOCH = 1
    TRAIN = 2
    VALIDATION = 3
    TEST = 4


def derive(seed: int, stream: Stream, *at: int) -> int:
    """Return a 63-bit seed for ``stream`` at a place such as (epoch, batch); equal arguments, equal seed."""
    # The length as well: numpy takes (1, 0) and (1,) for the same entropy.
    return int(
        np.random.SeedSequence((seed, stream, len(at), *at)).generate_state(1, np.uint64)[0] >> np.uint64(1)
    )


def generator(device: torch.device, seed: int, stream: Stream, *at: int) -> torch.Generator:
    """Return a fresh generator on ``device`` for ``stream`` at a place such as (epoch, batch)."""
    return torch.Generator(device).manual_seed(derive(seed, stream, *at))


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
