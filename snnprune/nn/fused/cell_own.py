"""LIF neurons with a decay each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from snnprune.common.threads import share
from snnprune.nn.fused.cell import Backward, Cell, Forward, gradient, precise, row
from snnprune.nn.fused.kernels import step_kernels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from snnprune.nn.fused.cell import Row
    from snnprune.nn.fused.surrogates import Slope


@dataclass(frozen=True)
class OwnDecay(Cell):
    """`snnprune.nn.models.heterogeneous.HeterogeneousLIFNode`. Given: potentials, decays.

    H and, where decays are trained, the current are kept.
    """

    threshold: float
    reset: float
    detach_reset: bool
    slope: Slope

    def forward(self, given: Sequence[Tensor | float], steps: int, like: Tensor, *, keep: bool) -> Forward:
        """Begin a forward."""
        return _Forward(self, given, steps, like, keep=keep)

    def backward(
        self, given: Sequence[Tensor | float], kept: Sequence[Tensor], ends: Sequence[Tensor | None]
    ) -> Backward:
        """Begin a backward."""
        return _Backward(self, given, kept, ends[0])


def decays(given: Tensor | float, size: int, dtype: torch.dtype) -> tuple[Row, Row]:
    """Return decays k and 1 - k, each rounded as in torch: a number is subtracted in double precision."""
    return row(given, size, dtype), row(1 - given, size, dtype)


class _Forward(Forward):
    def __init__(
        self, cell: OwnDecay, given: Sequence[Tensor | float], steps: int, like: Tensor, *, keep: bool
    ) -> None:
        (self.rows, units), dtype = like.shape, precise(like.dtype)
        h = torch.empty((steps if keep else 2, like.numel()), dtype=dtype)
        trained = keep and isinstance(given[1], torch.Tensor)
        current = torch.empty((steps if trained else 0, like.numel()), dtype=dtype)
        self.kept, self.h, self.current = (h, current), list(h.numpy()), list(current.numpy())
        self.first, self.last = row(given[0], 1, dtype), torch.empty(like.numel(), dtype=dtype)
        number: Any = self.first.dtype.type
        self.more = *decays(given[1], units, dtype), number(cell.threshold), number(cell.reset)

    def step(self, t: int, x: Row, fed: Row, s: Row) -> None:
        now, before = (self.h[step % len(self.h)] for step in (t, t - 1))
        first, current = self.first if t == 0 else self.first[:0], self.current[t] if self.current else fed
        share(step_kernels().own_step, self.rows, s.size, x, fed, first, before, now, current, s, *self.more)
        self.now = now

    def end(self) -> tuple[Tensor, ...]:
        *_, threshold, reset = self.more
        zero = threshold * 0
        lif = (zero, threshold, reset, True, True)
        share(step_kernels().lif_settle, self.now.size, self.now.size, self.now, self.last.numpy(), lif)
        return (self.last,)


class _Backward(Backward):
    def __init__(
        self, cell: OwnDecay, given: Sequence[Tensor | float], kept: Sequence[Tensor], gv: Tensor | None
    ) -> None:
        h, current = kept
        size, units = h.shape[1], given[1].numel() if isinstance(given[1], torch.Tensor) else 0
        self.h, self.current, self.rows = h.numpy(), current.numpy(), size // units
        self.first, self.carry = row(given[0], 1, h.dtype), gradient(gv, size, h.dtype)
        self.of_decays = torch.zeros((self.rows, units), dtype=h.dtype)
        number: Any = self.h.dtype.type
        self.slopes, self.threshold = np.empty(size, number), number(cell.threshold)
        self.more = (
            *decays(given[1], units, h.dtype), self.threshold, number(cell.reset), cell.detach_reset,
            cell.slope.kind, number(cell.slope.a), number(cell.slope.b),
        )  # fmt: skip

    def spikes(self, first: int, last: int, out: Tensor) -> None:
        step_kernels().spike(self.h[first:last].reshape(-1), out.view(-1).numpy(), self.threshold)

    def step(self, t: int, gs: Row, fed: Row, gx: Row) -> None:
        first = self.first if t == 0 else self.first[:0]
        share(
            step_kernels().own_back, self.rows, fed.size, gs, fed, first, self.h[t - 1], self.h[t],
            self.current[t] if len(self.current) else self.first[:0], self.slopes, self.carry.numpy(), gx,
            self.of_decays.view(-1).numpy(), *self.more,
        )  # fmt: skip

    def end(self) -> tuple[Tensor | None, ...]:
        return self.carry, self.of_decays.sum(0)
