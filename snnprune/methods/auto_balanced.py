"""Auto-balanced filter pruning: weak filters are pulled to zero, strong ones grow, and the weak are cut.

X. Ding, G. Ding, J. Han, S. Tang, "Auto-Balanced Filter Pruning for Efficient Convolutional Neural Networks",
AAAI 2018. [reading] The paper was not at hand; the equations are from memory, and hold to what its abstract
says of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch

from snnprune.config.schema import MethodConfig
from snnprune.methods.foreseeing import Foreseeing
from snnprune.methods.magnitude import MagnitudeCriterion
from snnprune.methods.units import broadcast, numbers, rows, stretch
from snnprune.pruning.rule import lowest

if TYPE_CHECKING:
    from torch import Tensor

    from snnprune.network.topology import Population
    from snnprune.pruning.criterion import Criterion
    from snnprune.pruning.view import View


def factors(importance: Tensor, length: Tensor, alive: Tensor, count: int, alpha: float) -> Tensor:
    """Return what multiplies |F_j|^2 of each filter of a layer: above 0 for the weak, below for the strong.

    With M_j the importance, theta the largest of the ``count`` weakest::

        lambda_j = 1 + log(theta / M_j)      weak
        lambda_j = -1 - log(M_j / theta)     strong
        factor_j = alpha lambda_j            weak
        factor_j = tau lambda_j              strong, tau such that the sum of factor_j |F_j|^2 is 0

    Args:
        importance: M, [size].
        length: |F_j|^2, [size].
        alive: bool [size].
        count: number of weak filters.
        alpha: weight of the penalty.

    Returns:
        [size]; 0 for the dead, and for all where there are no weak or no strong ones.

    Examples:
        >>> import math, torch
        >>> from snnprune.methods.auto_balanced import factors
        >>> importance, length = torch.tensor([1.0, math.e, math.e**2]), torch.tensor([2.0, 1.0, 1.0])
        >>> factors(importance, length, torch.ones(3).bool(), 1, 0.5)  # tau = 0.5 x 2 / (2 + 3)
        tensor([ 0.5000, -0.4000, -0.6000])
    """
    weak = lowest(importance, importance, alive, count)
    strong = alive & ~weak
    if not weak.any() or not strong.any():
        return torch.zeros_like(importance)
    least = torch.finfo(importance.dtype).tiny
    above = (importance.clamp_min(least) / importance[weak].max().clamp_min(least)).log()
    penalty, reward = 1 - above, 1 + above
    tau = alpha * (penalty * length)[weak].sum() / (reward * length)[strong].sum().clamp_min(least)
    return torch.where(weak, alpha * penalty, torch.where(strong, -tau * reward, 0.0))


class AutoBalanced(Foreseeing):
    """L2 with positive factors on the weak filters of a layer and negative ones on the strong, then a cut.

    The network learns with

        E + sum over j of factor_j |F_j|^2                     (`factors`; the sum is 0 in every layer)

    where as many filters of a layer are weak as are to go in the end: what the layer can do moves into the
    strong ones. At ``finish`` the filters of least importance are pruned, and training goes on without it.

    [reading] M_j is sum |w|, as in Li et al. Factors are taken anew in every step, and count as constants in
    its gradient. The sum is over the filters of one layer; layers that a residual add joins are one. Biases
    and norms are left alone. The paper goes through several rounds; here they are ``schedule="gradual"``.
    [reading] Units of fully connected layers are filters, too.

    Args:
        target: share of all weights to prune.
        alpha: weight of the penalty. [reading] 0.005: the pull on a weight is 0.01 w, as that of `ADMM`.
        options: those of `Foreseeing`.

    Raises:
        ValueError: no target, a value outside its range, or a negative ``alpha``.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import snnprune
        >>> model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(16, 4)
        >>> pruner = snnprune.Pruner(model, x, snnprune.methods.AutoBalanced(alpha=0.01), epochs=60)
        >>> same = snnprune.Pruner(model, x, "auto-balanced", epochs=60, alpha=0.01)
    """

    criterion_class: ClassVar[type[Criterion]] = MagnitudeCriterion
    swappable: ClassVar[bool] = False

    def __init__(
        self, target: float | None = MethodConfig.target, *, alpha: float = 0.005, **options: Any
    ) -> None:
        super().__init__(target, **options)
        if alpha < 0:
            raise ValueError(f"alpha is at least 0, came {alpha}")
        self.alpha = alpha

    @torch.no_grad()
    def after_backward(self, view: View) -> None:
        """Add the gradient of the penalty, 2 factor_j F_j."""
        for population, count in self.to_go(view):
            self._press(population, count, view)

    def _press(self, population: Population, count: int, view: View) -> None:
        places = rows(population, view)
        filters = numbers(population, view, places)
        if filters is None:
            return
        importance, length = filters.abs().sum(1), filters.square().sum(1)
        factor = factors(importance, length, view.masks.units[population.name], count, self.alpha)
        for slot in places:
            weight = view.model.get_parameter(slot.key)
            if weight.grad is not None:
                part = stretch(weight.detach(), slot, population)
                pull = broadcast(2 * factor, part, slot, population)
                stretch(weight.grad, slot, population).addcmul_(part, pull)
