"""The optimiser and the learning rate schedule of a configuration."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from snnprune.config.schema import TrainConfig


def build(parameters: Iterable[torch.nn.Parameter], config: TrainConfig) -> torch.optim.Optimizer:
    """Return Adam, AdamW or SGD over ``parameters``."""
    if config.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay
        )
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind(parameters, lr=config.lr, weight_decay=config.weight_decay)


def factor(epoch: int, config: TrainConfig) -> float:
    """Return the learning rate of ``epoch`` (from 0) as a multiple of ``config.lr``.

    The warm-up rises linearly. The cosine then begins at 1, and would reach 0 one epoch after the last.
    """
    if config.schedule == "step":
        return config.step_gamma ** (epoch // config.step_epochs)
    if config.schedule == "cosine":
        warmup = config.warmup_epochs
        if epoch < warmup:
            return (epoch + 1) / (warmup + 1)
        return 0.5 * (1 + math.cos(math.pi * (epoch - warmup) / max(1, config.epochs - warmup)))
    return 1.0


def schedule(optimizer: torch.optim.Optimizer, config: TrainConfig) -> torch.optim.lr_scheduler.LRScheduler:
    """Return the schedule, which is stepped once per epoch."""
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: factor(epoch, config))
