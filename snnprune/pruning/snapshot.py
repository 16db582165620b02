"""A saved state of the network, for methods that look for a peak and go back to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from snnprune.network.resizing import resized, resized_shape, segments
from snnprune.network.sizes import tensor_of
from snnprune.pruning.compaction.shapes import fit_sizes, numbered, set_numbers
from snnprune.pruning.compaction.survivors import SurvivingUnits
from snnprune.pruning.masks import Masks
from snnprune.pruning.moments import moments_of, outermost
from snnprune.pruning.moments.places import keyed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor, nn
    from torch.optim import Optimizer

    from snnprune.network.topology import Topology
    from snnprune.pruning.compaction.transaction import Transaction


@dataclass(frozen=True)
class Snapshot:
    """Tensors, masks and shapes of a network, so that it can be restored even if it was cut afterwards.

    Attributes:
        epoch: the epoch, from 0, after which the snapshot was taken.
        tensors: parameters and buffers, by name.
        masks: state of the `Masks`.
        kept: indices of the dense network's surviving units, by population.
    """

    epoch: int
    tensors: dict[str, Tensor]
    masks: dict[str, dict[str, Tensor]]
    kept: dict[str, Tensor]

    @staticmethod
    def take(model: nn.Module, masks: Masks, survivors: SurvivingUnits, epoch: int) -> Snapshot:
        """Return a copy of the present state of the network."""
        tensors = dict(model.named_parameters()) | dict(model.named_buffers())
        copies = {name: tensor.detach().clone() for name, tensor in tensors.items()}
        return Snapshot(epoch, copies, masks.state_dict(), {k: t.clone() for k, t in survivors.items()})

    @staticmethod
    def blank(
        model: nn.Module, now: Topology, masks: dict[str, dict[str, Tensor]], survivors: SurvivingUnits
    ) -> Snapshot:
        """Return a network of other surviving units, whose weights are to be loaded: they are zeros.

        Args:
            model: the network.
            now: its present topology.
            masks: state of the `Masks` of the other one.
            survivors: its surviving units.
        """
        sizes = {name: len(units) for name, units in survivors.items()}
        tensors = {id(tensor): (key, tensor) for key in segments(now) for tensor in [tensor_of(model, key)]}
        shapes = {
            key: resized_shape(now, sizes, key, tuple(tensor.shape)) for key, tensor in tensors.values()
        }
        blanks = {
            key: torch.zeros(shapes[key], dtype=tensor.dtype, device=tensor.device)
            for key, tensor in tensors.values()
            if shapes[key] != tuple(tensor.shape)
        }
        return Snapshot(0, blanks, masks, dict(survivors))

    @torch.no_grad()
    def put_back(
        self, model: nn.Module, dense: Topology, optimizers: Iterable[Optimizer], changes: Transaction
    ) -> tuple[Masks, SurvivingUnits]:
        """Restore ``model`` in place; its parameters stay the same objects.

        Neurons are put at rest, gradients are removed, and moments start from zero.

        Args:
            model: the network, which may have been cut since.
            dense: its topology before the first cut.
            optimizers: the optimisers that train it.
            changes: the transaction that undoes everything on failure.

        Returns:
            The masks and the surviving units of the snapshot.

        Raises:
            CompactionError: a tensor has changed its shape, and another object holds it, so that torch cannot
                swap it.
        """
        changes.put_at_rest(model, dense.example)
        tensors = {name: tensor_of(model, name) for name in self.tensors}
        changes.replace(
            {
                name: (tensor, self.tensors[name].to(tensor.device), None)
                for name, tensor in tensors.items()
                if tensor.shape != self.tensors[name].shape
            }
        )
        fit_sizes(model, self.tensors, changes)
        sizes = {p.name: p.size for p in dense.populations.values()}
        left = {name: len(units) for name, units in SurvivingUnits(sizes, self.kept).items()}
        numbers = {n.key: (n.value(left), n.value(sizes)) for n in dense.numbers}
        set_numbers(numbered(model, numbers), changes)
        was = SurvivingUnits(sizes, self.kept, numbers=numbers)
        masks = Masks(model, resized(dense, left))
        masks.load_state_dict(self.masks)
        optimizers = list(optimizers)
        for optimizer in optimizers:
            for _, kept in keyed(optimizer):
                changes.remember_items(kept)
        for name, tensor in tensors.items():  # nothing here can fail
            tensor.grad = None
            tensor.copy_(self.tensors[name])
        for optimizer in outermost(optimizers):
            for tensor in tensors.values():
                moments_of(optimizer).forget(tensor)
        return masks, was

    def state_dict(self) -> dict[str, Any]:
        """Return the snapshot as a dict of tensors and numbers."""
        return dict(vars(self))

    @staticmethod
    def of(state: dict[str, Any]) -> Snapshot:
        """Return the snapshot that `state_dict` described."""
        return Snapshot(**state)
