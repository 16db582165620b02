"""Filter pruning by L1: the filters with the smallest sums of weights go at once, and the rest learns on.

H. Li, A. Kadav, I. Durdanovic, H. Samet, H. P. Graf, "Pruning Filters for Efficient ConvNets", ICLR 2017.
"""

from __future__ import annotations

from typing import Any

from snnprune.config.schema import MethodConfig
from snnprune.methods.by_score import Unit  # noqa: TC001 - options are read by their types
from snnprune.methods.magnitude import Magnitude
from snnprune.pruning.lowest import Schedule  # noqa: TC001 - options are read by their types


class L1Filters(Magnitude):
    """Prunes, in each layer, the filters with the smallest s_j = sum |w| over their inputs, once.

    It is `Magnitude` of whole units in one shot: train, prune all layers together, train on (sections 3.1 and
    3.4 of the paper).

    [reading] The paper prunes filters of convolutions; here units of fully connected layers go as well, and
    ``exclude`` keeps layers whole, as the paper does with those it finds sensitive. Layers that a residual
    add joins are ranked by the sum of s_j over them, where the paper ranks by the shortcut's layer.

    Args:
        target: share of all weights to prune.
        unit: "neurons" and channels; with "both", single synapses go by |w| as well.
        schedule: "one-shot"; "gradual" is the paper's iterative alternative.
        options: those of `ByScore`.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import snnprune
        >>> model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(16, 4)
        >>> pruner = snnprune.Pruner(model, x, snnprune.methods.L1Filters(target=0.5), epochs=60)
        >>> same = snnprune.Pruner(model, x, "l1-filters", epochs=60, target=0.5)
    """

    def __init__(
        self,
        target: float | None = MethodConfig.target,
        *,
        unit: Unit = "neurons",
        schedule: Schedule = "one-shot",
        **options: Any,
    ) -> None:
        super().__init__(target, unit=unit, schedule=schedule, **options)
