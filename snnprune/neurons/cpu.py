"""The neuron over time as compiled loops: a tile of neurons at a time, all steps of it while it is in cache.

An array of activity is ``[T, P, M, I]`` in storage order: time outermost, then P planes of M = H x W places
with I channels side by side (NCHW: P = B x C, I = 1; channels_last: P = B, I = C; no places: a plane per
sample or channel). An array whose first axis is 1 where another's is T is the same at every step.

Nothing but the input is kept for the backward: a tile's potentials are computed once more, which costs less
than writing them to memory and reading them back. Every product and sum is written as SpikingJelly's torch
operations round it, and none may be fused with another, so spikes are the same bit for bit; no sum crosses
tiles, so results do not depend on the number of threads.
"""
# ruff: noqa: D417, PLR0917 - a kernel is given arrays and numbers one by one

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import numba
import numpy as np

from snnprune.neurons.surrogates import (
    ATAN,
    ERF,
    FOURIER,
    LEAKY_K_RELU,
    LEAKY_WINDOW,
    LOG_TAIL,
    NUMERICAL,
    PASS,
    PIECEWISE_EXP,
    Q_PSEUDO,
    QUADRATIC,
    RECT,
    S2NN,
    SIGMOID,
    SIGN_LOG,
    SOFT_SIGN,
    SUPER_SPIKE,
)

if TYPE_CHECKING:
    from collections.abc import Callable

