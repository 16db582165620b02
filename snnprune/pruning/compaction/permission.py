"""Checks of whether a network may be cut in place, now or every few epochs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from snnprune.common import ranks
from snnprune.common.errors import CompactionError, UserError
from snnprune.network.rehearsal import rehearse_half
from snnprune.pruning.compaction.transaction import is_held

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from snnprune.network.topology import Topology
    from snnprune.pruning.method import Method

WRAPPED = (
    "DistributedDataParallel keeps the old shapes of the module that it wraps: remove the wrapper before the "
    "cut (del ddp), prune the module itself, and wrap it again after the cut (docs/distributed.md)"
)


def check_cut_every(epochs: int | None, method: Method | None = None) -> None:
    """Check that cuts during training are possible.

    Args:
        epochs: number of epochs between two cuts; None for no cuts.
        method: the method that prunes the network, if it is known.

    Raises:
        UserError: the number is below 1, or the method allows no cut before training has ended.
    """
    if epochs is None:
        return
    if epochs < 1:
        raise UserError(
            f"compact_every must be a number of epochs, at least 1, or None for no cut during training, "
            f"came {epochs}"
        )
    reason = None if method is None else _never(method, training=True)
    if reason is not None:
        raise CompactionError(f"compact_every={epochs} is not possible: {reason}")


def _never(method: Method, *, training: bool) -> str | None:
    """Return why a method allows no cut in place, and what to do; None if it allows one."""
    name = type(method).__name__
    if training and not method.units_stay_dead:
        return (
            f"{name} lets pruned units and synapses come back (permanent = False), so the network "
            "cannot be cut during training: leave compact_every out, and call compact() after the last epoch"
        )
    if not method.can_shrink:
        return (
            f"{name} has a state_dict() of its own and no shrink(), so its state cannot follow a cut: "
            "declare its tensors in `axes`, or compact a copy after training with "
            "snnprune.compact(model, pruner.masks)"
        )
    return None


def check_may_cut(model: nn.Module, method: Method, *, training: bool, in_batch: bool) -> None:
    """Check that the method, the open batch and the other processes allow a cut now.

    Args:
        model: the network.
        method: the method that prunes it.
        training: the method still has decisions to take.
        in_batch: a forward was recorded, and its batch is not closed.

    Raises:
        CompactionError: the network cannot be cut now; the message says what to do.
    """
    reason = _never(method, training=training)
    if reason is not None:
        raise CompactionError(reason)
    if in_batch:
        raise CompactionError("a batch is open: compact between batches, after step()")
    check_unwrapped(model)
    if _is_wrapped(model):
        raise CompactionError(WRAPPED)


def check_unwrapped(model: nn.Module) -> None:
    """Check that no wrapper around the network holds the shapes of its tensors.

    Raises:
        CompactionError: DistributedDataParallel does.
    """
    if any(isinstance(m, torch.nn.parallel.DistributedDataParallel) for m in model.modules()):
        raise CompactionError(WRAPPED)


def masked_only(model: nn.Module, topology: Topology) -> Iterator[str]:
    """Yield a sentence on each population that can be masked, and that no cut can remove units from."""
    for population in topology.free():
        if population.uncut is not None:
            yield (
                f"population {population.name} can be masked but not compacted, "
                f"{_WHOLE if population.whole else _UNPROVED}: {population.uncut}"
            )
    try:
        rehearse_half(model, topology)
    except CompactionError as error:
        yield f"the network can be masked but not compacted: {error}"


_WHOLE = "so a cut leaves it whole"
_UNPROVED = "because its dead units cannot be proved silent"


def _is_wrapped(model: nn.Module) -> bool:
    """Tell whether C++ code holds the parameters, as the buckets of DistributedDataParallel do."""
    return ranks.world_size() > 1 and any(map(is_held, list(model.parameters())[:1]))
