"""A network as it was: for methods that look for a peak, and go back to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from snnprune.network.duplicate import reset_states
from snnprune.network.resizing import resized
from snnprune.pruning.compaction.kept import Kept
from snnprune.pruning.compaction.origin import set_origin
from snnprune.pruning.compaction.shapes import fit_sizes, replace_content, tensor_of
from snnprune.pruning.masks import Masks

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor, nn
    from torch.optim import Optimizer


@dataclass(frozen=True)
class Snapshot:
    """All that a network was, shapes included, so that it may be cut after the snapshot and still grow back.

    Attributes:
        epoch: after which it was taken, from 0.
        tensors: parameters and buffers, by name.
        masks: state of the `Masks`.
        kept: indices of the dense network's units that were left, by population.
    """

    epoch: int
    tensors: dict[str, Tensor]
    masks: dict[str, dict[str, Tensor]]
    kept: dict[str, Tensor]

    @staticmethod
    def take(model: nn.Module, masks: Masks, kept: Kept, epoch: int) -> Snapshot:
        """Copy the network as it is."""
        tensors = dict(model.named_parameters()) | dict(model.named_buffers())
        copies = {name: tensor.detach().clone() for name, tensor in tensors.items()}
        return Snapshot(epoch, copies, masks.state_dict(), {k: t.clone() for k, t in kept.units.items()})

    @torch.no_grad()
    def put_back(
        self, model: nn.Module, kept: Kept, optimizers: Iterable[Optimizer] = ()
    ) -> tuple[Masks, Kept]:
        """Make ``model`` what it was, in place: parameters stay the objects that they are.

        Neurons are put at rest, gradients are gone, and moments start from zero.

        Args:
            model: the network, cut or not since.
            kept: what is left of it now.
            optimizers: those that train it.

        Returns:
            Its masks, and which units it has.
        """
        reset_states(model)
        for name, saved in self.tensors.items():
            tensor = tensor_of(model, name)
            tensor.grad = None
            for optimizer in optimizers:
                optimizer.state.pop(tensor, None)
            if tensor.shape == saved.shape:
                tensor.copy_(saved)
            else:
                replace_content(tensor, lambda old, saved=saved: saved.to(old.device))  # type: ignore[misc]
        fit_sizes(model, self.tensors)
        was = Kept(kept.dense, self.kept)
        masks = Masks(model, resized(kept.dense, {name: len(units) for name, units in self.kept.items()}))
        masks.load_state_dict(self.masks)
        set_origin(model, was.origin(model))
        return masks, was

    def state_dict(self) -> dict[str, Any]:
        """Return everything as tensors and numbers."""
        return dict(vars(self))

    @staticmethod
    def of(state: dict[str, Any]) -> Snapshot:
        """Take back what `state_dict` returned."""
        return Snapshot(**state)
