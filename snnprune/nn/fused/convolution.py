"""A convolution and the LIF neurons behind it as one node of the autograd graph.

Only this node reads the output of the convolution. So the gradient is written over this output: the largest
tensor of a layer is allocated once per step instead of twice, and stays in cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from spikingjelly.activation_based import layer
from torch import nn

from snnprune.nn.fused.kernels import kernels, refuse_second_derivative
from snnprune.nn.fused.once import channels_innermost, laid_out, once

if TYPE_CHECKING:
    from torch import Tensor

    from snnprune.nn.fused.constants import Constants, Note

DTYPES = (torch.float32, torch.float64)
"""Dtypes of input and weight. Others are converted, so writing over them saves nothing."""


def feeds(module: Any, x: Tensor) -> bool:
    """Tell whether ``module`` is a convolution that may be computed in the node of the neurons behind it.

    It must be SpikingJelly's own, in multi-step mode, padded with zeros, on the CPU.
    """
    if type(module) not in {layer.Conv2d, once(layer.Conv2d)} or module.step_mode != "m":
        return False
    plain = module.padding_mode == "zeros" and not isinstance(module.padding, str)
    weight = module._parameters.get("weight")
    return (
        plain
        and weight is not None
        and x.ndim == 5
        and x.numel() > 0
        and x.device.type == weight.device.type == "cpu"
        and x.dtype == weight.dtype
        and x.dtype in DTYPES
        and type(x) is torch.Tensor
        and not torch.is_autocast_enabled("cpu")
    )


def ready(conv: nn.Conv2d, images: Tensor) -> Tensor:
    """Return ``images`` in the memory layout of ``conv``, so that its backward need not convert them again.

    Only images without a gradient are converted: others come from a layer that has converted them already.
    """
    if images.requires_grad or not getattr(conv, "channels_last", False):
        return images
    return laid_out(images, conv.weight)


@dataclass
class Current:
    """The output of a convolution, and how to compute it again.

    Attributes:
        value: [T x B, C, H, W], or [B, C, H, W] for all steps; None after its gradient was written over it.
        arguments: stride, padding, dilation and groups of the convolution.
        channels_last: whether it may compute with channels innermost.
    """

    value: Tensor | None
    arguments: tuple[Any, ...]
    channels_last: bool

    @classmethod
    def of(cls, conv: nn.Conv2d, images: Tensor) -> Current:
        """Compute the output for ``images`` [N, C, H, W]."""
        arguments = (conv.stride, conv.padding, conv.dilation, conv.groups)
        current = cls(None, arguments, getattr(conv, "channels_last", False))
        with torch.no_grad():
            current.value = current.again(images, conv.weight, conv.bias)
        return current

    def again(self, images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return the output."""
        return nn.functional.conv2d(*self._laid_out(images, weight), bias, *self.arguments)

    def _laid_out(self, images: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        if not self.channels_last:
            return images, weight
        images = laid_out(images, weight)
        innermost = images.is_contiguous(memory_format=torch.channels_last)
        return images, channels_innermost(weight) if innermost else weight

    def back(
        self, gradient: Tensor, images: Tensor, weight: Tensor, wanted: list[bool]
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Return the gradients of images, weight and bias, each if it is ``wanted``."""
        stride, padding, dilation, groups = self.arguments
        images, weight = self._laid_out(images, weight)
        found: tuple[Tensor | None, Tensor | None, Tensor | None] = torch.ops.aten.convolution_backward(
            gradient,
            images,
            weight,
            [weight.shape[0]],
            stride,
            padding,
            dilation,
            False,
            (0, 0),
            groups,
            wanted,
        )
        return found


class Fed(torch.autograd.Function):
    """Map images and the first potential to spikes (or their averages) and the last potential."""

    @staticmethod
    def forward(  # noqa: PLR0917 - an autograd function takes no keywords
        ctx: Any,
        images: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        v: Tensor | float,
        constants: Constants,
        note: Note,
        current: Current,
    ) -> Any:
        """Run the neurons on the output of the convolution, which is computed already."""
        assert current.value is not None
        ctx.set_materialize_grads(False)
        ctx.constants, ctx.note, ctx.number = constants, note, None
        carried = v.detach() if isinstance(v, torch.Tensor) else v
        spikes, last, _ = kernels("cpu").run(
            _series(current.value, constants, note), carried, constants, note
        )
        if any(ctx.needs_input_grad):
            ctx.current = current
            ctx.number = None if isinstance(v, torch.Tensor) else v
            ctx.save_for_backward(images, weight, bias, v if isinstance(v, torch.Tensor) else None)
        return spikes, last

    @staticmethod
    def backward(ctx: Any, gs: Tensor | None, gv: Tensor | None) -> Any:
        """Run the backward of the neurons over their input, then the backward of the convolution.

        Raises:
            UserError: a second derivative is asked for.
        """
        refuse_second_derivative()
        images, weight, bias, v = ctx.saved_tensors
        constants, note, current = ctx.constants, ctx.note, ctx.current
        value, current.value = current.value, None
        if value is None:  # written over by an earlier backward (retain_graph=True)
            value = current.again(images, weight, bias)
        first = ctx.number if v is None else v
        series = _series(value, constants, note)
        biased = bias is not None and ctx.needs_input_grad[2]
        _, gv0, gb = kernels("cpu").run_back(series, first, gs, gv, constants, note, into=value, bias=biased)
        wanted = [*ctx.needs_input_grad[:2], biased and gb is None]
        gx, gw, by_torch = current.back(value, images, weight, wanted)
        return (
            gx,
            gw,
            by_torch if gb is None else gb,
            gv0 if ctx.needs_input_grad[3] else None,
            None,
            None,
            None,
        )


def _series(value: Tensor, constants: Constants, note: Note) -> Tensor:
    """Return [T, B, C, H, W]."""
    if note.once:
        return value.expand(constants.steps, *value.shape)
    return value.unflatten(0, (constants.steps, -1))
