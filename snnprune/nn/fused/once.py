"""Layers without a state, computed for one step where all time steps are the same (direct encoding)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from spikingjelly.activation_based import layer

from snnprune.nn.fused.layout import shown
from snnprune.nn.fused.mixing import Mixed, mixed

if TYPE_CHECKING:
    from torch import Tensor

LAYERS = (
    layer.Conv1d, layer.Conv2d, layer.Conv3d, layer.Linear, layer.Flatten,
    layer.AvgPool1d, layer.AvgPool2d, layer.AvgPool3d, layer.MaxPool1d, layer.MaxPool2d, layer.MaxPool3d,
)  # fmt: skip
"""Those of SpikingJelly whose multi-step forward is their forward of every step. A batch norm is not one of
them: its running variance knows over how many values it was taken."""


def channels_innermost(x: Tensor) -> Tensor:
    """Return ``x`` [..., C, H, W] with channels innermost, and strides that say so even of a single one."""
    if x.ndim < 4:
        return x
    images = x.flatten(0, -4)
    _, channels, height, width = images.shape
    if channels > 1:
        images = images.contiguous(memory_format=torch.channels_last)
    else:
        images = images.contiguous().as_strided(images.shape, (height * width, 1, width, 1))
    if x.ndim == 4:
        return images  # a view would give the axis of a single channel another stride
    return images.view(*x.shape[:-3], *images.shape[1:])


def laid_out(images: Tensor, weight: Tensor) -> Tensor:
    """Return ``images`` [..., C, H, W] so that a convolution with ``weight`` is fast.

    Pictures stay with their channels innermost from layer to layer, but the weight is laid out anew in every
    forward and backward: that is worth its while where the pictures hold more numbers than the weight.
    """
    return channels_innermost(images) if images.numel() > weight.numel() else images.contiguous()


class Once(Mixed):
    """Mixed into a class of layers: an input that is expanded over time gives an output that is."""

    step_mode: str
    channels_last = False
    """Of a two-dimensional convolution: whether it may compute with channels innermost: see `laid_out`."""

    weight: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Compute one step and show it at all, or whatever the plain layer does."""
        step = shown(x) if self.step_mode == "m" else None
        if self.channels_last:
            laid = laid_out(x if step is None else step, self.weight)
            x, step = (laid, None) if step is None else (x, laid)
        if step is None:
            return super().forward(x)  # type: ignore[misc]
        y: Tensor = self.plain.__bases__[0].forward(self, step)
        return y.expand(x.shape[0], *y.shape)


def once(plain: Any) -> Any:
    """Return the class of layers like ``plain`` that is mixed with `Once`."""
    return mixed(Once, plain)
