"""RigL: drops the smallest weights and grows synapses where the gradient of the dense network is largest.

U. Evci, T. Gale, J. Menick, P. S. Castro, E. Elsen, "Rigging the Lottery: Making All Tickets Winners", ICML
2020, arXiv 1911.11134, section 3, algorithm 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from snnprune.config.schema import MethodConfig
from snnprune.methods.gradient_growth import GradientGrowth
from snnprune.methods.growing import (
    LAST,
    Scope,
    Start,
    check_shares,
    cosine,
    highest,
    lots_of,
)
from snnprune.pruning.aims import FurtherTargets  # noqa: TC001 - options are read by their types
from snnprune.pruning.rule import lowest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from snnprune.pruning.view import Decision, View


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
        alpha: share of the living synapses that is replaced in the first update. 0.3, the paper's.
        every: steps between two updates; None: one in each epoch, in its first batch. The paper's 100 is for
            runs of 32,000 steps and more.
        scope: "erk", the paper's best, or "local".
        initial_density: share of the synapses alive at the start; None: constant, as in the paper.
        last: share of the run after which nothing is rewired any more. 0.75, the paper's.
        first_weight: of a synapse that grows: "zero", as in the paper, or "drawn".
        rescale: keep the variance of currents of the dense network at the start.
        aims: further targets: the options of `Aims`.

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
        alpha: float = 0.3,
        every: int | None = None,
        scope: Scope = "erk",
        initial_density: float | None = None,
        last: float = LAST,
        first_weight: Start = "zero",
        rescale: bool = True,
        **aims: Unpack[FurtherTargets],
    ) -> None:
        super().__init__(
            target,
            every=every,
            scope=scope,
            initial_density=initial_density,
            last=last,
            first_weight=first_weight,
            rescale=rescale,
            **aims,
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
