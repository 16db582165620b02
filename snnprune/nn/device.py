"""The device of a run's network, and the number of threads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from snnprune.config.schema import RunConfig


def device_of(config: RunConfig) -> str:
    """Return "cpu" or "cuda": the one that ``train.device`` names; for "auto" the GPU if there is one."""
    if config.train.device != "auto":
        return config.train.device
    return "cuda" if torch.cuda.is_available() else "cpu"


def use_threads(config: RunConfig) -> None:
    """Set torch's number of threads to ``train.threads``, if that is given."""
    if config.train.threads is not None:
        torch.set_num_threads(config.train.threads)
