"""Layers without a state: computed for one step if all time steps are the same (direct encoding)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from spikingjelly.activation_based import layer

from snnprune.nn.fused.layout import shown
from snnprune.nn.fused.mixing import Mixed, mixed
from snnprune.nn.fused.outer import Linear, spikes_for

if TYPE_CHECKING:
    from torch import Tensor

LAYERS = (
    layer.Conv1d, layer.Conv2d, layer.Conv3d, layer.Linear, layer.Flatten,
    layer.AvgPool1d, layer.AvgPool2d, layer.AvgPool3d, layer.MaxPool1d, layer.MaxPool2d, layer.MaxPool3d,
)  # fmt: skip
"""SpikingJelly's layers whose multi-step forward is the same forward at every step. A batch norm is not one
of them: its running variance depends on the number of values."""


def channels_innermost(x: Tensor) -> Tensor:
    """Return ``x`` [..., C, H, W] with channels innermost. The strides show it even for one channel."""
    if x.ndim < 4:
        return x
    images = x.flatten(0, -4)
    _, channels, height, width = images.shape
    if channels > 1:
        images = images.contiguous(memory_format=torch.channels_last)
    else:
        images = images.contiguous().as_strided(images.shape, (height * width, 1, width, 1))
    if x.ndim == 4:
        return images  # a view would change the stride of the axis of a single channel
    return images.view(*x.shape[:-3], *images.shape[1:])


def laid_out(images: Tensor, weight: Tensor) -> Tensor:
    """Return ``images`` [..., C, H, W] in the memory layout with which a convolution with ``weight`` is fast.

    Images keep their channels innermost from layer to layer, but the layout of the weight is converted in
    every forward and backward. That pays if the images hold more numbers than the weight.
    """
    return channels_innermost(images) if images.numel() > weight.numel() else images.contiguous()


class Once(Mixed):
    """Mixin for a class of layers: an input that is expanded over time gives an output that is expanded."""

    step_mode: str
    channels_last = False
    """Whether a two-dimensional convolution may compute with channels innermost, see `laid_out`."""

    weight: Tensor
    bias: Tensor | None

    def forward(self, x: Tensor) -> Tensor:
        """Compute one step and expand it over time, or run the plain layer."""
        step = shown(x) if self.step_mode == "m" else None
        if self.channels_last:
            laid = laid_out(x if step is None else step, self.weight)
            x, step = (laid, None) if step is None else (x, laid)
        if step is None:
            spikes = spikes_for(x, self.weight) if self.plain is layer.Linear else None
            if spikes is None:
                return super().forward(x)  # type: ignore[misc]
            y: Tensor = Linear.apply(spikes, x, self.weight, self.bias)
            return y
        y = self.plain.__bases__[0].forward(self, step)
        return y.expand(x.shape[0], *y.shape)


def once(plain: Any) -> Any:
    """Return the class ``plain`` with the mixin `Once`."""
    return mixed(Once, plain)
