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
from snnprune.nn.fused.taps import pays, weight_gradient

if TYPE_CHECKING:
    from torch import Tensor

    from snnprune.nn.fused.constants import Constants, Note
    from snnprune.nn.fused.norm import Norm

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
        images, weight = self._laid_out(images, weight)
        by_products = wanted[1] and pays(gradient, weight, self.arguments)
        stride, padding, dilation, groups = self.arguments
        gx, gw, gb = None, None, None
        rest = [wanted[0], wanted[1] and not by_products, wanted[2]]
        if any(rest):
            gx, gw, gb = torch.ops.aten.convolution_backward(
                gradient, images, weight, [weight.shape[0]], stride, padding, dilation, False, (0, 0), groups,
                rest,
            )  # fmt: skip
        if by_products:
            gw = weight_gradient(gradient, images, weight, self.arguments)
        return gx, gw, gb


@dataclass(frozen=True)
class Between:
    """What one forward computes with the convolution and its neurons.

    Attributes:
        current: the output of the convolution.
        norm: a batch norm behind it.
        constants, note: of the neurons.
    """

    current: Current
    norm: Norm | None
    constants: Constants
    note: Note


class Fed(torch.autograd.Function):
    """Map images and the first potential to spikes (or their pool) and the last potential.

    ``gain`` and ``offset`` are the parameters of the batch norm; what is computed was computed with them.
    ``others`` are added to the spikes.
    """

    @staticmethod
    def forward(  # noqa: PLR0917 - an autograd function takes no keywords
        ctx: Any,
        images: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        v: Tensor | float,
        gain: Tensor | None,
        offset: Tensor | None,  # noqa: ARG004 - its gradient is asked for
        others: Tensor | None,
        between: Between,
    ) -> Any:
        """Run the neurons on the output of the convolution, which is computed already."""
        constants, note, value = between.constants, between.note, between.current.value
        assert value is not None
        ctx.set_materialize_grads(False)
        carried = v.detach() if isinstance(v, torch.Tensor) else v
        series = _series(value, constants, note)
        spikes, last, _ = kernels("cpu").run(series, carried, constants, note, between.norm, others)
        if any(ctx.needs_input_grad):
            ctx.between = between
            ctx.number = None if isinstance(v, torch.Tensor) else v
            ctx.save_for_backward(images, weight, bias, v if isinstance(v, torch.Tensor) else None, gain)
        return spikes, last

    @staticmethod
    def backward(ctx: Any, gs: Tensor | None, gv: Tensor | None) -> Any:
        """Run the backward of the neurons over their input, then the backward of the convolution.

        Raises:
            UserError: a second derivative is asked for.
        """
        refuse_second_derivative()
        images, weight, bias, v, gain = ctx.saved_tensors
        between: Between = ctx.between
        current, norm, wanted = between.current, between.norm, ctx.needs_input_grad
        value, current.value = current.value, None
        if value is None:  # written over by an earlier backward (retain_graph=True)
            value = current.again(images, weight, bias)
        first = ctx.number if v is None else v
        if norm is None:
            biased = bias is not None and wanted[2]
            gradient = value
            gv0, gb = _back(between, value, first, gs, gv, biased)
            g_gain = g_offset = None
        else:
            biased, gb = bool(wanted[2]), None
            gradient, gv0, total, product = _back_to_norm(
                between, value, first, gs, gv, through=any(wanted[:3])
            )
            g_gain = (product * norm.steep).to(value.dtype) if gain is not None else None
            g_offset = total.to(value.dtype)
        gx, gw, by_torch = (
            current.back(gradient, images, weight, [*wanted[:2], biased and gb is None])
            if any(wanted[:3])
            else (None, None, None)
        )
        return (
            gx,
            gw,
            by_torch if gb is None else gb,
            gv0 if wanted[3] else None,
            g_gain if wanted[4] else None,
            g_offset if wanted[5] else None,
            gs if wanted[6] else None,
            None,
        )


def _back(  # noqa: PLR0917 - what a backward is given
    between: Between, value: Tensor, first: Any, gs: Tensor | None, gv: Tensor | None, biased: bool
) -> tuple[Tensor, Tensor | None]:
    """Write the gradient of the currents over ``value``; return those of the first potential and the bias."""
    constants, note = between.constants, between.note
    series = _series(value, constants, note)
    _, gv0, gb, _ = kernels("cpu").run_back(series, first, gs, gv, constants, note, into=value, bias=biased)
    return gv0, gb


def _back_to_norm(
    between: Between, value: Tensor, first: Any, gs: Tensor | None, gv: Tensor | None, *, through: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of the currents (those behind the norm unless ``through``), and of v.

    The last two are, by channel, the sum of the gradients of normalised currents, and of these times what a
    current is above the mean.
    """
    constants, note, norm = between.constants, between.note, between.norm
    assert norm is not None
    series = _series(value, constants, note)
    g, gv0, total, product = kernels("cpu").run_back(series, first, gs, gv, constants, note, norm=norm)
    gradient = g.unsqueeze(0) if note.once else g
    if through:
        given = series[:1] if note.once else series
        kernels("cpu").through_norm(gradient, given, constants, norm, *norm.passed_on(total, product))
    return gradient.flatten(0, 1), gv0, total, product


def _series(value: Tensor, constants: Constants, note: Note) -> Tensor:
    """Return [T, B, C, H, W]."""
    if note.once:
        return value.expand(constants.steps, *value.shape)
    return value.unflatten(0, (constants.steps, -1))
