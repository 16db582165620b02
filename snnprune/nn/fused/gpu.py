"""The neuron over time on a GPU: a program computes all steps of a block of neurons. Needs Triton.

The arithmetic is SpikingJelly's on a GPU, without fused multiply-add. If SpikingJelly has a kernel for the
surrogate, a division by tau is rounded once. Otherwise torch's operations run, which divide by a number as a
product with 1 / tau, and so do these kernels. The backward reads the potentials H that the forward wrote,
because a program cannot keep all steps of a block in its registers.

**Not yet run on a GPU**; the kernels are tested in Triton's interpreter.
"""
# ruff: noqa: PLR0917, PLR0911, SIM108 - a kernel is given pointers and numbers one by one

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
import triton
from triton import language as tl

from snnprune.nn.fused import surrogates
from snnprune.nn.fused.layout import Layout

if TYPE_CHECKING:
    from torch import Tensor

    from snnprune.nn.fused.constants import Constants, Note

BLOCK = 1024
_SPIKINGJELLYS = {
    surrogates.SIGMOID, surrogates.ATAN, surrogates.QUADRATIC, surrogates.PIECEWISE_EXP, surrogates.SOFT_SIGN,
    surrogates.SUPER_SPIKE, surrogates.ERF,
}  # fmt: skip
"""Surrogates for which SpikingJelly has kernels of its own, in float32."""

KNOWN = (*_SPIKINGJELLYS, surrogates.RECT)
"""Surrogates whose derivative this module implements; SpikingJelly computes the others."""

_RECT, _SIGMOID, _ATAN = (tl.constexpr(k) for k in (surrogates.RECT, surrogates.SIGMOID, surrogates.ATAN))
_QUADRATIC, _PIECEWISE_EXP = tl.constexpr(surrogates.QUADRATIC), tl.constexpr(surrogates.PIECEWISE_EXP)
_SOFT_SIGN, _SUPER_SPIKE = tl.constexpr(surrogates.SOFT_SIGN), tl.constexpr(surrogates.SUPER_SPIKE)
_ATAN_SCALE, _ERF_SCALE = tl.constexpr(math.pi / 2), tl.constexpr(1 / math.sqrt(math.pi))


@triton.jit
def leak(x, tau, inverse, RECIPROCAL: tl.constexpr):  # type: ignore[no-untyped-def]
    """Return x / tau."""
    if RECIPROCAL:
        return x * inverse
    return tl.div_rn(x, tau)


@triton.jit
def slope(u, a, KIND: tl.constexpr):  # type: ignore[no-untyped-def]
    """Return the derivative of the surrogate at u = H - threshold."""
    size = tl.abs(u)
    if KIND == _RECT:
        return tl.where(size < 0.5 / a, a, 0.0)
    if KIND == _SIGMOID:
        e = tl.exp(-a * size)
        return a * e / ((1.0 + e) * (1.0 + e))
    if KIND == _ATAN:
        z = _ATAN_SCALE * a * u
        return a * 0.5 / (1.0 + z * z)
    if KIND == _QUADRATIC:
        return tl.maximum(a - a * a * size, 0.0)
    if KIND == _PIECEWISE_EXP:
        return 0.5 * a * tl.exp(-a * size)
    if KIND == _SOFT_SIGN:
        z = 1.0 / a + size
        return 1.0 / (2.0 * a * z * z)
    if KIND == _SUPER_SPIKE:
        z = 1.0 + size
        return a / (z * z)
    return _ERF_SCALE * a * tl.exp(-(a * u) * (a * u))


