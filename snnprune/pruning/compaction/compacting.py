"""Really smaller, with the same outputs: take out of a network what its masks declare dead."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from snnprune.common.errors import CompactionError, UserError
from snnprune.network.duplicate import duplicate
from snnprune.pruning.compaction.removal import plan_cut
from snnprune.pruning.compaction.shrink import holds_any_of, shrink
from snnprune.pruning.compaction.silence import prove_silent
from snnprune.pruning.compaction.transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import nn
    from torch.optim import Optimizer

    from snnprune.pruning.compaction.cut import Cut
    from snnprune.pruning.masks import Masks

    Network = TypeVar("Network", bound=nn.Module)


def compact(
    model: Network,
    masks: Masks,
    *,
    inplace: bool = False,
    optimizer: Optimizer | None = None,
    round_to: int | None = None,
    min_alive: int = 1,
) -> Network:
    """Return a smaller copy of the network, without its dead units and those that nothing alive reads.

    ``model`` is left as it is. The copy has no hooks of a pruner, and its neurons are at rest. A network that
    a `Pruner` trains is made smaller itself by `Pruner.compact`, which takes the pruner along.

    Args:
        model: the network.
        masks: who is alive in it.
        inplace: make ``model`` itself smaller, and return it: parameters stay the objects that they are, and
            ``masks`` follow.
        optimizer: what trains ``model``, with ``inplace``: its moments are cut along.
        round_to: fill every population that is cut up to a multiple of this, for example 8, with the
            strongest of those that would go; the dead among them stay, with weights of zero.
        min_alive: how many units of each population stay at least.

    Raises:
        CompactionError: a dead unit cannot be proved silent, the optimiser is another model's, or the masks
            are, or something holds a tensor of the network where torch cannot swap it.
        UserError: there is an optimiser, and a copy is asked for.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import snnprune
        >>> model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(16, 4)
        >>> masks = snnprune.Masks(model, snnprune.discover(model, x))
        >>> masks.keep_units(masks.topology.populations["0"], torch.arange(8) < 6)
        >>> small = snnprune.compact(model, masks)
        >>> small[0].out_features, model[0].out_features
        (6, 8)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> snnprune.compact(model, masks, inplace=True, optimizer=optimizer) is model
        True
    """
    if not inplace:
        if optimizer is not None:
            raise UserError(
                "compact returns a copy, which no optimiser trains yet: leave the optimiser out, or pass "
                "inplace=True to make the model itself smaller, with the moments of its optimiser"
            )
        model = duplicate(model)
        masks = masks.bound_to(model)
    cut = plan_cut(model, masks, round_to=round_to, min_alive=min_alive)
    with Transaction() as changes:
        carry_out(model, masks, cut, [] if optimizer is None else [optimizer], changes)
    return model


def carry_out(
    model: nn.Module, masks: Masks, cut: Cut, optimizers: Iterable[Optimizer], changes: Transaction
) -> None:
    """Make ``model``, ``masks`` and the moments of ``optimizers`` smaller, in place.

    Raises:
        CompactionError: as `compact`; once ``changes`` are taken back, nothing has changed but that the masks
            were applied.
    """
    optimizers = list(optimizers)
    for optimizer in optimizers:
        check_optimizer(optimizer, model)
    masks.refresh()
    masks.apply(*optimizers)
    for name, stays in cut.units.items():
        dead = ~stays & ~masks.units[name]  # a living unit that goes needs no silence: nothing reads it
        if bool(dead.any()):
            prove_silent(model, masks.topology, masks.topology.populations[name], dead)
    shrink(model, cut, optimizers, changes)
    masks.shrink(cut, changes)


def check_optimizer(optimizer: Optimizer, model: nn.Module) -> None:
    """Refuse an optimiser that trains nothing of ``model``.

    Raises:
        CompactionError: it does not.
    """
    if not holds_any_of(optimizer, model):
        raise CompactionError(
            f"this {type(optimizer).__name__} holds no parameter of the network (it is another model's, or "
            "was made for a copy): pass the optimiser that trains it"
        )
