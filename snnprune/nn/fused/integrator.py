"""Units that leak and never spike, with one kernel for all time steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from snnprune.common.threads import share
from snnprune.nn.fused.cell import gradient
from snnprune.nn.fused.kernels import refuse_second_derivative, step_kernels
from snnprune.nn.fused.layout import is_constant
from snnprune.nn.fused.watching import is_traced
from snnprune.nn.models import integrator

if TYPE_CHECKING:
    from torch import Tensor


class LeakyIntegrator(integrator.LeakyIntegrator):
    """`snnprune.nn.models.integrator.LeakyIntegrator`, faster: the same potentials bit for bit.

    It is fast for all steps at once on a CPU in float32 and float64. Anything else runs step by step.

    Examples:
        >>> import torch
        >>> from snnprune.nn.fused.integrator import LeakyIntegrator
        >>> LeakyIntegrator(0.5)(torch.tensor([[[8.0]], [[0.0]], [[4.0]]])).flatten()
        tensor([4., 2., 3.])
    """

    def multi_step_forward(self, x_seq: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Compute T steps: currents [T, B, ...] to potentials of the same shape."""
        known = x_seq.device.type == "cpu" and x_seq.dtype in {torch.float32, torch.float64}
        if args or kwargs or not known or x_seq.numel() == 0 or is_traced(x_seq):
            return super().multi_step_forward(x_seq, *args, **kwargs)
        (v,) = self.materialize_states((x_seq,), (self._memories["v"],), "m")
        if v.dtype != x_seq.dtype or v.device != x_seq.device:
            return super().multi_step_forward(x_seq)
        potentials, self._memories["v"] = _Steps.apply(x_seq, v, self.decay)
        return potentials


class _Steps(torch.autograd.Function):
    """All steps: maps input and first potential to potentials and the last of them."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, v: Tensor, decay: float) -> tuple[Tensor, Tensor]:
        """Run the kernel."""
        ctx.set_materialize_grads(False)
        ctx.shape, ctx.decay = x.shape, decay
        out = torch.empty(x.shape, dtype=x.dtype)
        series = x.detach().reshape(len(x), -1).contiguous().numpy()
        first = v.detach().reshape(-1).contiguous().numpy()
        share(
            step_kernels().integrate, first.size, out.numel(), series, first, out.view(len(x), -1).numpy(),
            *_numbers(decay, series),
        )  # fmt: skip
        return out, out[-1].clone()

    @staticmethod
    def backward(ctx: Any, g: Tensor | None, last: Tensor | None) -> tuple[Tensor | None, ...]:
        """Run the kernel backwards.

        Raises:
            UserError: a second derivative is asked for.
        """
        refuse_second_derivative()
        one = g if g is not None else last
        assert one is not None
        steps = ctx.shape[0]
        carry = gradient(last, ctx.shape[1:].numel(), one.dtype)
        gx = torch.empty(ctx.shape, dtype=one.dtype)
        come = (
            torch.zeros((1, *ctx.shape[1:]), dtype=one.dtype) if g is None else g[:1] if is_constant(g) else g
        )
        series = come.reshape(len(come), -1).contiguous().numpy()
        share(
            step_kernels().integrate_back, carry.numel(), gx.numel(), series, carry.numpy(),
            gx.view(steps, -1).numpy(), *_numbers(ctx.decay, series),
        )  # fmt: skip
        return gx, carry.view(ctx.shape[1:]), None


def _numbers(decay: float, like: Any) -> tuple[Any, Any]:
    return like.dtype.type(decay), like.dtype.type(1 - decay)
