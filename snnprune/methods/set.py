"""SET: sparse evolutionary training, which removes the weakest synapses and grows others at random.

D. C. Mocanu, E. Mocanu, P. Stone, P. H. Nguyen, M. Gibescu, A. Liotta, "Scalable training of artificial
neural networks with adaptive sparse connectivity inspired by network science", Nature Communications 9:2383,
2018, algorithm 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

import torch

from snnprune.config.schema import MethodConfig
from snnprune.methods.growing import LAST, GrowingMethod, Scope, Start, check_shares, lots_of
from snnprune.pruning.aims import FurtherTargets  # noqa: TC001 - options are read by their types
from snnprune.pruning.rule import lowest
from snnprune.pruning.view import Decision

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from snnprune.pruning.view import View


class SET(GrowingMethod):
    """Removes the smallest positive and the largest negative weights of each layer, and grows as many.

    After each epoch, of the living synapses of a layer the share zeta of the positive weights that are the
    smallest dies, and the share zeta of the negative ones that are nearest to 0. As many synapses grow at
    random places, those that have just died among them. Weights of exactly 0 count as positive [reading].

    Args:
        target: share of all weights to prune.
        zeta: share of the living synapses that is replaced after each epoch. 0.3, the paper's.
        scope: "erk" or "local". The paper's Erdős-Rényi is ERK without kernels.
        initial_density: share of the synapses alive at the start; None: constant, as in the paper.
        last: share of the run after which nothing is rewired any more. The paper has 1.
        first_weight: of a synapse that grows: "drawn" as at the start, as in the paper, or "zero".
        rescale: keep the variance of currents of the dense network at the start.
        aims: further targets: the options of `Aims`.

    Raises:
        ValueError: no target, or a share outside its range.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import snnprune
        >>> model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(16, 4)
        >>> pruner = snnprune.Pruner(model, x, snnprune.methods.SET(target=0.6), epochs=60)
        >>> same = snnprune.Pruner(model, x, "set", epochs=60, target=0.6)
    """

    def __init__(
        self,
        target: float | None = MethodConfig.target,
        *,
        zeta: float = 0.3,
        scope: Scope = "erk",
        initial_density: float | None = None,
        last: float = LAST,
        first_weight: Start = "drawn",
        rescale: bool = True,
        **aims: Unpack[FurtherTargets],
    ) -> None:
        super().__init__(
            target,
            scope=scope,
            initial_density=initial_density,
            last=last,
            first_weight=first_weight,
            rescale=rescale,
            **aims,
        )
        check_shares(zeta=zeta)
        self.zeta = zeta

    @torch.no_grad()
    def end_epoch(self, view: View, metrics: Mapping[str, float] | None) -> Decision:  # noqa: ARG002
        """Replace the weakest synapses of each layer."""
        if not self.grows_after(view.clock):
            return Decision()
        kept, stays = {}, {}
        for p, weight in self.weights(view):
            alive, lot = view.masks.alive(p), lots_of(view, p)
            dying, growing = self.counts(view, p, self.zeta, self.progress_after(view.clock))
            kept[p.name] = alive & ~weakest(weight, alive, dying)
            places = view.masks.between(p) & ~kept[p.name]
            stays[p.name] = kept[p.name] | lowest(lot, lot, places, growing)
        return self.rewired(kept, stays)


def weakest(weight: Tensor, alive: Tensor, count: int) -> Tensor:
    """Return, bool, ``count`` of the living weights nearest to 0, of either sign its share."""
    negative = alive & (weight < 0)
    below = round(count * int(negative.sum()) / max(int(alive.sum()), 1))
    positive = alive & ~negative
    above = min(count - below, int(positive.sum()))
    return lowest(-weight, -weight, negative, count - above) | lowest(weight, weight, positive, above)
