"""Settings of training that cannot work, found before anything is read or written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snnprune.errors import UserError
from snnprune.registry import METHODS, pick

if TYPE_CHECKING:
    from snnprune.config import RunConfig


def check(config: RunConfig) -> None:
    """Look at the method and at the training settings of ``config``.

    Raises:
        UserError: an unknown method, a number out of range, or a GPU asked for where there is none.
    """
    train, method = config.train, config.method
    pick(METHODS, "method", method.name)
    for name, value, least in (
        ("train.epochs", train.epochs, 1),
        ("train.batch_size", train.batch_size, 1),
        ("train.step_epochs", train.step_epochs, 1),
        ("train.warmup_epochs", train.warmup_epochs, 0),
        ("train.weight_decay", train.weight_decay, 0),
        ("train.momentum", train.momentum, 0),
        ("train.seed", train.seed, 0),
        ("method.compact_every", 1 if method.compact_every is None else method.compact_every, 1),
        ("train.threads", 1 if train.threads is None else train.threads, 1),
    ):
        if value < least:
            raise UserError(f"{name} must be at least {least}, and is {value}")
    if not train.lr > 0:
        raise UserError(f"train.lr must be above 0, and is {train.lr}")
    if method.target is not None and not 0 <= method.target < 1:
        raise UserError(f"method.target is a share of all weights, from 0 to below 1, and is {method.target}")
    if not 0 <= method.structured <= 1:
        raise UserError(f"method.structured is a share, from 0 to 1, and is {method.structured}")
    if train.device == "cuda":
        import torch  # noqa: PLC0415 - slow to import, and seldom asked

        if not torch.cuda.is_available():
            raise UserError("train.device is cuda, and torch sees no CUDA device here: use cpu or auto")
