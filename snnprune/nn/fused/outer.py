"""The gradient of a weight that spikes go through: a row is added where a spike is, and zeros cost nothing.

The forward is torch's own, so outputs are the same bit for bit. The gradient sums in another order than a
product of matrices, always in the same one: that of the samples, whatever the number of threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from snnprune.common.threads import share
from snnprune.nn.fused.kernels import spike_kernels
from snnprune.nn.fused.watching import is_traced

if TYPE_CHECKING:
    from torch import Tensor

FEW = 0.1
"""Largest share of the inputs that may be other than zero. With more, a product of matrices is about as fast
(measured for 6,400 samples of 256 and 700 inputs, and 256 units)."""

WORTH = 1 << 16
"""Fewest inputs for which it pays to look."""


@dataclass(frozen=True)
class Spikes:
    """What is not zero in activity [M, inputs], row by row.

    Attributes:
        columns: int32, one for each.
        values: in the activity's dtype.
        ends: int64 [M + 1], where the rows begin and end.
        inputs: number of columns.
    """

    columns: Tensor
    values: Tensor
    ends: Tensor
    inputs: int

    @classmethod
    def of(cls, x: Tensor) -> Spikes | None:
        """List the spikes of ``x`` [M, inputs]; None where they are not few, or this is no place for it."""
        if x.numel() < WORTH or x.device.type != "cpu" or x.dtype not in {torch.float32, torch.float64}:
            return None
        most = int(FEW * x.numel())
        columns = torch.empty(most + x.shape[1] + 1, dtype=torch.int32)
        values = torch.empty(len(columns), dtype=x.dtype)
        ends = torch.zeros(len(x) + 1, dtype=torch.int64)
        arrays = (each.numpy() for each in (x.detach().contiguous(), columns, values, ends))
        if not spike_kernels().list_spikes(*arrays, most):
            return None
        number = int(ends[-1])
        return cls(columns[:number].clone(), values[:number].clone(), ends, x.shape[1])

    def outer(self, g: Tensor) -> Tensor:
        """Return g^T x [units, inputs], of gradients g [M, units]."""
        sums = torch.zeros(self.inputs, g.shape[1], dtype=g.dtype)
        arrays = (t.numpy() for t in (self.columns, self.values, self.ends, g.detach().contiguous(), sums))
        share(spike_kernels().add_rows, g.shape[1], len(self.columns) * g.shape[1], *arrays)
        return sums.t().contiguous()


def spikes_for(x: Tensor, weight: Tensor) -> Spikes | None:
    """Return the spikes of ``x`` [..., inputs] where they are few and the weight learns; else None."""
    fits = (
        torch.is_grad_enabled()
        and weight.requires_grad
        and x.dtype == weight.dtype
        and not is_traced(x)
        and not torch.is_autocast_enabled("cpu")
    )
    return Spikes.of(x.detach().reshape(-1, x.shape[-1])) if fits and x.ndim > 1 else None


class Linear(torch.autograd.Function):
    """x W^T + b, as `torch.nn.functional.linear`; the gradient of W is `Spikes.outer`."""

    @staticmethod
    def forward(ctx: Any, spikes: Spikes, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return the output [..., units] of x [..., inputs], W [units, inputs] and b [units]."""
        ctx.save_for_backward(x, weight)
        ctx.spikes = spikes
        return functional.linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        """Return the gradients of the input, the weight and the bias."""
        x, weight = ctx.saved_tensors
        _, of_x, of_weight, of_bias = ctx.needs_input_grad
        rows, gw = g.reshape(-1, g.shape[-1]), None
        if of_weight and torch.is_grad_enabled():  # a second derivative is asked for
            gw = rows.t() @ x.reshape(-1, x.shape[-1])
        elif of_weight:
            gw = ctx.spikes.outer(rows)
        return None, g @ weight if of_x else None, gw, rows.sum(0) if of_bias else None