@triton.jit
def forward(  # type: ignore[no-untyped-def]
    x_ptr, v0_ptr, s_ptr, v_ptr, h_ptr, size, x_step, steps, TAU: tl.constexpr, INVERSE: tl.constexpr,
    THRESHOLD: tl.constexpr, RESET: tl.constexpr, V0: tl.constexpr, CARRIED: tl.constexpr, KEEP: tl.constexpr,
    DECAY: tl.constexpr, HARD: tl.constexpr, RECIPROCAL: tl.constexpr, TYPE: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Charge, fire, reset: write spikes [T, size], last potentials and, if KEEP, H."""
    size, x_step = tl.cast(size, tl.int64), tl.cast(x_step, tl.int64)
    place = tl.program_id(0) * tl.full((BLOCK,), BLOCK, tl.int64) + tl.arange(0, BLOCK)
    inside = place < size
    tau, inverse = tl.full((BLOCK,), TAU, TYPE), tl.full((BLOCK,), INVERSE, TYPE)
    threshold, reset = tl.full((BLOCK,), THRESHOLD, TYPE), tl.full((BLOCK,), RESET, TYPE)
    if CARRIED:
        v = tl.load(v0_ptr + place, inside, other=0.0)
    else:
        v = tl.full((BLOCK,), V0, TYPE)
    for t in range(steps):
        x = tl.load(x_ptr + t * x_step + place, inside, other=0.0).to(TYPE)
        if DECAY:
            h = v + leak(x - (v - reset), tau, inverse, RECIPROCAL)
        else:
            h = v - leak(v - reset, tau, inverse, RECIPROCAL) + x
        s = (h >= threshold).to(TYPE)
        v = s * reset + (1.0 - s) * h if HARD else h - s * threshold
        at = t * size + place
        tl.store(s_ptr + at, s.to(s_ptr.dtype.element_ty), inside)
        if KEEP:
            tl.store(h_ptr + at, h, inside)
    tl.store(v_ptr + place, v, inside)


@triton.jit
def backward(  # type: ignore[no-untyped-def]
    h_ptr, gs_ptr, gv_ptr, gx_ptr, gv0_ptr, size, gs_step, steps, INVERSE: tl.constexpr,
    THRESHOLD: tl.constexpr, RESET: tl.constexpr, A: tl.constexpr, SPIKES: tl.constexpr,
    CARRIED: tl.constexpr, ONCE: tl.constexpr, DECAY: tl.constexpr, HARD: tl.constexpr,
    DETACH: tl.constexpr, KIND: tl.constexpr, TYPE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write the gradient of the input, summed over time if ONCE, from those of spikes and last potentials."""
    size, gs_step = tl.cast(size, tl.int64), tl.cast(gs_step, tl.int64)
    place = tl.program_id(0) * tl.full((BLOCK,), BLOCK, tl.int64) + tl.arange(0, BLOCK)
    inside = place < size
    inverse, a = tl.full((BLOCK,), INVERSE, TYPE), tl.full((BLOCK,), A, TYPE)
    threshold, reset = tl.full((BLOCK,), THRESHOLD, TYPE), tl.full((BLOCK,), RESET, TYPE)
    total = tl.full((BLOCK,), 0.0, TYPE)
    carry = total
    if CARRIED:
        carry = tl.load(gv_ptr + place, inside, other=0.0).to(TYPE)
    for back in range(steps):
        t = steps - 1 - back
        h = tl.load(h_ptr + t * size + place, inside, other=0.0)
        sg = slope(h - threshold, a, KIND)
        if HARD:
            inner = 1.0 - (h >= threshold).to(TYPE)
            if not DETACH:
                inner += (reset - h) * sg
        elif DETACH:
            inner = tl.full((BLOCK,), 1.0, TYPE)
        else:
            inner = 1.0 - threshold * sg
        gh = carry * inner
        if SPIKES:
            gh += tl.load(gs_ptr + t * gs_step + place, inside, other=0.0).to(TYPE) * sg
        gx = gh * inverse if DECAY else gh
        carry = gh - gh * inverse
        if ONCE:
            total += gx
        else:
            tl.store(gx_ptr + t * size + place, gx.to(gx_ptr.dtype.element_ty), inside)
    if ONCE:
        tl.store(gx_ptr + place, total.to(gx_ptr.dtype.element_ty), inside)
    tl.store(gv0_ptr + place, carry, inside)


def run(
    x: Tensor, v0: Tensor | float, constants: Constants, note: Note
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return spikes [T, ...], potentials [...] and H [T, ...], which the backward needs."""
    layout, steps = Layout.of(x[0]), constants.steps
    precise, reciprocal = _precision(x), _by_reciprocal(x, constants)
    flat = layout.flat(x)
    spikes = layout.empty(steps, x.dtype, x.device)
    last = layout.step(precise, x.device)
    kept = layout.empty(steps if note.keep else 0, precise, x.device)
    carried = isinstance(v0, torch.Tensor)
    start = layout.flat(v0.unsqueeze(0)) if isinstance(v0, torch.Tensor) else last
    if layout.size:
        forward[(triton.cdiv(layout.size, BLOCK),)](
            flat, start, spikes, last, kept, layout.size, 0 if flat.shape[0] == 1 else layout.size, steps,
            *_numbers(constants), 0.0 if carried else v0, carried, note.keep, constants.decay_input,
            constants.reset is not None, reciprocal, _TYPES[precise], BLOCK, enable_fp_fusion=False,
        )  # fmt: skip
    if note.count:
        note.counts = (spikes.sum((-1, -2), dtype=precise), None)
    note.nan = False  # a check would wait for the device
    return spikes, last, kept


def run_back(
    kept: Tensor,
    _v0: Tensor | float,
    gs: Tensor | None,
    gv: Tensor | None,
    constants: Constants,
    note: Note,
) -> tuple[Tensor, Tensor]:
    """Return the gradients of the input (summed over time if it is used at every step) and of v0."""
    layout, steps = Layout.of(kept[0]), constants.steps
    dtype = note.dtype
    gx = layout.empty(1 if note.once else steps, dtype, kept.device)
    gv0 = layout.step(kept.dtype, kept.device)
    spikes = gv0 if gs is None else layout.flat(gs)
    _, inverse, threshold, reset = _numbers(constants)
    if layout.size:
        backward[(triton.cdiv(layout.size, BLOCK),)](
            kept, spikes, gv0 if gv is None else layout.flat(gv.unsqueeze(0)), gx, gv0, layout.size,
            0 if spikes.shape[0] == 1 else layout.size, steps, inverse, threshold, reset, constants.slope.a,
            gs is not None, gv is not None, note.once, constants.decay_input, constants.reset is not None,
            constants.detach_reset, constants.slope.kind, _TYPES[kept.dtype], BLOCK, enable_fp_fusion=False,
        )  # fmt: skip
    return gx[0] if note.once else gx, gv0


_TYPES = {torch.float32: tl.float32, torch.float64: tl.float64}


def _precision(x: Tensor) -> torch.dtype:
    return torch.float32 if x.element_size() == 2 else x.dtype


def _by_reciprocal(x: Tensor, constants: Constants) -> bool:
    """Tell whether SpikingJelly's own forward divides by tau as a product with 1 / tau."""
    return x.dtype == torch.float64 or constants.slope.kind not in _SPIKINGJELLYS


def _numbers(constants: Constants) -> tuple[Any, ...]:
    return constants.tau, 1 / constants.tau, constants.threshold, constants.rest
