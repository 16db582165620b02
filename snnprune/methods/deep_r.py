"""Deep R: a network that is sparse from the start, and is rewired during training.

G. Bellec, D. Kappel, W. Maass, R. Legenstein, "Deep Rewiring: Training very sparse deep networks", ICLR 2018,
arXiv 1711.05136, Algorithm 1.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Unpack

import torch

from snnprune.config.schema import MethodConfig
from snnprune.methods.hidden import HiddenMethod, learning_rates, signs
from snnprune.pruning.aims import AimOptions  # noqa: TC001 - options are read by their types
from snnprune.pruning.state import WEIGHT
from snnprune.pruning.view import Decision

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from snnprune.pruning.state import Axes
    from snnprune.pruning.view import View

TINY = 1e-12
"""Strength of a regrown synapse: the paper's 0, but not exactly 0, which marks a pruned one."""


class DeepR(HiddenMethod):
    """Prunes a synapse when its strength falls below 0, and regrows another one at random.

    A synapse has a fixed sign s and, while it is active, a strength th: w = s th. After every step, for
    active synapses only, with E the loss, lr the learning rate and nu normal noise::

        th <- th - lr s dE/dw - lr alpha + sqrt(2 lr T) nu

    Synapses with th < 0 become dormant. Dormant synapses, drawn at random, become active with th = 0 (here:
    `TINY`), until the wanted number is active again.

    [reading] The signs are those of the initial weights. The first step trains the dense network; then a
    random share of each layer becomes dormant at once. `snnprune.methods.hidden` says what replaces "lr
    dE/dw" under another optimiser than SGD.

    Args:
        target: share of all weights to prune; the network is pruned to it after the first step.
        alpha: rate of the L1 prior. 1e-5, the default of the authors' public code.
        temperature: T. None: lr alpha^2 / 18, at which the noise is a third of the drift [reading].
        aims: further targets, and how they are distributed: the options of `Aims`.

    Raises:
        ValueError: a target outside [0, 1), or a constant below 0.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import snnprune
        >>> model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(16, 4)
        >>> pruner = snnprune.Pruner(model, x, snnprune.methods.DeepR(target=0.6), epochs=60)
        >>> same = snnprune.Pruner(model, x, "deep-r", epochs=60, target=0.6)
    """

    permanent: ClassVar[bool] = False
    axes: ClassVar[Mapping[str, Axes]] = {"sign": WEIGHT}

    def __init__(
        self,
        target: float | None = MethodConfig.target,
        *,
        alpha: float = 1e-5,
        temperature: float | None = None,
        **aims: Unpack[AimOptions],
    ) -> None:
        super().__init__(target, **aims)
        if alpha < 0 or (temperature is not None and temperature < 0):
            raise ValueError(f"alpha and temperature are at least 0, came {alpha} and {temperature}")
        self.alpha, self.temperature = alpha, temperature

    @torch.no_grad()
    def after_step(self, view: View) -> Decision:
        """Update the strengths, prune synapses below 0 and regrow as many."""
        rates = learning_rates(view)
        decision = Decision()
        for p, weight in self.weights(view):
            goal = max(round(self.share(view, p) * weight.numel()), 1)
            if p.name not in self.state:
                self.state[p.name] = {"sign": signs(weight)}
                alive = torch.zeros_like(weight, dtype=torch.bool)
                alive.view(-1)[_draw(~alive, goal, view.generator)] = True
                weight.mul_(alive)
            else:
                sign = self.state[p.name]["sign"]
                alive = self._move(weight, sign, view.masks.alive(p), rates.get(weight, 0.0), view)
                regrown = _draw(~alive, goal - int(alive.sum()), view.generator)
                weight.view(-1)[regrown] = TINY * sign.view(-1)[regrown].to(weight.dtype)
                alive.view(-1)[regrown] = True
            decision.synapses[p.name] = alive
        return decision

    def _move(self, weight: Tensor, sign: Tensor, alive: Tensor, lr: float, view: View) -> Tensor:
        """Update the strengths of active synapses and return, bool, which of them stay active."""
        strength = weight * sign
        temperature = lr * self.alpha**2 / 18 if self.temperature is None else self.temperature
        scale = math.sqrt(2 * lr * temperature)
        if scale > 0:
            noise = torch.randn(weight.shape, generator=view.generator).to(strength)
            strength.add_(noise, alpha=scale)
        strength.sub_(lr * self.alpha)
        alive = alive & (strength > 0)
        weight.copy_(strength.mul_(sign).mul_(alive))
        return alive


def _draw(among: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return the flat indices of ``count`` of the True entries, drawn uniformly on the CPU.

    Places are drawn until enough of them are True. While many are True, this is faster than a shuffle of all.
    """
    among = among.flatten().clone()
    total = int(among.sum()) if count > 0 else 0
    count = min(count, total)
    found: list[Tensor] = []
    while count > 0:
        tries = math.ceil(1.2 * count * among.numel() / total) + 8
        places = torch.randint(among.numel(), (tries,), generator=generator).to(among.device)
        places = places[among[places]].unique()
        lot = torch.randperm(len(places), generator=generator)[:count].to(among.device)
        found.append(places[lot])
        among[found[-1]] = False
        count, total = count - len(found[-1]), total - len(found[-1])
    return torch.cat(found) if found else torch.zeros(0, dtype=torch.int64, device=among.device)
