"""The base of methods that grow synapses where the gradient of the dense network is largest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from snnprune.methods.growing import GrowingMethod

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from snnprune.pruning.clock import Clock
    from snnprune.pruning.view import Decision, View


class GradientGrowth(GrowingMethod):
    """A method that grows synapses where the gradient of the dense network is largest.

    In a batch that it updates in, the gradients of the dead are computed, read and set to zero before the
    optimiser sees them; in all others they are zero from the backward on. What reads gradients between the
    two, such as a norm to clip by, sees those of the dead in the batches of updates.

    Args:
        every: steps between two updates; None: one in each epoch, in its first batch.
    """

    def __init__(self, *args: Any, every: int | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        if every is not None and every < 1:
            raise ValueError(f"every is a number of steps from 1 on, or None for once an epoch, came {every}")
        self.every = every
        self._updated = 0  # the epoch of the last update
        self._seen: dict[str, Tensor] = {}

    def learns_dead(self, clock: Clock) -> bool:
        """Tell whether the next batch is one of an update."""
        if clock.epoch > self.last_epoch(clock):
            return False
        if self.every is not None:
            return (clock.batches + 1) % self.every == 0
        return clock.epoch > self._updated

    @torch.no_grad()
    def after_backward(self, view: View) -> None:
        """Keep the magnitude of gradients, where the batch is one of an update."""
        self._seen = {}
        if not self.learns_dead(view.clock):
            return
        for p, weight in self.weights(view):
            if weight.grad is not None:
                self._seen[p.name] = weight.grad.abs().nan_to_num(nan=0.0)
                weight.grad.masked_fill_(~view.masks.alive(p), 0.0)

    @torch.no_grad()
    def after_step(self, view: View) -> Decision | None:
        """Update who is alive, where the batch is one of an update."""
        seen, self._seen = self._seen, {}
        if not seen:
            return None
        self._updated = view.clock.epoch
        return self.update(view, seen)

    def update(self, view: View, gradients: Mapping[str, Tensor]) -> Decision:
        """Decide, given the magnitudes of gradients by layer, in the shape of the weight."""
        raise NotImplementedError

    def get_extra_state(self) -> dict[str, Any]:
        """Return the epoch of the last update."""
        return {"updated": self._updated}

    def set_extra_state(self, extra: dict[str, Any]) -> None:
        """Restore it."""
        self._updated = int(extra["updated"])
