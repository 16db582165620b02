"""Whether a network may be cut in place, now and every so many epochs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from snnprune.common import ranks
from snnprune.common.errors import CompactionError, UserError
from snnprune.pruning.compaction.shapes import replace_content

if TYPE_CHECKING:
    from torch import nn

    from snnprune.pruning.method import Method


def check_cut_every(epochs: int | None) -> None:
    """Refuse a number of epochs from cut to cut that is none.

    Raises:
        UserError: it is below 1.
    """
    if epochs is not None and epochs < 1:
        raise UserError(
            f"compact_every is a number of epochs, at least 1, or None for none while training: came {epochs}"
        )


def check_may_cut(model: nn.Module, method: Method, *, training: bool, in_batch: bool) -> None:
    """Refuse a cut that the method, an open batch or another process would not survive.

    Args:
        model: the network.
        method: what prunes it.
        training: decisions are still to come.
        in_batch: a forward was recorded whose batch is not closed.

    Raises:
        CompactionError: it may not be cut, with what to do.
    """
    if training and not method.permanent:
        raise CompactionError(
            f"{type(method).__name__} wakes what it let die, so the network cannot be cut while it "
            "trains: call compact() after the last epoch"
        )
    if not method.can_shrink:
        raise CompactionError(
            f"{type(method).__name__} has a state and no shrink(), so its network cannot be cut in "
            "place: compact a copy after training, with snnprune.compact(model, pruner.masks)"
        )
    if in_batch:
        raise CompactionError("a batch is open: compact between batches, after step()")
    if isinstance(model, torch.nn.parallel.DistributedDataParallel) or _is_wrapped(model):
        raise CompactionError(
            "DistributedDataParallel keeps the old shapes of what it wraps: take the wrapper off before the "
            "cut (del ddp), prune the module inside it, and wrap it anew behind (docs/distributed.md)"
        )


def _is_wrapped(model: nn.Module) -> bool:
    """Tell whether somebody in C++ holds the parameters, as DistributedDataParallel's buckets do."""
    if ranks.world_size() == 1:
        return False
    try:
        for parameter in list(model.parameters())[:1]:
            replace_content(parameter, lambda same: same)
    except CompactionError:
        return True
    return False
