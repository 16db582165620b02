"""Where the network of a run computes: the device, and how many threads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from snnprune.config.schema import RunConfig


def device_of(config: RunConfig) -> str:
    """Return "cpu" or "cuda": what is asked for, or the GPU where there is one."""
    if config.train.device != "auto":
        return config.train.device
    return "cuda" if torch.cuda.is_available() else "cpu"


def use_threads(config: RunConfig) -> None:
    """Let torch compute with the number of threads that is asked for, if one is."""
    if config.train.threads is not None:
        torch.set_num_threads(config.train.threads)
