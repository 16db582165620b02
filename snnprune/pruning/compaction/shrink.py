"""Carry out a cut: remove units from every tensor of a network, and from its optimisers' moments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from snnprune.common.errors import CompactionError
from snnprune.network.sizes import tensor_of
from snnprune.pruning.compaction.shapes import fit_sizes, set_numbers
from snnprune.pruning.compaction.survivors import note, survivors_of
from snnprune.pruning.moments import moments_of, outermost

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor, nn
    from torch.optim import Optimizer

    from snnprune.network.cut import Cut
    from snnprune.pruning.compaction.transaction import Transaction


def shrink(model: nn.Module, cut: Cut, optimizers: Iterable[Optimizer], changes: Transaction) -> None:
    """Make ``model`` and the moments of ``optimizers`` smaller in place.

    Parameters stay the same objects, so optimiser groups and other references remain valid. Neurons are put
    at rest, with what the network carries from one forward to the next: these states have the old shape.

    Raises:
        CompactionError: two layers share a tensor and would cut it differently, an optimiser keeps
            what a cut cannot follow, or another object holds a tensor, so that torch cannot swap it.
    """
    moments = [moments_of(optimizer) for optimizer in outermost(optimizers)]
    tensors = _tensors(model, cut)
    for each in moments:
        each.check(tensors)
    changes.put_at_rest(model, cut.before.example)
    for each in moments:
        each.shrink(tensors, cut, changes)
    contents = {}
    for key, tensor in tensors.items():
        grad = None if tensor.grad is None else cut.take(key, tensor.grad)
        contents[key] = (tensor, cut.take(key, tensor.detach()), grad)
    changes.replace(contents)
    fit_sizes(model, cut.segments, changes)
    set_numbers(cut.numbers(model), changes)
    note(changes, model, survivors_of(model).after(cut), cut.after)


def _tensors(model: nn.Module, cut: Cut) -> dict[str, Tensor]:
    """Return the tensors to cut, each once, by one of its keys.

    If two modules hold a tensor (tied weights), both have to cut it in the same way.
    """
    wanted = {id(tensor_of(model, key)): key for key in cut.segments}
    for name, module in model.named_modules():
        for own, tensor in [*module._parameters.items(), *module._buffers.items()]:
            if tensor is None or id(tensor) not in wanted:
                continue
            key, other = f"{name}.{own}" if name else own, wanted[id(tensor)]
            for axis, length in enumerate(tensor.shape):
                if not torch.equal(cut.stays(key, axis, length), cut.stays(other, axis, length)):
                    raise CompactionError(
                        f"{other} and {key} are one tensor and would be cut differently: exclude one of the "
                        "two layers from pruning"
                    )
    return {key: tensor_of(model, key) for key in wanted.values()}
