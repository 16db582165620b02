"""Call the CPU's kernels with tensors."""
# ruff: noqa: PLR0917 - the arguments of a kernel

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from snnprune.common.threads import share
from snnprune.nn.fused import cpu, cpu_norm
from snnprune.nn.fused.layout import Layout

if TYPE_CHECKING:
    from torch import Tensor

    from snnprune.nn.fused.constants import Constants, Note, Window
    from snnprune.nn.fused.norm import Norm


SMALL = 1 << 8
"""Places of a channel below which a plane is made of several channels, where channels are not innermost."""

BLOCK = 1 << 11
"""Most neurons of such a plane."""


@dataclass(frozen=True)
class Planes:
    """How a step [B, ...] is divided into planes for the kernels.

    Attributes:
        layout: of the input.
        pooled: of the output.
        planes, height, width, inner: P, H, W and I of the kernels.
        repeats: entries of I that have the same channel, side by side.
    """

    layout: Layout
    pooled: Layout
    planes: int
    height: int
    width: int
    inner: int
    repeats: int = 1

    @classmethod
    def of(cls, x: Tensor, constants: Constants, spatial: bool, normed: bool = False) -> Planes:
        """Divide ``x`` [T, ...] into planes of places if ``spatial`` or ``normed``, otherwise into tiles."""
        layout, square, window = Layout.of(x[0]), constants.square, constants.window
        if not spatial and not normed:
            tile = max(1, cpu.TILE // max(constants.steps, 1))
            return cls(layout, layout, -(-layout.size // tile), tile, 1, 1)
        batch, channels, height, width = layout.shape
        pooled = (size // square if window is None else window.places(size) for size in (height, width))
        shape = (batch, channels, *pooled)
        if layout.is_channels_last and not layout.is_usual:
            strides = (channels * shape[2] * shape[3], 1, channels * shape[3], channels)
            return cls(layout, Layout(shape, strides), batch, height, width, channels)
        usual, places = Layout.usual(layout.shape), height * width
        if normed and square == 1 and window is None and places < SMALL:
            one = max(n for n in range(1, channels + 1) if channels % n == 0 and n * places <= BLOCK)
            return cls(usual, usual, batch * channels // one, 1, 1, one * places, places)
        return cls(usual, Layout.usual(shape), batch * channels, height, width, 1)

    @property
    def sizes(self) -> tuple[int, int, int]:
        """H, W and I."""
        return self.height, self.width, self.inner

    def vectors(self, by_channel: Tensor) -> np.ndarray[Any, Any]:
        """Return [C] as the kernels of a norm take it, [G, I]."""
        return by_channel.repeat_interleave(self.repeats).view(-1, self.inner).numpy()

    def added(self, sums: np.ndarray[Any, Any]) -> Tensor:
        """Return [C] of what a kernel has added up by plane, [P, I]."""
        channels = self.layout.shape[1]
        return torch.from_numpy(sums).view(-1, channels, self.repeats).sum((0, 2))

    def window(self, window: Window | None) -> tuple[int, int, int, int, int]:
        """Return the windows of a maximum pool as the kernels take them."""
        if window is None:
            return (0, 1, 0, 0, 0)
        rows, columns = self.pooled.shape[2:]
        return window.side, window.stride, window.padding, rows, columns


def run(
    x: Tensor,
    v0: Tensor | float,
    constants: Constants,
    note: Note,
    norm: Norm | None = None,
    others: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return spikes (or their pool) [T, ...], potentials [...] and None: the backward needs the input only.

    Args:
        x: input [T, ...], before the ``norm`` if there is one.
        v0: initial potentials [...], or one number.
        constants: of the neurons.
        note: settings; gets the results.
        norm: a batch norm in front of the neurons.
        others: what is added to the spikes, [T, ...].
    """
    steps, window = constants.steps, constants.window
    planes = Planes.of(x, constants, note.spatial, norm is not None)
    flat = planes.layout.array(x)
    precise = torch.float32 if x.element_size() == 2 else x.dtype
    spikes = planes.pooled.empty(steps, precise)
    last = planes.layout.step(precise)
    counts = [np.zeros((0, 0, 0), flat.dtype)] * 2
    if note.count:
        shape, more = (steps, planes.planes, planes.inner), (0, 0, 0)
        summed = constants.square > 1 or window is not None or others is not None
        counts = [np.zeros(shape, flat.dtype), np.zeros(shape if summed else more, flat.dtype)]
    won = np.zeros((steps, 0 if window is None else planes.pooled.size), np.uint8)
    if last.numel():
        broken = share(
            cpu.forward, planes.planes, steps * planes.layout.size, flat, _first(v0, planes, flat.dtype),
            planes.pooled.array(spikes), planes.layout.array(last.unsqueeze(0))[0], *counts,
            steps, *planes.sizes, constants.square, numbers(constants, flat.dtype),
            *_vectors(planes, norm, flat.dtype)[:2],
            np.zeros((1, 0), flat.dtype) if others is None else planes.layout.array(others),
            won, planes.window(window),
        )  # fmt: skip
        note.nan = any(broken)
    if note.count:
        batch = (steps, *planes.layout.shape[:2], -1)
        post, pre = (torch.from_numpy(c).reshape(batch).sum(-1) if c.size else None for c in counts)
        note.counts = None if post is None else (post, pre)
    note.won = won
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
    norm: Norm | None = None,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """Return the gradients of the input, of v0 and of a bias, and what a norm needs besides.

    The first is summed over time if the input is used at every step. It is written into ``into`` if that is
    given: a dense tensor in the layout of ``x``, or ``x`` itself. The third, [C], is that of a bias that is
    added to each channel of ``x`` [T, B, C, H, W] at every step. It is None unless ``bias`` is True and
    channels are innermost: in other layouts torch sums as fast.

    With a ``norm`` the first is the gradient of what it puts out, and ``into`` must not be ``x``; the third
    is the sum of it by channel, and the last one the sum of it times x - mean, both in float64.
    """
    square, slope = constants.square, constants.slope
    planes = Planes.of(x, constants, square > 1 or constants.window is not None or bias, norm is not None)
    biased = norm is not None or (bias and planes.inner > 1)
    flat = planes.layout.array(x)
    number = flat.dtype.type
    precise = torch.float32 if x.element_size() == 2 else x.dtype
    shape = (1 if note.once else constants.steps, *planes.layout.shape)
    gx = planes.layout.empty(shape[0], precise) if into is None else into.view(shape)
    gv0 = planes.layout.step(precise)
    gb = np.zeros((planes.planes, planes.inner) if biased else (0, 0))
    gp = np.zeros(gb.shape if norm is not None else (0, 0))
    empty = np.zeros((0, 0), flat.dtype)
    if gx.numel():
        share(
            cpu.backward, planes.planes, constants.steps * planes.layout.size, flat,
            _first(v0, planes, flat.dtype), empty if gs is None else planes.pooled.array(gs),
            np.zeros(0, flat.dtype) if gv is None else planes.layout.array(gv.unsqueeze(0))[0],
            planes.layout.array(gx), planes.layout.array(gv0.unsqueeze(0))[0], gb, gp, constants.steps,
            *planes.sizes, square, numbers(constants, flat.dtype), constants.detach_reset, slope.kind,
            number(slope.a), number(slope.b), *_vectors(planes, norm, flat.dtype), note.won,
            planes.window(constants.window),
        )  # fmt: skip
    added = planes.added(gb) if biased else None
    if norm is None:
        added = added if added is None else added.to(precise)
    return (
        (gx[0] if note.once else gx).to(x.dtype),
        gv0,
        added,
        None if norm is None else planes.added(gp),
    )


def through_norm(g: Tensor, x: Tensor, constants: Constants, norm: Norm, level: Tensor, tilt: Tensor) -> None:
    """Turn the gradients of normalised values into those of the norm's input, in place.

    Args:
        g: gradients [T or 1, B, C, H, W], in the layout of `run_back`.
        x: what was normalised, [T or 1, B, C, H, W].
        constants: of the neurons.
        norm: the batch norm.
        level: what the mean passes on to every value, [C], see `cpu_norm.through`.
        tilt: what the variance does, [C].
    """
    planes = Planes.of(x, constants, True, True)
    vectors = [planes.vectors(v.to(x.dtype)) for v in (norm.scale, norm.mean, level, tilt)]
    plane = planes.height * planes.width * planes.inner
    share(
        cpu_norm.through, planes.planes, g.numel(), planes.layout.array(g), planes.layout.array(x), plane,
        *vectors,
    )  # fmt: skip


def _vectors(planes: Planes, norm: Norm | None, dtype: Any) -> list[np.ndarray[Any, Any]]:
    """Return scale, shift and mean of a norm."""
    if norm is None:
        return [np.zeros((1, 0), dtype)] * 3
    return [planes.vectors(vector) for vector in (norm.scale, norm.shift, norm.mean)]


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
