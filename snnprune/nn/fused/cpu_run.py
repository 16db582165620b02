"""Call the CPU's kernels with tensors."""
# ruff: noqa: PLR0917 - the arguments of a kernel

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from snnprune.nn.fused import cpu
from snnprune.nn.fused.layout import Layout
from snnprune.nn.fused.threads import share

if TYPE_CHECKING:
    from torch import Tensor

    from snnprune.nn.fused.constants import Constants, Note


@dataclass(frozen=True)
class Planes:
    """How a step [B, ...] is divided into planes for the kernels.

    Attributes:
        layout: of the input.
        pooled: of the output.
        planes, height, width, inner: P, H, W and I of the kernels.
    """

    layout: Layout
    pooled: Layout
    planes: int
    height: int
    width: int
    inner: int

    @classmethod
    def of(cls, x: Tensor, steps: int, square: int, spatial: bool) -> Planes:
        """Divide ``x`` [T, ...] into planes of places if ``spatial``, otherwise into tiles."""
        layout = Layout.of(x[0])
        if not spatial:
            tile = max(1, cpu.TILE // max(steps, 1))
            return cls(layout, layout, -(-layout.size // tile), tile, 1, 1)
        batch, channels, height, width = layout.shape
        shape = (batch, channels, height // square, width // square)
        if layout.is_channels_last and not layout.is_usual:
            strides = (channels * shape[2] * shape[3], 1, channels * shape[3], channels)
            return cls(layout, Layout(shape, strides), batch, height, width, channels)
        usual = Layout.usual(layout.shape)
        return cls(usual, Layout.usual(shape), batch * channels, height, width, 1)

    @property
    def sizes(self) -> tuple[int, int, int]:
        """H, W and I."""
        return self.height, self.width, self.inner


def run(
    x: Tensor, v0: Tensor | float, constants: Constants, note: Note
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return spikes (or averages) [T, ...], potentials [...] and None: the backward needs the input only."""
    steps, square = constants.steps, constants.square
    planes = Planes.of(x, steps, square, note.spatial)
    flat = planes.layout.array(x)
    precise = torch.float32 if x.element_size() == 2 else x.dtype
    spikes = planes.pooled.empty(steps, precise)
    last = planes.layout.step(precise)
    counts = [np.zeros((0, 0, 0), flat.dtype)] * 2
    if note.count:
        shape = (steps, planes.planes, planes.inner)
        counts = [np.zeros(shape, flat.dtype), np.zeros(shape if square > 1 else (0, 0, 0), flat.dtype)]
    if last.numel():
        broken = share(
            cpu.forward, planes.planes, steps * planes.layout.size, flat, _first(v0, planes, flat.dtype),
            planes.pooled.array(spikes), planes.layout.array(last.unsqueeze(0))[0], *counts,
            steps, *planes.sizes, square, numbers(constants, flat.dtype),
        )  # fmt: skip
        note.nan = any(broken)
    if note.count:
        batch = (steps, *planes.layout.shape[:2])
        post, pre = (torch.from_numpy(c).reshape(batch) if c.size else None for c in counts)
        note.counts = None if post is None else (post, pre)
    return spikes.to(x.dtype), last, None


def run_back(
    x: Tensor,
    v0: Tensor | float,
    gs: Tensor | None,
    gv: Tensor | None,
    constants: Constants,
    note: Note,
    into: Tensor | None = None,
    bias: bool = False,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return the gradients of the input, of v0 and of a bias.

    The first is summed over time if the input is used at every step. It is written into ``into`` if that is
    given: a dense tensor in the layout of ``x``, or ``x`` itself. The last, [C], is that of a bias that is
    added to each channel of ``x`` [T, B, C, H, W] at every step. It is None unless ``bias`` is True and
    channels are innermost: in other layouts torch sums as fast.
    """
    steps, square, slope = constants.steps, constants.square, constants.slope
    planes = Planes.of(x, steps, square, square > 1 or bias)
    bias = bias and planes.inner > 1
    flat = planes.layout.array(x)
    number = flat.dtype.type
    precise = torch.float32 if x.element_size() == 2 else x.dtype
    shape = (1 if note.once else steps, *planes.layout.shape)
    gx = planes.layout.empty(shape[0], precise) if into is None else into.view(shape)
    gv0 = planes.layout.step(precise)
    gb = np.zeros((planes.planes, planes.inner) if bias else (0, 0), flat.dtype)
    empty = np.zeros((0, 0), flat.dtype)
    if gx.numel():
        share(
            cpu.backward, planes.planes, steps * planes.layout.size, flat, _first(v0, planes, flat.dtype),
            empty if gs is None else planes.pooled.array(gs),
            np.zeros(0, flat.dtype) if gv is None else planes.layout.array(gv.unsqueeze(0))[0],
            planes.layout.array(gx), planes.layout.array(gv0.unsqueeze(0))[0], gb, steps, *planes.sizes,
            square, numbers(constants, flat.dtype), constants.detach_reset, slope.kind, number(slope.a),
            number(slope.b),
        )  # fmt: skip
    added = torch.from_numpy(gb).sum(0) if bias else None
    return (gx[0] if note.once else gx).to(x.dtype), gv0, added


def _first(v0: Tensor | float, planes: Planes, dtype: Any) -> np.ndarray[Any, Any]:
    if isinstance(v0, torch.Tensor):
        return planes.layout.array(v0.unsqueeze(0))[0]
    return np.full(1, v0, dtype)


def numbers(constants: Constants, dtype: Any) -> tuple[Any, ...]:
    """Return the neuron's constants as the kernels take them, in the precision of the potentials."""
    number = dtype.type
    hard = constants.reset is not None
    return (
        number(constants.tau),
        number(constants.threshold),
        number(constants.rest),
        hard,
        constants.decay_input,
    )
