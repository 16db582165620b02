"""A whole recording as one graph without states, for tools that read graphs: [T, B, C, H, W] to [T, B, K]."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from snnprune.export.arithmetic import Arithmetic, arithmetic
from snnprune.export.graph import plain
from snnprune.network.leaves import spiking_base

if TYPE_CHECKING:
    from torch import Tensor


class Unrolled(nn.Module):
    """A copy of ``model`` with neurons of plain arithmetic over all T steps; other layers see T x B samples.

    Args:
        model: a spiking network in multi-step mode, whose states are in neurons alone.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.net = plain(model).eval()
        neurons = [name for name, each in self.net.named_modules() if isinstance(each, spiking_base())]
        for name in neurons:
            self.net.set_submodule(name, _Steps(arithmetic(self.net.get_submodule(name), name)))

    def forward(self, x: Tensor) -> Tensor:
        """Map frames [T, B, C, H, W] to outputs [T, B, K]."""
        out: Tensor = self.net(x)
        return out


class _Steps(nn.Module):
    """Neurons over all steps, from rest: [T, B, ...] to spikes of the same shape."""

    def __init__(self, neurons: Arithmetic) -> None:
        super().__init__()
        self.neurons = neurons

    def forward(self, x: Tensor) -> Tensor:
        states = tuple(torch.full_like(x[0], rest) for rest in self.neurons.rest)
        spikes = []
        for current in x.unbind(0):
            y, states = self.neurons.step(current, states)
            spikes.append(y)
        return torch.stack(spikes)
