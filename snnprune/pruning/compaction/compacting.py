"""Remove the units from a network that its masks mark as dead; the outputs stay the same."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, TypeVar

from snnprune.common.errors import CompactionError, UserError
from snnprune.network.duplicate import duplicate
from snnprune.network.rehearsal import rehearse
from snnprune.pruning.compaction.permission import check_unwrapped
from snnprune.pruning.compaction.removal import plan_cut
from snnprune.pruning.compaction.shrink import shrink
from snnprune.pruning.compaction.silence import prove_silent
from snnprune.pruning.compaction.transaction import Transaction
from snnprune.pruning.optimizers import holds_any_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import nn
    from torch.optim import Optimizer

    from snnprune.network.cut import Cut
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
    """Return a smaller copy of the network, without dead units and units that no alive unit reads.

    ``model`` does not change. The copy has no hooks of a pruner, and its neurons are at rest. If a `Pruner`
    prunes the network, `Pruner.compact` makes the network itself smaller, and the pruner continues with it.
    A population that no cut can make smaller stays whole, with its dead units, and a warning says so.

    Args:
        model: the network.
        masks: which of its units and synapses are alive.
        inplace: make ``model`` itself smaller, and return it. Its parameters stay the same objects, and
            ``masks`` become smaller, too.
        optimizer: with ``inplace``, the optimiser of ``model``; its moments are cut, too.
        round_to: round the size of every population that is cut up to a multiple of this, for example 8. The
            strongest of the units that would be removed fill it; dead ones among them keep weights of zero.
        min_alive: least number of units that stay in each population.

    Raises:
        CompactionError: a dead unit cannot be proved silent, every population stays whole, the smaller
            network would not run on the example that it was discovered with or would answer otherwise, the
            optimiser or the masks belong to another model, or another object holds a tensor of the network,
            so that torch cannot swap it.
        UserError: an optimiser came without ``inplace``.

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
    if not hasattr(masks, "bound_to"):
        raise UserError(
            f"masks must be a Masks object, such as pruner.masks, and is {type(masks).__name__} (a network "
            "that a Pruner trains is made smaller by pruner.compact())"
        )
    check_unwrapped(model)
    if not inplace:
        if optimizer is not None:
            raise UserError(
                "compact returns a copy, which no optimiser trains yet: leave the optimiser out, or pass "
                "inplace=True to make the model itself smaller, with the moments of its optimiser"
            )
        model = duplicate(model)
        masks = masks.bound_to(model)
    cut = plan_cut(model, masks, round_to=round_to, min_alive=min_alive)
    for population in masks.topology.free():
        if population.whole and not bool(masks.units[population.name].all()):
            warnings.warn(f"population {population.name} stays whole: {population.uncut}", stacklevel=2)
    with Transaction() as changes:
        carry_out(model, masks, cut, [] if optimizer is None else [optimizer], changes)
    return model


def carry_out(
    model: nn.Module, masks: Masks, cut: Cut, optimizers: Iterable[Optimizer], changes: Transaction
) -> None:
    """Make ``model``, ``masks`` and the moments of ``optimizers`` smaller, in place.

    Raises:
        CompactionError: as `compact`. After ``changes`` are undone, the only difference is that the masks
            were applied.
    """
    optimizers = list(optimizers)
    for optimizer in optimizers:
        check_optimizer(optimizer, model)
    masks.refresh()
    masks.apply(*optimizers)
    for name, stays in cut.units.items():
        dead = (
            ~stays & ~masks.units[name]
        )  # an alive unit that is removed need not be silent: nothing reads it
        if bool(dead.any()):
            prove_silent(model, masks.topology, masks.topology.populations[name], dead)
    rehearse(model, cut)
    shrink(model, cut, optimizers, changes)
    masks.shrink(cut, changes)


def check_optimizer(optimizer: Optimizer, model: nn.Module) -> None:
    """Check that an optimiser holds a parameter of ``model``.

    Raises:
        CompactionError: it holds none.
    """
    if not hasattr(optimizer, "param_groups"):
        raise CompactionError(
            f"optimizer must be what trains the network, and is {type(optimizer).__name__} (Pruner.compact "
            "makes the model of the pruner smaller, and takes no model)"
        )
    if not holds_any_of(optimizer, model):
        raise CompactionError(
            f"this {type(optimizer).__name__} holds no parameter of the network (it is another model's, or "
            "was made for a copy): pass the optimiser that trains it"
        )
