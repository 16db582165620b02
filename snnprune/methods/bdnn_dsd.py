"""Dendritic spine dynamics as a regulariser (BDNN-dsd): every weight stays within a moving bound.

F. Zhao, Y. Zeng, J. Bai, "Toward a Brain-Inspired Developmental Neural Network Based on Dendritic Spine
Dynamics", Neural Computation 34:172-189, 2022. Nothing is removed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch

from snnprune.pruning.method import Method
from snnprune.pruning.solver import is_prunable
from snnprune.pruning.state import WEIGHT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from snnprune.network.topology import Projection
    from snnprune.pruning.state import Axes
    from snnprune.pruning.view import View


class BDNNdsd(Method):
    """Clips every weight to a bound that moves with the weight's recent history.

    After each step of the optimiser, for every weight w with its bound M (Algorithm 1)::

        if |w| > M:            Num+ += 1, else Num+ = 0
        if |w| < |w before|:   Num- += 1, else Num- = 0
        if Num+ >= T_num:      M += R_d, Num+ = 0
        if Num- >= T_num:      M -= R_d, Num- = 0
        w = clip(w, -M, M)

    **[reading]** A counter returns to 0 when its event does not happen, as the text says ("consecutive");
    Algorithm 1 prints no such line. M stays at 0 or above, and can grow again from there. "w before" is the
    stored, clipped weight; initial weights are not clipped before the first step. Biases have no bound.

    Args:
        R_i: initial bound of all weights, in the weight's unit.
        R_d: amount by which a bound moves.
        T_num: number of consecutive steps that move a bound.
        consecutive: False for Algorithm 1 as it is printed.

    Attributes:
        state: by projection: "bound" M, "plus" Num+, "minus" Num-, and "last", the magnitudes after the last
            step.

    Raises:
        ValueError: a negative bound or change, or fewer than one step.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import snnprune
        >>> model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(16, 4)
        >>> pruner = snnprune.Pruner(model, x, snnprune.methods.BDNNdsd(R_i=0.5), epochs=60)
        >>> same = snnprune.Pruner(model, x, "bdnn-dsd", epochs=60, R_i=0.5)
    """

    formerly: ClassVar[tuple[str, ...]] = ("SpineDynamics",)
    axes: ClassVar[Mapping[str, Axes]] = dict.fromkeys(("bound", "plus", "minus", "last"), WEIGHT)

    def __init__(
        self, *, R_i: float = 0.45, R_d: float = 0.06, T_num: int = 10, consecutive: bool = True
    ) -> None:
        if R_i < 0 or R_d < 0:
            raise ValueError(f"R_i and R_d are sizes of weights, from 0, came {R_i} and {R_d}")
        if T_num < 1:
            raise ValueError(f"T_num is a number of steps, at least 1, came {T_num}")
        self.R_i, self.R_d, self.T_num, self.consecutive = R_i, R_d, T_num, consecutive

    @torch.no_grad()
    def begin(self, view: View) -> None:
        """Give every weight its initial bound."""
        for p in _bounded(view):
            last = view.model.get_parameter(p.weight).abs()
            plus = torch.zeros_like(last, dtype=torch.int32)
            bound = torch.full_like(last, self.R_i)
            self.state[p.name] = {"bound": bound, "plus": plus, "minus": plus.clone(), "last": last}

    @torch.no_grad()
    def after_step(self, view: View) -> None:
        """Move the bounds, and clip the weights to them."""
        for p in _bounded(view):
            self._step(view.model.get_parameter(p.weight), self.state[p.name])

    def _step(self, weight: nn.Parameter, state: dict[str, Tensor]) -> None:
        bound, size = state["bound"], weight.abs()
        for counter, event, change in (
            (state["plus"], size > bound, self.R_d),
            (state["minus"], size < state["last"], -self.R_d),
        ):
            counter.add_(event)
            if self.consecutive:
                counter.mul_(event)
            due = counter >= self.T_num
            bound.add_(due, alpha=change)
            counter.masked_fill_(due, 0)
        bound.clamp_(min=0.0)
        torch.clamp(weight, -bound, bound, out=weight)
        torch.abs(weight, out=state["last"])


def _bounded(view: View) -> list[Projection]:
    projections = view.topology.projections.values()
    return [p for p in projections if is_prunable(p, output=True, convolutions=True)]
