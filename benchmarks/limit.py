"""What no neuron can go below: the convolutions and matrix products of a network, and nothing else.

Each layer gets the input that it has in a training step, once, and the step is its forward and its backward:
no neurons, no pooling, no loss, no optimiser. Pictures lie with their channels innermost, and what is the
same at every time step goes through the first layer once, as for the fused network.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from contest import TRAIN, Contender
from spikingjelly.activation_based import functional
from torch import nn

from snnprune.nn.fused.once import channels_innermost

if TYPE_CHECKING:
    from torch import Tensor

NAME = "convolutions and products alone"
LAYERS = (nn.Conv2d, nn.Linear)


class Limit(Contender):
    """The layers of ``model`` alone, on what reaches them when it sees ``x``."""

    def __init__(self, model: nn.Module, x: Tensor, y: Tensor) -> None:
        super().__init__(NAME, model, x, y)
        self.calls: list[tuple[nn.Module, Tensor, Tensor]] = []
        layers = [module for module in model.modules() if isinstance(module, LAYERS)]
        hooks = [layer.register_forward_pre_hook(self._note) for layer in layers]
        with torch.no_grad():
            model(x)
        functional.reset_net(model)
        for hook in hooks:
            hook.remove()

    def _note(self, layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        series = given[0]
        once = series.stride(0) == 0
        images = series[0] if once else series.flatten(0, 1)
        images = channels_innermost(images) if images.ndim == 4 else images
        images = images.detach().clone(memory_format=torch.preserve_format)
        with torch.no_grad():
            gradient = torch.rand_like(plain(layer)(images))
        first = not self.calls
        self.calls.append((layer, images.requires_grad_(not first), gradient))

    def train(self) -> None:
        """Run every layer forward and backward."""
        for layer, images, gradient in self.calls:
            out = plain(layer)(images)
            wanted = [t for t in (images, *layer.parameters()) if t.requires_grad]
            torch.autograd.grad(out, wanted, gradient)

    def turn(self, what: str) -> None:
        """Take the time of one turn; there is nothing to infer."""
        if what == TRAIN:
            super().turn(what)


def plain(layer: nn.Module) -> Any:
    """Return the layer's forward for [N, ...], whatever SpikingJelly makes of time."""
    return partial(nn.Conv2d.forward if isinstance(layer, nn.Conv2d) else nn.Linear.forward, layer)
