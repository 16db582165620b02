"""Settings of network and training that cannot work, found before anything is read or written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snnprune.common.errors import UserError
from snnprune.config.names import METHODS, MODELS, pick

if TYPE_CHECKING:
    from snnprune.config.schema import RunConfig

LARGEST_SEED = 2**63 - 1
"""What torch's generators take."""


def check(config: RunConfig) -> None:
    """Look at the model, the method and the training settings of ``config``.

    Raises:
        UserError: an unknown method, a number out of range, or a GPU asked for where there is none.
    """
    train, method, model = config.train, config.method, config.model
    pick(MODELS, "model", model.name)
    pick(METHODS, "method", method.name)
    if model.hidden is not None and model.hidden < 1:
        raise UserError(f"model.hidden must be at least 1 unit, and is {model.hidden}")
    if not 0 <= model.dropout < 1:
        raise UserError(f"model.dropout is a share, from 0 to below 1, and is {model.dropout}")
    if train.seed > LARGEST_SEED:
        raise UserError(f"train.seed must be at most {LARGEST_SEED}, and is {train.seed}")
    for name, value, least in (
        ("train.epochs", train.epochs, 1),
        ("train.batch_size", train.batch_size, 1),
        ("train.step_epochs", train.step_epochs, 1),
        ("train.warmup_epochs", train.warmup_epochs, 0),
        ("train.weight_decay", train.weight_decay, 0),
        ("train.momentum", train.momentum, 0),
        ("train.seed", train.seed, 0),
        ("method.compact_every", 1 if method.compact_every is None else method.compact_every, 1),
        ("train.devices", train.devices, 1),
        ("train.nodes", train.nodes, 1),
        ("train.threads", 1 if train.threads is None else train.threads, 1),
    ):
        if value < least:
            raise UserError(f"{name} must be at least {least}, and is {value}")
    if train.batch_size < train.devices * train.nodes:
        raise UserError(
            f"train.batch_size is divided among {train.devices * train.nodes} processes (train.devices x "
            f"train.nodes), and is {train.batch_size}: each needs a sample"
        )
    if not train.lr > 0:
        raise UserError(f"train.lr must be above 0, and is {train.lr}")
    if method.target is not None and not 0 <= method.target < 1:
        raise UserError(f"method.target is a share of all weights, from 0 to below 1, and is {method.target}")
    if not 0 <= method.structured <= 1:
        raise UserError(f"method.structured is a share, from 0 to 1, and is {method.structured}")
    if train.device == "cuda" and not _has_gpu():
        raise UserError("train.device is cuda, and torch sees no CUDA device here: use cpu or auto")
    if train.precision == "fp16" and (train.device == "cpu" or not _has_gpu()):
        raise UserError("train.precision fp16 needs a GPU, and this run has none: use bf16 or float32")


def _has_gpu() -> bool:
    import torch  # noqa: PLC0415 - slow to import, and seldom asked

    return bool(torch.cuda.is_available())
