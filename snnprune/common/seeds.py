"""Randomness that is a function of (seed, epoch, batch), so that a killed epoch can be repeated exactly."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


class Stream(IntEnum):
    """What a random number is for; two purposes never share a sequence."""

    ORDER = 0
    EPOCH = 1
    TRAIN = 2
    VALIDATION = 3
    TEST = 4
    METHOD = 5
    AUGMENT = 6
    BORN = 7
    LEARN = 8


def derive(seed: int, stream: Stream, *at: int) -> int:
    """Return a 63-bit seed for ``stream`` at a place such as (epoch, batch). Equal arguments, equal seed."""
    # The length as well: numpy takes (1, 0) and (1,) for the same entropy.
    return int(
        np.random.SeedSequence((seed, stream, len(at), *at)).generate_state(1, np.uint64)[0] >> np.uint64(1)
    )


def generator(device: torch.device, seed: int, stream: Stream, *at: int) -> torch.Generator:
    """Return a fresh generator on ``device`` for ``stream`` at a place such as (epoch, batch)."""
    import torch  # noqa: PLC0415 - the command line reads this module before it needs torch

    return torch.Generator(device).manual_seed(derive(seed, stream, *at))
