"""LAMP: magnitude pruning whose scores say in which layers the budget goes."""

from __future__ import annotations

from typing import Any

from snnprune.config.schema import MethodConfig
from snnprune.methods.magnitude import Magnitude
from snnprune.pruning.distribution import Scope  # noqa: TC001 - options are read by their types


class Lamp(Magnitude):
    """Prunes the smallest LAMP scores of the weights of all layers, until the target is reached.

    In each layer, with its weights in ascending order of the size of w::

        score(w) = w^2 / sum of w'^2 over the weights w' of the layer from w on

    This is `Magnitude` with the scope "lamp". Among the methods here it is the one to take where little is to
    be left (docs/results/small.md).

    Source: J. Lee, S. Park, S. Mo, S. Ahn, J. Shin, "Layer-adaptive Sparsity for the Magnitude-based
    Pruning", ICLR 2021; gradual by Zhu and Gupta 2017, where the paper prunes a trained network in rounds.

    Args:
        target: share of all weights to prune.
        scope: where the budget goes; another than "lamp" makes it `Magnitude`.
        options: those of `ByScore`.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import snnprune
        >>> model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(16, 4)
        >>> pruner = snnprune.Pruner(model, x, snnprune.methods.Lamp(0.6), epochs=60)
        >>> same = snnprune.Pruner(model, x, "lamp", epochs=60)
    """

    def __init__(
        self, target: float | None = MethodConfig.target, *, scope: Scope = "lamp", **options: Any
    ) -> None:
        super().__init__(target, scope=scope, **options)
