"""Grad R: pruning and regrowth by the gradient of hidden strengths.

Y. Chen, Z. Yu, W. Fang, T. Huang, Y. Tian, "Pruning of Deep Spiking Neural Networks through Gradient
Rewiring", IJCAI 2021, arXiv 2105.04916.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Unpack

import torch

from snnprune.config.schema import MethodConfig
from snnprune.methods.hidden import HiddenMethod, active, learning_rates, signs
from snnprune.pruning.aims import AimOptions  # noqa: TC001 - options are read by their types
from snnprune.pruning.normalisation import quantile
from snnprune.pruning.rule import FINISH
from snnprune.pruning.state import NUMBER, WEIGHT
from snnprune.pruning.view import Decision

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from snnprune.network.topology import Projection
    from snnprune.pruning.state import Axes
    from snnprune.pruning.view import View


def centre(share: float, alpha: float) -> float:
    """Return the centre m of a Laplace prior of rate ``alpha`` that has ``share`` of its mass below 0.

    m = ln(2 (1 - p)) / alpha for p >= 1/2 (the paper's), and by symmetry -ln(2 p) / alpha below. It is
    infinite for a share of 0 or 1, and for a rate of 0, where the prior is flat.
    """
    if alpha == 0 or share in (0.0, 1.0):
        return -math.inf if share > 0.5 else math.inf if share < 0.5 else 0.0
    return (math.log(2 * (1 - share)) if share >= 0.5 else -math.log(2 * share)) / alpha


class GradR(HiddenMethod):
    """Gives every synapse a strength that the gradient changes even while the synapse is dormant.

    With s a fixed sign, th the strength, E the loss and lr the learning rate, in every step::

        w   = s max(th, 0)
        th <- th - lr s dE/dw - lr alpha sign(th - m)       dormant synapses, too

    The last term is a Laplace prior of rate alpha. Its centre m = ln(2 (1 - p)) / alpha puts the share p
    below 0.

    [reading] The prior alone reaches p only if the loss has no gradient, and only long after a short run has
    ended. So alpha is steered, one number per layer and epoch. Let Q be the p-quantile of the layer's th: the
    distance that the layer still has to fall. Over an epoch whose learning rates sum to R, Q changed by
    Q - Q_before = D - R alpha, where D is the part that the loss caused. If D stays the same, Q is 0 after h
    epochs for

        alpha <- (Q / h + D) / R = alpha + (Q / h + Q - Q_before) / R

    h is the number of epochs left to half of the run, and 1 after that. If too many synapses are dormant,
    alpha is negative, and the prior pulls upwards. The signs are those of the initial weights.
    `snnprune.methods.hidden` says what replaces "lr dE/dw" under another optimiser than SGD.

    Args:
        target: p, the share of all weights to prune.
        alpha: rate of the prior; if it is steered, its value in the first epoch. 1e-5, the default of the
            authors' public code.
        steered: False: alpha stays constant, as in the paper, and the pruned share is not the target.
        aims: further targets, and how they are distributed: the options of `Aims`.

    Raises:
        ValueError: a target outside [0, 1), or a negative alpha.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import snnprune
        >>> model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(16, 4)
        >>> pruner = snnprune.Pruner(model, x, snnprune.methods.GradR(target=0.6), epochs=60)
        >>> same = snnprune.Pruner(model, x, "grad-r", epochs=60, target=0.6)
    """

    permanent: ClassVar[bool] = False
    axes: ClassVar[Mapping[str, Axes]] = {
        "sign": WEIGHT,
        "strength": WEIGHT,
        "alpha": NUMBER,
        "before": NUMBER,
        "rates": NUMBER,
    }

    def __init__(
        self,
        target: float | None = MethodConfig.target,
        *,
        alpha: float = 1e-5,
        steered: bool = True,
        **aims: Unpack[AimOptions],
    ) -> None:
        super().__init__(target, **aims)
        if alpha < 0:
            raise ValueError(f"alpha is at least 0, came {alpha}")
        self.alpha, self.steered = alpha, steered
        if not steered:
            # The prior pulls towards p, but nothing ensures that p is reached.
            self.target, self.targets = None, ()

    @torch.no_grad()
    def after_step(self, view: View) -> Decision:
        """Update all strengths, and set the weights to the strengths above 0."""
        rates = learning_rates(view)
        decision = Decision()
        for p, weight in self.weights(view):
            if p.name not in self.state:
                self.state[p.name] = self._first(weight, 1.0 - self.share(view, p))
                continue
            lr, alive = rates.get(weight, 0.0), view.masks.alive(p)
            decision.synapses[p.name] = self._move(view, p, weight, lr=lr, alive=alive)
        return decision

    def _first(self, weight: Tensor, share: float) -> dict[str, Tensor]:
        strength = weight.detach().abs()
        number = {"alpha": self.alpha, "before": float(quantile(strength.flatten(), share)), "rates": 0.0}
        as_tensors = {
            name: torch.tensor(value, dtype=torch.float64, device=weight.device)
            for name, value in number.items()
        }
        return {"sign": signs(weight), "strength": strength, **as_tensors}

    def _move(self, view: View, p: Projection, weight: nn.Parameter, *, lr: float, alive: Tensor) -> Tensor:
        state = self.state[p.name]
        strength, sign = state["strength"], state["sign"]
        alpha = float(state["alpha"])
        middle = centre(1.0 - self.share(view, p), abs(alpha))
        above = strength > middle
        moved = weight * sign
        if weight.grad is not None:
            strength.addcmul_(weight.grad, sign.to(weight.dtype), value=-lr)
        torch.where(alive, moved, strength, out=strength)
        strength.sub_(torch.where(above, lr * alpha, -lr * abs(alpha)))
        state["rates"] += lr
        weight.copy_(strength.clamp(min=0).mul_(sign))
        return active(weight, strength)

    @torch.no_grad()
    def end_epoch(self, view: View, metrics: Mapping[str, float] | None) -> Decision:  # noqa: ARG002
        """Steer alpha, the rate of the prior."""
        to_finish = max(round(FINISH * view.clock.epochs) - view.clock.epoch - 1, 1)
        for p, _ in self.weights(view):
            state = self.state.get(p.name)
            if state is None or not self.steered or float(state["rates"]) == 0:
                continue
            way = quantile(state["strength"].flatten(), 1.0 - self.share(view, p)).to(state["alpha"])
            state["alpha"] += (way / to_finish + way - state["before"]) / state["rates"]
            state["before"].copy_(way)
            state["rates"].zero_()
        return Decision()
