"""ADMM: a penalty pulls weights towards a sparse copy of themselves; then they are pruned to it.

L. Deng, Y. Wu, Y. Hu, L. Liang, G. Li, X. Hu, Y. Ding, P. Li, Y. Xie, "Comprehensive SNN Compression Using
ADMM Optimization and Activity Regularization", IEEE TNNLS 2021, arXiv 1911.00822.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Unpack

import torch

from snnprune.config.schema import MethodConfig
from snnprune.methods.hidden import HiddenMethod
from snnprune.pruning.aims import AimOptions  # noqa: TC001 - options are read by their types
from snnprune.pruning.rule import FINISH, lowest
from snnprune.pruning.state import WEIGHT
from snnprune.pruning.view import Decision

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from snnprune.pruning.state import Axes
    from snnprune.pruning.view import View


class ADMM(HiddenMethod):
    """The alternating direction method of multipliers, layer by layer.

    With Z the sparse copy of a layer's weights W and U the scaled multiplier, from Z = W and U = 0::

        W   trained on  E + rho / 2 |W - Z + U|^2      every step
        Z <- the top share of W + U by magnitude       every k steps
        U <- U + W - Z                                 every k steps

    At ``finish`` the weights outside the support of Z are pruned permanently, and training continues without
    the penalty.

    Args:
        target: share of all weights to prune.
        rho: weight of the penalty. [reading] 0.01: for a typical weight of 0.02, the gradient of the penalty
            is then about as large as that of the loss.
        every: k, steps between two updates of Z and U. [reading] 100.
        finish: epoch, from 0, at whose end the weights are pruned; None: half of the run, as DPAP's target.
        aims: further targets, and how they are distributed: the options of `Aims`.

    Raises:
        ValueError: a target outside [0, 1), or a constant outside its range.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import snnprune
        >>> model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(16, 4)
        >>> pruner = snnprune.Pruner(model, x, snnprune.methods.ADMM(rho=0.02), epochs=60)
        >>> same = snnprune.Pruner(model, x, "admm", epochs=60, rho=0.02)
    """

    axes: ClassVar[Mapping[str, Axes]] = {"z": WEIGHT, "u": WEIGHT}

    def __init__(
        self,
        target: float | None = MethodConfig.target,
        *,
        rho: float = 0.01,
        every: int = 100,
        finish: int | None = None,
        **aims: Unpack[AimOptions],
    ) -> None:
        super().__init__(target, **aims)
        if rho < 0 or every < 1 or (finish is not None and finish < 0):
            raise ValueError(
                f"rho and finish must be at least 0 and every at least 1, came rho {rho}, finish {finish} "
                f"and every {every}"
            )
        self.rho, self.every, self.finish = rho, every, finish

    @torch.no_grad()
    def after_backward(self, view: View) -> None:
        """Add the gradient of the penalty, rho (W - Z + U)."""
        parts = [
            (weight.grad, weight, self.state[p.name]["z"], self.state[p.name]["u"])
            for p, weight in self.weights(view)
            if p.name in self.state and weight.grad is not None
        ]
        if parts:
            gradients, weights, copies, multipliers = (list(column) for column in zip(*parts, strict=True))
            pull = torch._foreach_sub(weights, copies)
            torch._foreach_add_(pull, multipliers)
            torch._foreach_add_(gradients, pull, alpha=self.rho)

    @torch.no_grad()
    def after_step(self, view: View) -> None:
        """Start with Z = W, and update Z and U every k steps, until the weights are pruned."""
        if view.clock.epoch > self._last(view):
            return
        for p, weight in self.weights(view):
            if p.name not in self.state:
                self.state[p.name] = {"z": weight.detach().clone(), "u": torch.zeros_like(weight)}
            elif view.clock.batches % self.every == 0:
                z, u = self.state[p.name]["z"], self.state[p.name]["u"]
                u.add_(weight)
                z.copy_(u).mul_(self._top(view, p.name, u))
                u.sub_(z)

    @torch.no_grad()
    def end_epoch(self, view: View, metrics: Mapping[str, float] | None) -> Decision:  # noqa: ARG002
        """Prune the weights outside the support of Z, once, after epoch ``finish``."""
        decision = Decision()
        if view.clock.decisions_left > 0 and view.clock.epoch >= self._last(view):
            for p, _ in self.weights(view):
                if p.name in self.state:
                    decision.synapses[p.name] = self._top(view, p.name, self.state.pop(p.name)["z"])
        return decision

    def _last(self, view: View) -> int:
        """Return the epoch at whose end the weights are pruned."""
        last = round(FINISH * view.clock.epochs) if self.finish is None else self.finish
        return min(last, view.clock.epochs - 2)

    def _top(self, view: View, name: str, values: Tensor) -> Tensor:
        """Return, bool, the top share of a layer's synapses by magnitude; equal ones in order."""
        p, strength = view.topology.projections[name], values.abs()
        alive = view.masks.alive(p)
        dense = view.dense.projections[name]
        keep = max(round(self.share(view, dense) * torch.Size(dense.shape).numel()), 1)
        pruned = lowest(strength, strength, alive, int(alive.sum()) - keep)
        return alive & ~pruned
