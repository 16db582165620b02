"""NDSNN: neurogenesis dynamics, in which more synapses die than grow.

S. Huang, H. Fang, K. Mahmood, B. Lei, N. Xu, B. Lei, Y. Sun, D. Xu, W. Wen, C. Ding, "Neurogenesis
Dynamics-inspired Spiking Neural Network Training Acceleration", DAC 2023, arXiv 2304.12214.
"""

from __future__ import annotations

from typing import Unpack

from snnprune.config.schema import MethodConfig
from snnprune.methods.growing import LAST, Scope, Start, check_shares, cosine
from snnprune.methods.rigl import RigL
from snnprune.pruning.aims import FurtherTargets  # noqa: TC001 - options are read by their types


class NDSNN(RigL):
    """Drops more than it grows, so that the density of each layer falls from d_i to d_f.

    In every update, with q the progress::

        d(q) = d_f + (d_i - d_f) (1 - q)^3
        a(q) = alpha_min + (alpha - alpha_min) / 2 (1 + cos(pi q))
        of the n living synapses of a layer, the a(q) n with the smallest |w| die
        so many with the largest |dE/dw| grow, at 0, that the share d(q) of the layer is alive

    Args:
        target: share of all weights to prune.
        alpha: share of the living synapses that dies in the first update. 0.5 [reading].
        alpha_min: share that dies in the last one. 0.05 [reading].
        every: steps between two updates; None: one in each epoch, in its first batch.
        scope: "erk", as in the paper, or "local".
        initial_density: d_i over all layers that are pruned. 0.5 [reading]; the paper tries several.
        last: share of the run after which nothing is rewired any more.
        first_weight: of a synapse that grows: "zero" or "drawn".
        rescale: keep the variance of currents of the dense network at the start.
        aims: further targets: the options of `Aims`.

    Raises:
        ValueError: no target, a share outside its range, or a number of steps below 1.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import snnprune
        >>> model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(16, 4)
        >>> pruner = snnprune.Pruner(model, x, snnprune.methods.NDSNN(target=0.6), epochs=60)
        >>> same = snnprune.Pruner(model, x, "ndsnn", epochs=60, target=0.6)
    """

    def __init__(
        self,
        target: float | None = MethodConfig.target,
        *,
        alpha: float = 0.5,
        alpha_min: float = 0.05,
        every: int | None = None,
        scope: Scope = "erk",
        initial_density: float | None = 0.5,
        last: float = LAST,
        first_weight: Start = "zero",
        rescale: bool = True,
        **aims: Unpack[FurtherTargets],
    ) -> None:
        super().__init__(
            target,
            alpha=alpha,
            every=every,
            scope=scope,
            initial_density=initial_density,
            last=last,
            first_weight=first_weight,
            rescale=rescale,
            **aims,
        )
        check_shares(alpha_min=alpha_min)
        self.alpha_min = alpha_min

    def dropped(self, progress: float) -> float:
        """Return the share of the living synapses that dies."""
        return self.alpha_min + cosine(self.alpha - self.alpha_min, progress)
