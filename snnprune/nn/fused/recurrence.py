"""Neurons with synapses among themselves as one node of the autograd graph, on the CPU.

A time step is a product of matrices and one kernel. The product is torch's, of the same operands as in the
plain loop, so spikes and potentials are the same bit for bit. For the backward potentials alone are kept:
spikes follow from them, and nobody needs the input. The weight's gradient is summed over many steps at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from snnprune.nn.fused.cell import precise
from snnprune.nn.fused.kernels import refuse_second_derivative
from snnprune.nn.fused.layout import LINE, Layout
from snnprune.nn.fused.outer import Spikes

if TYPE_CHECKING:
    from torch import Tensor

    from snnprune.nn.fused.cell import Backward, Cell, Forward, Row
    from snnprune.nn.fused.constants import Note

SUMMED = 1 << 18
"""Spikes that one product of the weight's gradient sums over: they fit into a second-level cache."""


class Return:
    """What comes back along the synapses: spikes to the next step, or gradients to the step before.

    Args:
        matrix: spikes, or gradients, [N, H] are multiplied with it from the right.
        like: a step of what comes from outside, [N, H].

    Attributes:
        fed: what comes back, [N, H]. Kernels do not know floats of 16 bits; if there are any, torch adds what
            comes from outside to it.
    """

    def __init__(self, matrix: Tensor, like: Tensor) -> None:
        exact = precise(like.dtype)
        self._matrix, self._direct = matrix, matrix.dtype == exact == like.dtype
        self._product = torch.empty(like.shape, dtype=matrix.dtype)
        self.fed = self._product if self._direct else torch.empty(like.shape, dtype=exact)

    def begin(self, back: Tensor | None, outside: Tensor | None) -> None:
        """Take ``back`` as what comes back, nothing if it is None."""
        if back is None:
            self._product.zero_()
        else:
            self._product.copy_(back)
        self._add(outside)

    def carry(self, given: Tensor, outside: Tensor | None) -> None:
        """Multiply what the neurons give away, [N, H]."""
        # A tensor of its own begins at a cache line; where rows begin decides how a product is rounded.
        if given.data_ptr() % LINE:
            given = given.clone()
        torch.mm(given.to(self._matrix.dtype), self._matrix, out=self._product)
        self._add(outside)

    def _add(self, outside: Tensor | None) -> None:
        if not self._direct:
            self.fed.copy_(self._product if outside is None else outside + self._product)

    def rows(self, outside: Tensor | None, steps: int) -> list[Row]:
        """Return what is left for the kernel to add: the steps of ``outside`` [T, N, H], or nothing."""
        if outside is None or not self._direct:
            return [self.fed.view(-1)[:0].numpy()] * steps
        return flat(outside)


class Written:
    """A series [T, N, H] whose steps a kernel writes, in the precision of potentials.

    Attributes:
        rows: where to write each step.
    """

    def __init__(self, series: Tensor) -> None:
        exact = precise(series.dtype)
        self._series, self._row = series, None
        if series.dtype == exact:
            self.rows = flat(series)
        else:
            self._row = torch.empty(series[0].numel(), dtype=exact)
            self.rows = [self._row.numpy()] * len(series)

    def settle(self, t: int) -> None:
        """Take over step ``t``, which was written."""
        if self._row is not None:
            self._series[t].view(-1).copy_(self._row)


def run(x: Tensor, weight: Tensor, y: Tensor | None, neurons: Forward) -> Tensor:
    """Run all steps.

    Args:
        x: input [T, N, H].
        weight: W [H, H].
        y: spikes of the step before, [N, H]; None if there were none.
        neurons: at their first step.

    Returns:
        Spikes [T + 1, N, H], those of the step before in front.
    """
    spikes = torch.empty((len(x) + 1, *x.shape[1:]), dtype=x.dtype)
    spikes[0] = 0 if y is None else y
    back, written = Return(weight.t(), x[0]), Written(spikes)
    fed, outside = back.fed.view(-1).numpy(), back.rows(x, len(x))
    for t, before in enumerate(spikes[:-1].unbind()):
        back.carry(before, x[t])
        neurons.step(t, outside[t], fed, written.rows[t + 1])
        written.settle(t + 1)
    return spikes


def run_back(gx: Tensor, gs: Tensor | None, gy: Tensor | None, weight: Tensor, neurons: Backward) -> Return:
    """Run all steps backwards.

    Args:
        gx: gradients of the input [T, N, H], to write.
        gs: gradients of the spikes [T, N, H]; None for zero.
        gy: gradients of the last spikes [N, H]; None for zero.
        weight: W [H, H].
        neurons: at their last step.

    Returns:
        What carries gradients back.
    """
    steps = len(gx)
    back, written, gradients = Return(weight, gx[0]), Written(gx), gx.unbind()
    fed, outside = back.fed.view(-1).numpy(), back.rows(gs, steps)
    for t in range(steps - 1, -1, -1):
        given = None if gs is None else gs[t]
        if t == steps - 1:
            back.begin(gy, given)
        else:
            back.carry(gradients[t + 1], given)
        neurons.step(t, outside[t], fed, written.rows[t])
        written.settle(t)
    return back


