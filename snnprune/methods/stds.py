"""STDS: dendritic spines grow and shrink through a filter whose threshold rises.

Y. Chen, Z. Yu, W. Fang, Z. Ma, T. Huang, Y. Tian, "State Transition of Dendritic Spines Improves Learning of
Sparse Spiking Neural Networks", ICML 2022 (PMLR 162).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Literal, Unpack

import torch
from torch.nn.functional import softshrink

from snnprune.config.schema import MethodConfig
from snnprune.methods.hidden import HiddenMethod, active, learning_rates
from snnprune.pruning.aims import AimOptions  # noqa: TC001 - options are read by their types
from snnprune.pruning.normalisation import quantile
from snnprune.pruning.rule import FINISH
from snnprune.pruning.state import NUMBER, WEIGHT
from snnprune.pruning.view import Decision

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from snnprune.pruning.state import Axes
    from snnprune.pruning.target import Plan
    from snnprune.pruning.view import View

Growth = Literal["linear", "sine"]
GROWTHS: tuple[Growth, ...] = ("linear", "sine")


class STDS(HiddenMethod):
    """Sets the weight of a synapse to the part of its hidden spine size above a threshold d.

    With theta the spine size and E the loss, in every step::

        w      = sign(theta) max(|theta| - d, 0)
        theta <- theta - lr dE/dw            the gradient also passes unchanged through dormant synapses

    d grows from 0 to D over the first half of the run, linearly or as a quarter of a sine, and then stays.

    [reading] d changes once an epoch. With a target, D is the quantile of a layer's |theta| at the share to
    prune, computed again in each epoch. `snnprune.methods.hidden` says what replaces "lr dE/dw" under another
    optimiser than SGD.

    Args:
        target: share of all weights to prune.
        threshold: D itself, as in the paper; the target is then not used. None: D is solved from the target.
        growth: "linear" or "sine".
        aims: further targets, and how they are distributed: the options of `Aims`.

    Raises:
        ValueError: a target outside [0, 1), a negative threshold, or an unknown growth.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import snnprune
        >>> model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(16, 4)
        >>> pruner = snnprune.Pruner(model, x, snnprune.methods.STDS(growth="linear"), epochs=60)
        >>> same = snnprune.Pruner(model, x, "stds", epochs=60, growth="linear")
    """

    permanent: ClassVar[bool] = False
    axes: ClassVar[Mapping[str, Axes]] = {"theta": WEIGHT, "d": NUMBER}

    def __init__(
        self,
        target: float | None = MethodConfig.target,
        *,
        threshold: float | None = None,
        growth: Growth = "sine",
        **aims: Unpack[AimOptions],
    ) -> None:
        super().__init__(target, **aims)
        if growth not in GROWTHS:
            raise ValueError(f"growth is one of {list(GROWTHS)}, came '{growth}'")
        if threshold is not None and threshold < 0:
            raise ValueError(f"threshold is at least 0, came {threshold}")
        self.threshold, self.growth = threshold, growth
        if threshold is not None:
            self.target, self.targets = None, ()

    def plans(self, view: View) -> list[Plan]:
        """Return what should be left at the end; none with a threshold, which decides in its place."""
        return [] if self.threshold is not None else super().plans(view)

    @torch.no_grad()
    def after_step(self, view: View) -> Decision:
        """Update the spines by the optimiser's step, and filter them."""
        rates = learning_rates(view)
        decision = Decision()
        for p, weight in self.weights(view):
            if p.name not in self.state:
                self.state[p.name] = {"theta": weight.detach().clone(), "d": weight.new_zeros(())}
                continue
            theta, d = self.state[p.name]["theta"], float(self.state[p.name]["d"])
            moved = weight + theta.sign() * d
            if weight.grad is not None:
                theta.sub_(weight.grad, alpha=rates.get(weight, 0.0))
            theta.copy_(torch.where(view.masks.alive(p), moved, theta))
            decision.synapses[p.name] = _filter(weight, theta, d)
        return decision

    @torch.no_grad()
    def end_epoch(self, view: View, metrics: Mapping[str, float] | None) -> Decision:  # noqa: ARG002
        """Raise the threshold, and filter the spines again."""
        decision = Decision()
        if view.clock.decisions_left == 0:
            return decision
        for p, weight in self.weights(view):
            if p.name in self.state:
                theta = self.state[p.name]["theta"]
                final = self.threshold
                if final is None:
                    final = float(quantile(theta.abs().flatten(), 1.0 - self.share(view, p)))
                d = final * self._grown(view.clock.epoch, view.clock.epochs)
                self.state[p.name]["d"].fill_(d)
                decision.synapses[p.name] = _filter(weight, theta, d)
        return decision

    def _grown(self, epoch: int, epochs: int) -> float:
        """Return d / D after an epoch."""
        last = min(max(round(FINISH * epochs), 1), epochs - 1)  # decisions until d = D
        passed = min((epoch + 1) / last, 1.0)
        return passed if self.growth == "linear" else math.sin(0.5 * math.pi * passed)


def _filter(weight: Tensor, theta: Tensor, d: float) -> Tensor:
    """Set the weight to sign(theta) max(|theta| - d, 0) and return, bool, which synapses are active."""
    weight.copy_(softshrink(theta, d))
    return active(weight, theta.abs())
