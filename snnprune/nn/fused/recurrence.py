"""LIF neurons with synapses among themselves as one node of the autograd graph, on the CPU.

A time step is a product of matrices and one kernel. The product is torch's, of the same operands as in the
plain loop, so spikes and potentials are the same bit for bit. For the backward H alone is kept, one number
for each neuron and step: spikes follow from it, and nobody needs the input. The weight's gradient is summed
over many steps by one product.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from snnprune.nn.fused import cpu_steps
from snnprune.nn.fused.cpu_run import numbers
from snnprune.nn.fused.kernels import refuse_second_derivative
from snnprune.nn.fused.threads import share

if TYPE_CHECKING:
    from torch import Tensor

    from snnprune.nn.fused.constants import Constants, Note

SUMMED = 1 << 18
"""Number of spikes that one product of the weight's gradient sums over: they fit into a second-level cache."""

Rows = list[np.ndarray[Any, Any]]


def precise(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype of potentials where inputs have ``dtype``."""
    return torch.float32 if dtype.itemsize == 2 else dtype


class Return:
    """What comes back along the synapses: spikes to the next step, or gradients to the step before.

    Args:
        matrix: spikes, or gradients, [N, H] are multiplied with it from the right.
        like: a step of what comes from outside, [N, H].

    Attributes:
        direct: the kernel adds up what comes back and what comes from outside; otherwise torch does, because
            one of the two has floats of 16 bits, which kernels do not know.
        fed: what comes back, [N, H]; unless ``direct``, the sum of both.
    """

    def __init__(self, matrix: Tensor, like: Tensor) -> None:
        exact = precise(like.dtype)
        self.matrix, self.direct = matrix, matrix.dtype == exact == like.dtype
        self._product = torch.empty(like.shape, dtype=matrix.dtype)
        self.fed = self._product if self.direct else torch.empty(like.shape, dtype=exact)

    def begin(self, back: Tensor | None, outside: Tensor | None) -> None:
        """Take ``back`` as what comes back, none if it is None."""
        if back is None:
            self._product.zero_()
        else:
            self._product.copy_(back)
        self._add(outside)

    def carry(self, given: Tensor, outside: Tensor | None) -> None:
        """Multiply what the neurons give away, [N, H]."""
        torch.mm(given.to(self.matrix.dtype), self.matrix, out=self._product)
        self._add(outside)

    def _add(self, outside: Tensor | None) -> None:
        if not self.direct:
            self.fed.copy_(self._product if outside is None else outside + self._product)

    def rows(self, outside: Tensor | None, steps: int) -> Rows:
        """Return what the kernel adds at each step: rows of ``outside`` [T, N, H], or nothing."""
        if outside is None or not self.direct:
            return [np.empty(0, _numpy(self.fed.dtype))] * steps
        return flat(outside)


class Through:
    """Rows that a kernel writes in the precision of potentials, for a series [T, N, H] of any dtype."""

    def __init__(self, series: Tensor) -> None:
        exact = precise(series.dtype)
        self.same = series.dtype == exact
        self._series = series
        self._row = torch.empty(0 if self.same else series[0].numel(), dtype=exact)
        self.rows = flat(series) if self.same else [self._row.numpy()] * len(series)

    def settle(self, t: int) -> None:
        """Take over row ``t``, which was written."""
        if not self.same:
            self._series[t].view(-1).copy_(self._row)


def run(
    x: Tensor, weight: Tensor, y: Tensor | None, v: Tensor | float, constants: Constants, note: Note
) -> tuple[Tensor, Tensor, Tensor]:
    """Run all steps.

    Args:
        x: input [T, N, H].
        weight: W [H, H].
        y: spikes of the step before, [N, H]; None if there were none.
        v: potentials after it, of N x H neurons, or one number for all.
        constants: of the neurons.
        note: whether a backward may follow.

    Returns:
        Spikes [T + 1, N, H], those of the step before in front; last potentials [N, H]; H [T or 1, N x H], of
        all steps if a backward may follow.
    """
    steps, size = len(x), x[0].numel()
    spikes = torch.empty((steps + 1, *x.shape[1:]), dtype=x.dtype)
    spikes[0] = 0 if y is None else y
    h = torch.empty((steps if note.keep else 1, size), dtype=precise(x.dtype))
    back, out, potentials = Return(weight.t(), x[0]), Through(spikes), list(h.numpy())
    lif, fed, outside = numbers(constants, potentials[0].dtype), back.fed.view(-1).numpy(), back.rows(x, steps)
    number = potentials[0].dtype.type
    first = v.reshape(-1).numpy() if isinstance(v, torch.Tensor) else np.full(1, v, number)
    for t, before in enumerate(spikes[:-1].unbind()):
        back.carry(before, x[t])
        now, then = (potentials[t], potentials[t - 1]) if note.keep else (potentials[0],) * 2
        share(cpu_steps.step, size, size, outside[t], fed, first, then, now, out.rows[t + 1], lif)
        out.settle(t + 1)
        first = first[:0]
    last = torch.empty(x.shape[1:], dtype=h.dtype)
    note.nan = any(share(cpu_steps.settle, size, size, potentials[-1], last.view(-1).numpy(), lif))
    return spikes, last, h


def run_back(
    h: Tensor,
    weight: Tensor,
    y: Tensor | None,
    gs: Tensor | None,
    gy: Tensor | None,
    gv: Tensor | None,
    constants: Constants,
    dtype: torch.dtype,
    *,
    of_weight: bool,
    of_y: bool,
) -> tuple[Tensor, Tensor | None, Tensor, Tensor | None]:
    """Run all steps backwards.

    Args:
        h: as `run` returns it.
        weight: W [H, H].
        y: as for `run`.
        gs, gy, gv: gradients of the spikes [T, N, H], of the last of them [N, H] and of the last potentials
            [N, H]; None for zero.
        constants: of the neurons.
        dtype: of the input.
        of_weight, of_y: whether the gradients of the weight and of ``y`` are wanted.

    Returns:
        Gradients of the input [T, N, H], of ``y`` [N, H], of the potentials [N x H] and of the weight.
    """
    steps, size = h.shape
    gx = torch.empty((steps, size // len(weight), len(weight)), dtype=dtype)
    back, out, potentials = Return(weight, gx[0]), Through(gx), list(h.numpy())
    number = potentials[0].dtype.type
    lif, fed, outside = numbers(constants, potentials[0].dtype), back.fed.view(-1).numpy(), back.rows(gs, steps)
    carry = torch.zeros(size, dtype=h.dtype) if gv is None else gv.reshape(-1).to(h.dtype, copy=True)
    surrogate = constants.slope.kind, number(constants.slope.a), number(constants.slope.b)
    slopes, gradients = np.empty(size, number), gx.unbind()
    sums = _WeightGradient(weight, h, y, constants) if of_weight else None
    for t in range(steps - 1, -1, -1):
        given = None if gs is None else gs[t]
        if t == steps - 1:
            back.begin(gy, given)
        else:
            back.carry(gradients[t + 1], given)
        share(
            cpu_steps.step_back, size, size, outside[t], fed, potentials[t], slopes, carry.numpy(),
            out.rows[t], lif, constants.detach_reset, *surrogate,
        )  # fmt: skip
        out.settle(t)
        if sums is not None:
            sums.add(gx, t)
    if of_y:
        back.carry(gradients[0], None)
    return gx, back.fed if of_y else None, carry, None if sums is None else sums.total.to(weight.dtype)


class _WeightGradient:
    """dL/dW = sum_t dL/dI[t]^T y[t-1], added up backwards in time.

    Attributes:
        total: the sum so far, [H, H]; at least in float32.
    """

    def __init__(self, weight: Tensor, h: Tensor, y: Tensor | None, constants: Constants) -> None:
        self._h, self._y = h.numpy(), y
        self._threshold = self._h.dtype.type(constants.threshold)
        self.total = torch.zeros(weight.shape, dtype=precise(weight.dtype))
        steps, size = h.shape
        self._end, self._many = steps, max(1, min(SUMMED // size, steps))
        self._spikes = torch.empty((self._many, size // len(weight), len(weight)), dtype=h.dtype)

    def add(self, gx: Tensor, t: int) -> None:
        """Add steps from ``t`` on if they are enough for a product; their gradients are in ``gx``."""
        if t > 0 and self._end - t < self._many:
            return
        first = max(t, 1)  # the spikes before step 0 are not in H
        if first < self._end:
            spikes = self._spikes[: self._end - first]
            cpu_steps.spike(
                self._h[first - 1 : self._end - 1].reshape(-1), spikes.view(-1).numpy(), self._threshold
            )
            self._multiply(gx[first : self._end], spikes)
        if t == 0 and self._y is not None:
            self._multiply(gx[:1], self._y.unsqueeze(0))
        self._end = t

    def _multiply(self, gradients: Tensor, spikes: Tensor) -> None:
        exact = self.total.dtype
        self.total.addmm_(gradients.flatten(0, 1).to(exact).t(), spikes.flatten(0, 1).to(exact))


class Steps(torch.autograd.Function):
    """All steps of a layer: maps input, weight, spikes and potentials before to those after."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        y: Tensor | None,
        v: Tensor | float,
        constants: Constants,
        note: Note,
    ) -> Any:
        """Return spikes [T, ...], the last spikes and the last potentials, from x [T, ..., H]."""
        ctx.set_materialize_grads(False)
        note.keep = note.keep and any(ctx.needs_input_grad)
        wide = (-1, x.shape[-1])
        before = None if y is None else y.detach().reshape(wide)
        carried = v.detach() if isinstance(v, torch.Tensor) else v
        series, last, h = run(
            x.detach().reshape(len(x), *wide), weight.detach(), before, carried, constants, note
        )
        if note.keep:
            ctx.save_for_backward(h, weight, y)
            ctx.constants, ctx.shape, ctx.dtype = constants, x.shape, x.dtype
        note.before = series[:-1].view(x.shape)
        return _behind(series, x.shape), series[-1].clone().view(x.shape[1:]), last.view(x.shape[1:])

    @staticmethod
    def backward(ctx: Any, gs: Tensor | None, gy: Tensor | None, gv: Tensor | None) -> Any:
        """Run the steps backwards.

        Raises:
            UserError: a second derivative is asked for.
        """
        refuse_second_derivative()
        h, weight, y = ctx.saved_tensors
        wide = (-1, ctx.shape[-1])
        gx, gy0, gv0, gw = run_back(
            h,
            weight.detach(),
            None if y is None else y.detach().reshape(wide),
            None if gs is None else gs.reshape(len(gs), *wide),
            None if gy is None else gy.reshape(wide),
            gv,
            ctx.constants,
            ctx.dtype,
            of_weight=ctx.needs_input_grad[1],
            of_y=ctx.needs_input_grad[2],
        )
        step = ctx.shape[1:]
        of_y = None if gy0 is None else gy0.to(ctx.dtype).view(step)
        of_v = gv0.view(step) if ctx.needs_input_grad[3] else None
        return gx.view(ctx.shape), gw, of_y, of_v, None, None


def flat(series: Tensor) -> Rows:
    """Return the steps of [T, ...] as flat arrays that share memory with it, if its steps are dense."""
    return list(series.detach().reshape(len(series), -1).numpy())


def _behind(series: Tensor, shape: torch.Size) -> Tensor:
    """Return all but the first step of ``series``, of a shape: the same memory, and no view for autograd."""
    end = torch.empty(0, dtype=series.dtype)
    return end.set_(series.untyped_storage(), series[0].numel(), shape)


def _numpy(dtype: torch.dtype) -> Any:
    return torch.empty(0, dtype=dtype).numpy().dtype