def of_weight(gx: Tensor, y: Tensor | None, weight: Tensor, neurons: Backward) -> Tensor:
    """Return dL/dW = sum_t dL/dI[t]^T y[t-1], in the dtype of ``weight``.

    Args:
        gx: gradients of the input, [T, N, H].
        y: as for `run`.
        weight: W [H, H].
        neurons: which know their spikes.
    """
    exact, many = precise(weight.dtype), max(1, SUMMED // gx[0].numel())
    total = torch.zeros(weight.shape, dtype=exact)
    spikes = torch.empty((min(many, len(gx)), *gx.shape[1:]), dtype=precise(gx.dtype))
    for first in range(1, len(gx), many):
        gradients = gx[first : first + many]
        before = spikes[: len(gradients)]
        neurons.spikes(first - 1, first - 1 + len(gradients), before)
        rows, spiked = gradients.flatten(0, 1).to(exact), before.flatten(0, 1).to(exact)
        few = Spikes.of(spiked)
        if few is None:
            total.addmm_(rows.t(), spiked)
        else:
            total += few.outer(rows)
    if y is not None:
        total.addmm_(gx[0].to(exact).t(), y.to(exact))
    return total.to(weight.dtype)


class Steps(torch.autograd.Function):
    """All steps of a layer: maps input, weight, and the state before to spikes and the state after."""

    @staticmethod
    def forward(  # noqa: PLR0917 - an autograd function takes no keywords
        ctx: Any, cell: Cell, note: Note, x: Tensor, weight: Tensor, y: Tensor | None, *given: Tensor | float
    ) -> Any:
        """Run the steps.

        Args:
            ctx: of autograd.
            cell: the neurons.
            note: whether a backward may follow; gets the spikes before each step, [T, ..., H].
            x: input [T, ..., H].
            weight: W [H, H].
            y: spikes of the step before, [..., H]; None if there were none.
            given: what `Cell.forward` is given.

        Returns:
            Spikes [T, ..., H], the last of them, and the states after the last step.
        """
        ctx.set_materialize_grads(False)
        series = x.detach().reshape(len(x), -1, x.shape[-1])
        note.keep = note.keep and any(ctx.needs_input_grad)
        neurons = cell.forward(given, len(x), series[0], keep=note.keep)
        before = None if y is None else y.detach().reshape(series[0].shape)
        spikes = run(series, weight.detach(), before, neurons)
        ends = neurons.end()
        if note.keep:
            tensors = [one for one in given if isinstance(one, torch.Tensor)]
            ctx.save_for_backward(weight, y, *neurons.kept, *tensors)
            ctx.cell, ctx.kept, ctx.like = cell, len(neurons.kept), (x.shape, x.dtype)
            ctx.given = [None if isinstance(one, torch.Tensor) else one for one in given]
        note.before, note.nan = spikes[:-1].view(x.shape), neurons.broken
        states = (_alias(one, x.shape[1:]) for one in (spikes[-1].clone(), *ends))
        return _alias(spikes[1:], x.shape), *states

    @staticmethod
    def backward(ctx: Any, gs: Tensor | None, gy: Tensor | None, *rest: Tensor | None) -> Any:
        """Run the steps backwards.

        Raises:
            UserError: a second derivative is asked for.
        """
        refuse_second_derivative()
        weight, y, *saved = ctx.saved_tensors
        kept, tensors = saved[: ctx.kept], iter(saved[ctx.kept :])
        given = [next(tensors) if one is None else one for one in ctx.given]
        shape, dtype = ctx.like
        step, (_, _, _, _, of_y, *of_given) = shape[1:], ctx.needs_input_grad
        gx = torch.empty((shape[0], step[:-1].numel(), step[-1]), dtype=dtype)
        neurons = ctx.cell.backward(given, kept, rest)
        wide = gx[0].shape
        back = run_back(
            gx,
            None if gs is None else gs.reshape(gx.shape),
            None if gy is None else gy.reshape(wide),
            weight.detach(),
            neurons,
        )
        ends = [
            one.to(to.dtype).view(to.shape) if wanted else None
            for one, to, wanted in zip(neurons.end(), given, of_given, strict=True)
        ]
        gw = None
        if ctx.needs_input_grad[3]:
            before = None if y is None else y.detach().reshape(wide)
            gw = of_weight(gx, before, weight.detach(), neurons)
        if of_y:
            back.carry(gx[0], None)
        return None, None, gx.view(shape), gw, back.fed.to(dtype).view(step) if of_y else None, *ends


def flat(series: Tensor) -> list[Row]:
    """Return the steps of [T, ...] as flat arrays that share memory with it, if its steps are dense."""
    return list(np.asarray(series.detach().reshape(len(series), -1).numpy()))


def _alias(dense: Tensor, shape: torch.Size) -> Tensor:
    """Return the same memory in a shape. It is no view: of a view, autograd does not let users detach it."""
    own = torch.empty(0, dtype=dense.dtype)
    return own.set_(dense.untyped_storage(), dense.storage_offset(), shape, Layout.usual(shape).strides)