TILE = 1 << 16
"""Potentials of a tile over all steps, about: 256 kB in float32, which a second-level cache holds. Small
tiles read memory in short pieces: a sixth more time for the backward at a quarter of it."""


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile at the first call and keep the result on disk, where there is a place to write to.

    Numba looks for one beside this file, in the user's cache folder and in ``NUMBA_CACHE_DIR``.
    """
    jit = functools.partial(numba.njit, nogil=True, error_model="numpy", fastmath=False)
    try:
        return jit(cache=True)(function)
    except RuntimeError:  # no such place
        return jit()(function)


@compiled
def charge(x, v, h, tau, rest, decay_input):  # type: ignore[no-untyped-def]
    """H = V + (X - (V - rest)) / tau, or V - (V - rest) / tau + X."""
    if decay_input:
        for i in range(h.size):
            h[i] = v[i] + (x[i] - (v[i] - rest)) / tau
    else:
        for i in range(h.size):
            h[i] = v[i] - (v[i] - rest) / tau + x[i]


@compiled
def fire(h, v, s, threshold, reset, hard):  # type: ignore[no-untyped-def]
    """S = [H >= threshold]; V = S reset + (1 - S) H, or H - S threshold."""
    one, zero = h.dtype.type(1), h.dtype.type(0)
    if hard:
        for i in range(h.size):
            spike = one if h[i] >= threshold else zero
            s[i] = spike
            v[i] = spike * reset + (one - spike) * h[i]
    else:
        for i in range(h.size):
            spike = one if h[i] >= threshold else zero
            s[i] = spike
            v[i] = h[i] - spike * threshold


@compiled
def slope(h, out, threshold, kind, a, b):  # type: ignore[no-untyped-def]  # noqa: C901, PLR0912, PLR0915 - a case each
    """Derivative of the surrogate at H - threshold; `snnprune.neurons.surrogates` has the equations."""
    number = h.dtype.type
    zero, one, two, half = number(0), number(1), number(2), number(0.5)
    n = h.size
    if kind == RECT:
        width = number(0.5) / a
        for i in range(n):
            out[i] = a if abs(h[i] - threshold) < width else zero
    elif kind == SIGMOID:
        for i in range(n):
            e = math.exp(-abs(a * (h[i] - threshold)))
            out[i] = a * e / ((one + e) * (one + e))
    elif kind == ATAN:
        c = number(math.pi) * half * a
        for i in range(n):
            z = c * (h[i] - threshold)
            out[i] = half * a / (one + z * z)
    elif kind == QUADRATIC:
        for i in range(n):
            z = a - a * a * abs(h[i] - threshold)
            out[i] = z if not z < zero else zero
    elif kind == PIECEWISE_EXP:
        for i in range(n):
            out[i] = half * a * math.exp(-a * abs(h[i] - threshold))
    elif kind == SOFT_SIGN:
        for i in range(n):
            z = one / a + abs(h[i] - threshold)
            out[i] = one / (two * a * z * z)
    elif kind == SUPER_SPIKE:
        for i in range(n):
            z = one + abs(h[i] - threshold)
            out[i] = a / (z * z)
    elif kind == ERF:
        c = a / number(math.sqrt(math.pi))
        for i in range(n):
            z = a * (h[i] - threshold)
            out[i] = c * math.exp(-z * z)
    elif kind == SIGN_LOG:
        for i in range(n):
            out[i] = one / (one / a + abs(h[i] - threshold))
    elif kind == LEAKY_WINDOW:
        for i in range(n):
            out[i] = half / a if abs(h[i] - threshold) < a else b
    elif kind == FOURIER:
        w = number(2 * math.pi) / b
        for i in range(n):
            z = zero
            for k in range(1, int(a)):
                z += math.cos(number(2 * k - 1) * w * (h[i] - threshold))
            out[i] = z * number(4) / b
    elif kind == S2NN:
        for i in range(n):
            u = h[i] - threshold
            e = math.exp(-abs(a * u))
            out[i] = a * e / ((one + e) * (one + e)) if u < zero else b / (u + one)
    elif kind == Q_PSEUDO:
        for i in range(n):
            out[i] = (one + two / (a - one) * abs(h[i] - threshold)) ** (-a)
    elif kind == LEAKY_K_RELU:
        for i in range(n):
            out[i] = b if h[i] >= threshold else a
    elif kind == NUMERICAL:
        for i in range(n):
            u = h[i] - threshold
            z = (one if u >= zero else -one) / u
            out[i] = a if z > a else z
    elif kind == LOG_TAIL:
        for i in range(n):
            u = h[i] - threshold
            out[i] = a if u <= zero else (one / u if u > one else one)
    elif kind == PASS:
        for i in range(n):
            out[i] = one


@compiled
def back(g, h, slopes, carry, gx, tau, threshold, reset, decay_input, hard, detach_reset):  # type: ignore[no-untyped-def]
    """One step of the chain rule: from the gradients of S[t] and V[t] to those of X[t] and V[t-1].

    dL/dH = dL/dS S' + dL/dV ((1 - S) + (reset - H) S')   hard; the second part of the bracket unless detached
    dL/dH = dL/dS S' + dL/dV (1 - threshold S')           soft
    """
    one, zero = h.dtype.type(1), h.dtype.type(0)
    through = zero if detach_reset else one
    scale = one / tau if decay_input else one
    leak = one / tau
    if hard:
        for i in range(h.size):
            silent = zero if h[i] >= threshold else one
            inner = silent + through * (reset - h[i]) * slopes[i]
            gh = g[i] * slopes[i] + carry[i] * inner
            gx[i] = gh * scale
            carry[i] = gh - gh * leak
    else:
        for i in range(h.size):
            gh = g[i] * slopes[i] + carry[i] * (one - through * threshold * slopes[i])
            gx[i] = gh * scale
            carry[i] = gh - gh * leak


@compiled
def pool_rows(s, out, width, inner, k, scale, sums):  # type: ignore[no-untyped-def]
    """Average k x k squares of the rows in ``s`` into ``out``; ``sums`` is room for a row."""
    line = width * inner
    columns = width // k
    for row in range(s.size // (k * line)):
        top = s[row * k * line : (row * k + 1) * line]
        below = s[(row * k + 1) * line : (row * k + 2) * line]
        for i in range(line):
            sums[i] = top[i] + below[i]
        for further in range(2, k):
            other = s[(row * k + further) * line : (row * k + further + 1) * line]
            for i in range(line):
                sums[i] += other[i]
        to = out[row * columns * inner : (row + 1) * columns * inner]
        if inner == 1 and k == 2:
            for j in range(columns):
                to[j] = (sums[2 * j] + sums[2 * j + 1]) / scale
        else:
            for j in range(columns):
                for c in range(inner):
                    total = sums[j * k * inner + c]
                    for right in range(1, k):
                        total += sums[(j * k + right) * inner + c]
                    to[j * inner + c] = total / scale


@compiled
def add_up(s, counts, line, inner, sums):  # type: ignore[no-untyped-def]
    """Add the values of ``s``, in rows of ``line``, to ``counts`` by channel; ``sums`` is room for a row."""
    sums[:line] = 0
    for row in range(s.size // line):
        values = s[row * line : (row + 1) * line]
        for i in range(line):
            sums[i] += values[i]
    for i in range(line // inner):
        for c in range(inner):
            counts[c] += sums[i * inner + c]


@compiled
def spread_rows(g, out, width, inner, k, part):  # type: ignore[no-untyped-def]
    """Give each neuron of a k x k square its share of the square's gradient; those in no square get zero."""
    line, columns = width * inner, width // k
    zero = out.dtype.type(0)
    for row in range(out.size // line):
        to = out[row * line : (row + 1) * line]
        start = row // k * columns * inner
        if start + columns * inner > g.size:
            to[:] = zero
            continue
        if row % k:
            before = out[(row - 1) * line : row * line]
            for i in range(line):
                to[i] = before[i]
            continue
        come = g[start : start + columns * inner]
        if inner == 1 and k == 2:
            for j in range(columns):
                share = come[j] * part
                to[2 * j] = share
                to[2 * j + 1] = share
        else:
            for j in range(columns):
                for right in range(k):
                    for c in range(inner):
                        to[(j * k + right) * inner + c] = come[j * inner + c] * part
        to[columns * k * inner :] = zero


@compiled
def forward(  # type: ignore[no-untyped-def]
    first, last, x, v0, s, v, post, pre, steps, height, width, inner, k, tau, threshold, reset, hard,
    decay_input,
):  # fmt: skip
    """Run the neurons of planes ``first`` to ``last``.

    Args:
        first, last: the planes.
        x: input [T or 1, P x M x I].
        v0: potentials to begin with, [P x M x I], or one number for all.
        s: spikes to write, [T, P x M x I]; or with k > 1 their average over k x k squares,
            [T, P x (H // k) x (W // k) x I].
        v: potentials to end with, [P x M x I].
        post: number of spikes to add up by channel, [T, P, I]; or empty.
        pre: sum of the averages by channel, likewise; or empty.
        steps: T.
        height: H.
        width: W.
        inner: I.
        k: side of the squares; 1 leaves the spikes as they are.
        tau, threshold, reset, hard, decay_input: of the neuron; where the reset is soft (not ``hard``),
            ``reset`` is 0, to which the potential leaks.

    Returns:
        Whether a potential is not a number; one that once was not stays so.
    """
    line = width * inner
    rows = min(max(k, TILE // (steps * line) // k * k), -(-height // k) * k)
    plane, pooled, columns = height * line, (height // k) * (width // k) * inner, width // k
    broken = False
    h, spikes = np.empty(rows * line, x.dtype), np.empty(rows * line, x.dtype)
    sums = np.empty(line, x.dtype)
    scale = x.dtype.type(k * k)
    for p in range(first, last):
        for row in range(0, height, rows):
            low = p * plane + row * line
            high = min(p * plane + min(row + rows, height) * line, x.shape[1])
            n = high - low
            potential = v[low:high]
            for i in range(n):
                potential[i] = v0[low + i] if v0.size > 1 else v0[0]
            whole = n // (k * line) * (k * line)
            to = p * pooled + row // k * columns * inner
            for t in range(steps):
                charge(x[t if x.shape[0] > 1 else 0, low:high], potential, h[:n], tau, reset, decay_input)
                out = s[t, low:high] if k == 1 else spikes[:n]
                fire(h[:n], potential, out, threshold, reset, hard)
                if post.size:
                    add_up(out, post[t, p], line, inner, sums)
                if k > 1:
                    averages = s[t, to : to + whole // (k * line) * columns * inner]
                    pool_rows(out[:whole], averages, width, inner, k, scale, sums)
                    if pre.size:
                        add_up(averages, pre[t, p], columns * inner, inner, sums)
            for i in range(n):
                broken |= potential[i] != potential[i]
    return broken


@compiled
def backward(  # type: ignore[no-untyped-def]
    first, last, x, v0, gs, gv, gx, gv0, steps, height, width, inner, k, tau, threshold, reset, hard,
    decay_input, detach_reset, kind, a, b,
):  # fmt: skip
    """Bring gradients from the spikes (or their averages) and the last potentials to the input.

    Args:
        first, last: the planes.
        x: input [T or 1, P x M x I].
        v0: potentials that the forward began with, or one number.
        gs: gradient of what the forward wrote to ``s``, [T or 1, ...]; or empty.
        gv: gradient of the last potentials [P x M x I]; or empty.
        gx: gradient of ``x`` to write, as ``x``: summed over time where x is the same at every step.
        gv0: gradient of the first potentials to write, [P x M x I].
        steps, height, width, inner, k: as in `forward`.
        tau, threshold, reset, hard, decay_input: of the neuron.
        detach_reset: whether no gradient passes through the reset.
        kind, a, b: the surrogate.
    """
    line = width * inner
    rows = min(max(k, TILE // (steps * line) // k * k), -(-height // k) * k)
    plane, pooled, columns = height * line, (height // k) * (width // k) * inner, width // k
    number = x.dtype.type
    h = np.empty((steps, rows * line), x.dtype)
    potential, slopes = np.empty(rows * line, x.dtype), np.empty(rows * line, x.dtype)
    spread, single = np.zeros(rows * line, x.dtype), np.empty(rows * line, x.dtype)
    for p in range(first, last):
        for row in range(0, height, rows):
            low = p * plane + row * line
            high = min(p * plane + min(row + rows, height) * line, x.shape[1])
            n = high - low
            for i in range(n):
                potential[i] = v0[low + i] if v0.size > 1 else v0[0]
            for t in range(steps):
                now = h[t, :n]
                charge(x[t if x.shape[0] > 1 else 0, low:high], potential[:n], now, tau, reset, decay_input)
                fire(now, potential[:n], slopes[:n], threshold, reset, hard)
            carry = gv0[low:high]
            for i in range(n):
                carry[i] = gv[low + i] if gv.size else number(0)
            to = p * pooled + row // k * columns * inner
            size = n // (k * line) * columns * inner
            if gx.shape[0] == 1:
                gx[0, low:high] = number(0)
            for t in range(steps - 1, -1, -1):
                g = spread[:n]
                if gs.size:
                    at = t if gs.shape[0] > 1 else 0
                    if k == 1:
                        g = gs[at, low:high]
                    else:
                        spread_rows(gs[at, to : to + size], g, width, inner, k, number(1) / number(k * k))
                slope(h[t, :n], slopes[:n], threshold, kind, a, b)
                once = gx.shape[0] < steps
                gradient = single[:n] if once else gx[t, low:high]
                back(
                    g, h[t, :n], slopes[:n], carry, gradient, tau, threshold, reset, decay_input, hard,
                    detach_reset,
                )  # fmt: skip
                if once:
                    total = gx[0, low:high]
                    for i in range(n):
                        total[i] += gradient[i]
