"""One time step of LIF neurons as compiled loops, for layers that compute something between two steps.

All arrays are flat, a number for each neuron. The arithmetic is that of `snnprune.nn.fused.cpu`, by its own
loops.
"""
# ruff: noqa: PLR0917 - a kernel is given arrays and numbers one by one

from __future__ import annotations

from snnprune.common.compiling import compiled
from snnprune.nn.fused.cpu import PIECE, add, back, begin, recall
from snnprune.nn.fused.slopes import slope
from snnprune.nn.fused.surrogates import RECT


@compiled
def spike(h, s, threshold):  # type: ignore[no-untyped-def]
    """Write S = [H >= threshold]."""
    one, zero = h.dtype.type(1), h.dtype.type(0)
    for i in range(h.size):
        s[i] = one if h[i] >= threshold else zero


@compiled
def step(first, last, x, fed, v0, before, h, s, lif):  # type: ignore[no-untyped-def]
    """Compute a step of neurons ``first`` to ``last``.

    Args:
        first, last: the neurons.
        x: input; or empty if ``fed`` holds all of it.
        fed: input that the neurons' own spikes have caused. It is written over.
        v0: potentials before the step, or one number for all; or empty if ``before`` tells.
        before: H of the step before.
        h: H to write; it may be ``before``.
        s: spikes to write.
        lif: tau, threshold, reset, hard and decay_input, as in `snnprune.nn.fused.cpu.forward`.
    """
    for start in range(first, last, PIECE):
        end = min(start + PIECE, last)
        current, potential = fed[start:end], h[start:end]
        if x.size:
            add(x[start:end], current)
        if v0.size:
            begin(v0, start, potential)
            recall(current, potential, potential, lif, True)
        else:
            recall(current, before[start:end], potential, lif, False)
        spike(potential, s[start:end], lif[1])


@compiled
def settle(first, last, h, v, lif):  # type: ignore[no-untyped-def]
    """Write V after a step from its H, as `snnprune.nn.fused.cpu.fire` does. Return whether one is NaN."""
    _, threshold, reset, hard, _ = lif
    one, zero = h.dtype.type(1), h.dtype.type(0)
    broken = False
    for i in range(first, last):
        fired = one if h[i] >= threshold else zero
        v[i] = fired * reset + (one - fired) * h[i] if hard else h[i] - fired * threshold
        broken |= v[i] != v[i]
    return broken


@compiled
def step_back(  # type: ignore[no-untyped-def]
    first, last, gs, fed, h, slopes, carry, gx, lif, detach_reset, kind, a, b,
):  # fmt: skip
    """Propagate the gradients of a step from its spikes and its V to its input and the V before it.

    Args:
        first, last: the neurons.
        gs: gradient of the spikes that the layers behind have; or empty if ``fed`` holds all of it.
        fed: gradient of the spikes by way of the step after this one. It is written over.
        h: H of the step.
        slopes: buffer.
        carry: gradient of V after the step; that of V before it is written over it.
        gx: gradient of the input to write.
        lif: as in `step`.
        detach_reset: whether no gradient passes through the reset.
        kind, a, b: the surrogate.
    """
    for start in range(first, last, PIECE):
        end = min(start + PIECE, last)
        g, potential, steep = fed[start:end], h[start:end], slopes[start:end]
        if gs.size:
            add(gs[start:end], g)
        if kind != RECT:
            slope(potential, steep, lif[1], kind, a, b)
        back(
            g, potential, steep, carry[start:end], gx[start:end], lif, detach_reset, kind == RECT, a,
        )  # fmt: skip
