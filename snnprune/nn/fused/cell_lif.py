"""LIF neurons with one time constant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from snnprune.common.threads import share
from snnprune.nn.fused.cell import Backward, Cell, Forward, gradient, precise, row
from snnprune.nn.fused.kernels import kernels, step_kernels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from snnprune.nn.fused.cell import Row
    from snnprune.nn.fused.constants import Constants


@dataclass(frozen=True)
class LIF(Cell):
    """SpikingJelly's ``LIFNode``. Given: potentials. H is kept, one number for each neuron and step."""

    constants: Constants

    def forward(self, given: Sequence[Tensor | float], steps: int, like: Tensor, *, keep: bool) -> Forward:
        """Begin a forward."""
        return _Forward(self.constants, given[0], steps, like, keep=keep)

    def backward(
        self, _given: Sequence[Tensor | float], kept: Sequence[Tensor], ends: Sequence[Tensor | None]
    ) -> Backward:
        """Begin a backward."""
        return _Backward(self.constants, kept[0], ends[0])


class _Forward(Forward):
    def __init__(
        self, constants: Constants, v: Tensor | float, steps: int, like: Tensor, *, keep: bool
    ) -> None:
        self.size, dtype = like.numel(), precise(like.dtype)
        h = torch.empty((steps if keep else 2, self.size), dtype=dtype)
        self.kept, self.h = (h,), list(h.numpy())
        self.first = row(v, 1, dtype)
        self.lif = kernels("cpu").numbers(constants, self.first.dtype)
        self.last = torch.empty(self.size, dtype=dtype)

    def step(self, t: int, x: Row, fed: Row, s: Row) -> None:
        now, before = (self.h[step % len(self.h)] for step in (t, t - 1))
        first = self.first if t == 0 else self.first[:0]
        share(step_kernels().lif_step, self.size, self.size, x, fed, first, before, now, s, self.lif)
        self.now = now

    def end(self) -> tuple[Tensor, ...]:
        last = self.last.numpy()
        self.broken = any(share(step_kernels().lif_settle, self.size, self.size, self.now, last, self.lif))
        return (self.last,)


class _Backward(Backward):
    def __init__(self, constants: Constants, h: Tensor, gv: Tensor | None) -> None:
        self.h, self.size = h.numpy(), h.shape[1]
        self.carry, number = gradient(gv, self.size, h.dtype), self.h.dtype.type
        self.slopes, self.lif = np.empty(self.size, number), kernels("cpu").numbers(constants, self.h.dtype)
        slope = constants.slope
        self.more = constants.detach_reset, slope.kind, number(slope.a), number(slope.b)

    def spikes(self, first: int, last: int, out: Tensor) -> None:
        step_kernels().spike(self.h[first:last].reshape(-1), out.view(-1).numpy(), self.lif[1])

    def step(self, t: int, gs: Row, fed: Row, gx: Row) -> None:
        share(
            step_kernels().lif_back, self.size, self.size, gs, fed, self.h[t], self.slopes,
            self.carry.numpy(), gx, self.lif, *self.more,
        )  # fmt: skip

    def end(self) -> tuple[Tensor | None, ...]:
        return (self.carry,)
