"""RigL: drops the smallest weights and grows synapses where the gradient of the dense network is largest.

U. Evci, T. Gale, J. Menick, P. S. Castro, E. Elsen, "Rigging the Lottery: Making All Tickets Winners", ICML
2020, arXiv 1911.11134, section 3, algorithm 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from snnprune.config.schema import MethodConfig
from snnprune.methods.growing import (
    FLOOR,
    LAST,
    Distribution,
    GrowingMethod,
    Start,
    check_shares,
    cosine,
    highest,
    lots_of,
)
from snnprune.pruning.rule import lowest

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


class RigL(GradientGrowth):
    """Replaces the weakest synapses of each layer by those with the largest gradients.

    In every update, with q the progress, of the n living synapses of a layer::

        k = n alpha / 2 (1 + cos(pi q))
        the k with the smallest |w| die
        the k of all others, those that have just died among them, with the largest |dE/dw| live, from 0 on

    A synapse that dies and grows at once goes on with its weight. Ties of gradients are broken at random:
    those of silent inputs are 0.

    Args:
        target: share of all weights to prune.
        target_macs: share of all multiply-accumulates to prune, in place of ``target``.
        layers: shares of single layers by name or glob, within either target.
        floor: smallest share of its synapses that every layer keeps (see `Target`).
        alpha: share of the living synapses that is replaced in the first update. 0.3, the paper's.
        every: steps between two updates; None: one in each epoch, in its first batch. The paper's 100 is for
            runs of 32,000 steps and more.
        distribution: "erk", the paper's best, or "uniform".
        initial_density: share of the synapses alive at the start; None: constant, as in the paper.
        last: share of the run after which nothing is rewired any more. 0.75, the paper's.
        first_weight: of a synapse that grows: "zero", as in the paper, or "drawn".
        rescale: keep the variance of currents of the dense network at the start.

    Raises:
        ValueError: no target, a share outside its range, or a number of steps below 1.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import snnprune
        >>> model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(16, 4)
        >>> pruner = snnprune.Pruner(model, x, snnprune.methods.RigL(target=0.6), epochs=60)
        >>> same = snnprune.Pruner(model, x, "rigl", epochs=60, target=0.6)
    """

    def __init__(
        self,
        target: float | None = MethodConfig.target,
        *,
        target_macs: float | None = None,
        layers: Mapping[str, float] | None = None,
        floor: float = FLOOR,
        alpha: float = 0.3,
        every: int | None = None,
        distribution: Distribution = "erk",
        initial_density: float | None = None,
        last: float = LAST,
        first_weight: Start = "zero",
        rescale: bool = True,
    ) -> None:
        super().__init__(
            target,
            target_macs=target_macs,
            layers=layers,
            floor=floor,
            every=every,
            distribution=distribution,
            initial_density=initial_density,
            last=last,
            first_weight=first_weight,
            rescale=rescale,
        )
        check_shares(alpha=alpha)
        self.alpha = alpha

    def update(self, view: View, gradients: Mapping[str, Tensor]) -> Decision:
        """Replace the weakest by those with the largest gradients."""
        progress = self.progress(view.clock)
        went_on, stays = {}, {}
        for p, weight in self.weights(view):
            if p.name not in gradients:
                continue
            alive, magnitude = view.masks.alive(p), weight.abs()
            dying, growing = self.counts(view, p, self.dropped(progress), progress)
            kept = alive & ~lowest(magnitude, magnitude, alive, dying)
            places = view.masks.between(p) & ~kept
            stays[p.name] = kept | highest(gradients[p.name], lots_of(view, p), places, growing)
            went_on[p.name] = alive & stays[p.name]
        return self.rewired(went_on, stays)

    def dropped(self, progress: float) -> float:
        """Return the share of the living synapses that dies."""
        return cosine(self.alpha, progress)
