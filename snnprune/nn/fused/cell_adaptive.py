"""LIF neurons with an adaptive threshold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from snnprune.common.threads import share
from snnprune.nn.fused.cell import Backward, Cell, Forward, gradient, precise, row
from snnprune.nn.fused.cell_own import decays
from snnprune.nn.fused.kernels import step_kernels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from snnprune.nn.fused.cell import Row
    from snnprune.nn.fused.surrogates import Slope


@dataclass(frozen=True)
class Adaptive(Cell):
    """`snnprune.nn.models.adaptive.AdaptiveLIFNode`.

    Given: potentials, adaptations and spikes before the first step, decays of potential and adaptation. V, B
    and, where decays are trained, the current are kept.
    """

    base: float
    beta: float
    detach_reset: bool
    slope: Slope
    states = ("v", "b")

    def forward(self, given: Sequence[Tensor | float], steps: int, like: Tensor, *, keep: bool) -> Forward:
        """Begin a forward."""
        return _Forward(self, given, steps, like, keep=keep)

    def backward(
        self, given: Sequence[Tensor | float], kept: Sequence[Tensor], ends: Sequence[Tensor | None]
    ) -> Backward:
        """Begin a backward."""
        return _Backward(self, given, kept, ends)


class _Forward(Forward):
    def __init__(
        self, cell: Adaptive, given: Sequence[Tensor | float], steps: int, like: Tensor, *, keep: bool
    ) -> None:
        (self.rows, units), size, dtype = like.shape, like.numel(), precise(like.dtype)
        rows = steps if keep else 2
        v, b = torch.empty((rows, size), dtype=dtype), torch.empty((rows, size), dtype=dtype)
        trained = keep and any(isinstance(one, torch.Tensor) for one in given[3:])
        current = torch.empty((steps if trained else 0, size), dtype=dtype)
        self.kept, self.current = (v, b, current), list(current.numpy())
        self.v, self.b = v, b
        self.states = (*(row(one, size, dtype) for one in given[:3]),)
        number: Any = self.states[0].dtype.type
        self.more = (
            *decays(given[3], units, dtype), *decays(given[4], units, dtype), number(cell.base),
            number(cell.beta),
        )  # fmt: skip

    def step(self, t: int, x: Row, fed: Row, s: Row) -> None:
        v, b = self.v[t % len(self.v)].numpy(), self.b[t % len(self.b)].numpy()
        current = self.current[t] if self.current else fed
        share(
            step_kernels().adaptive_step,
            self.rows,
            s.size,
            x,
            fed,
            *self.states,
            v,
            b,
            current,
            s,
            *self.more,
        )
        self.states = v, b, s

    def end(self) -> tuple[Tensor, ...]:
        v, b, _ = self.states
        return torch.from_numpy(v).clone(), torch.from_numpy(b).clone()


class _Backward(Backward):
    def __init__(
        self,
        cell: Adaptive,
        given: Sequence[Tensor | float],
        kept: Sequence[Tensor],
        ends: Sequence[Tensor | None],
    ) -> None:
        v, b, current = kept
        size, dtype = v.shape[1], v.dtype
        self.units = next((one.numel() for one in given[3:] if isinstance(one, torch.Tensor)), size)
        self.rows = size // self.units
        self.v, self.b, self.current = v.numpy(), b.numpy(), current.numpy()
        self.first = tuple(row(one, size, dtype) for one in given[:3])
        self.carry = tuple(gradient(one, size, dtype) for one in (*ends, None))
        self.of_decays = torch.zeros((2, size if len(current) else 0), dtype=dtype)
        number: Any = self.v.dtype.type
        self.threshold, self.scratch = (number(cell.base), number(cell.beta)), np.empty((2, size), number)
        self.more = (
            *decays(given[3], self.units, dtype), *decays(given[4], self.units, dtype), *self.threshold,
            cell.detach_reset, cell.slope.kind, number(cell.slope.a), number(cell.slope.b),
        )  # fmt: skip

    def spikes(self, first: int, last: int, out: Tensor) -> None:
        v, b = (kept[first:last].reshape(-1) for kept in (self.v, self.b))
        step_kernels().adaptive_spike(v, b, out.view(-1).numpy(), *self.threshold)

    def step(self, t: int, gs: Row, fed: Row, gx: Row) -> None:
        slopes, y = self.scratch
        before = self.first if t == 0 else (self.v[t - 1], self.b[t - 1], y)
        if t > 0:
            step_kernels().adaptive_spike(self.v[t - 1], self.b[t - 1], y, *self.threshold)
        none = self.first[0][:0]
        share(
            step_kernels().adaptive_back, self.rows, fed.size, gs, fed, *before, self.v[t], self.b[t],
            self.current[t] if len(self.current) else none, slopes,
            *(one.numpy() for one in self.carry), gx, *self.of_decays.numpy(), *self.more,
        )  # fmt: skip

    def end(self) -> tuple[Tensor | None, ...]:
        if not len(self.current):
            return (*self.carry, None, None)
        return (*self.carry, *self.of_decays.view(2, self.rows, self.units).sum(1))
