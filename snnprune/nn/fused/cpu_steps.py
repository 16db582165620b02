"""One time step of neurons as compiled loops, for layers that compute something between two steps.

All arrays are flat, a number for each neuron of each sample. Every product and sum is rounded as in the
torch operations of the plain neurons, so that spikes are the same bit for bit. Loops are short where there
are many arrays: the compiler makes vectors of a loop only if it can tell at little cost that its arrays are
apart.

``x`` is the input from outside, and ``fed`` the one that the neurons' own spikes have caused; ``x`` is empty
if ``fed`` holds both. In a backward likewise ``gs`` and ``fed`` are gradients of the spikes: from the layers
behind, and by way of the synapses among the neurons. ``fed`` is written over.
"""
# ruff: noqa: D417, PLR0917 - a kernel is given arrays and numbers one by one

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


# --- LIF neurons with one time constant


@compiled
def lif_step(first, last, x, fed, v0, before, h, s, lif):  # type: ignore[no-untyped-def]
    """Compute a step of numbers ``first`` to ``last``.

    Args:
        v0: potentials before the step, or one number for all; or empty if ``before`` tells.
        before: H of the step before.
        h: H to write.
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
def lif_settle(first, last, h, v, lif):  # type: ignore[no-untyped-def]
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
def lif_back(  # type: ignore[no-untyped-def]
    first, last, gs, fed, h, slopes, carry, gx, lif, detach_reset, kind, a, b,
):  # fmt: skip
    """Propagate the gradients of a step from its spikes and its V to its input and the V before it.

    Args:
        h: H of the step.
        slopes: buffer.
        carry: gradient of V after the step; that of V before it is written over it.
        gx: gradient of the input to write.
        lif: as in `lif_step`.
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
        back(g, potential, steep, carry[start:end], gx[start:end], lif, detach_reset, kind == RECT, a)


# --- LIF neurons with a decay each (`snnprune.nn.models.heterogeneous`)


@compiled
def own_step(  # type: ignore[no-untyped-def]
    first, last, x, fed, v0, before, h, current, s, leak, gain, threshold, reset,
):  # fmt: skip
    """Compute a step of samples ``first`` to ``last``: H = leak V + gain I; S = [H >= threshold]; hard reset.

    Args:
        v0, before, h, s: as in `lif_step`.
        current: I to write; it may be ``fed``.
        leak, gain: of a sample's neurons.
    """
    one, zero = h.dtype.type(1), h.dtype.type(0)
    size = leak.size
    for low in range(first * size, last * size, size):
        now, potential, fired = current[low : low + size], h[low : low + size], s[low : low + size]
        come, given, then = fed[low : low + size], x[low : low + size], before[low : low + size]
        for i in range(size):
            now[i] = given[i] + come[i] if x.size else come[i]
        if v0.size:
            begin(v0, low, potential)
        else:
            for i in range(size):
                earlier = one if then[i] >= threshold else zero
                potential[i] = (one - earlier) * then[i] + earlier * reset
        for i in range(size):
            potential[i] = leak[i] * potential[i] + gain[i] * now[i]
        spike(potential, fired, threshold)


@compiled
def own_back(  # type: ignore[no-untyped-def]
    first, last, gs, fed, v0, before, h, current, slopes, carry, gx, ga, leak, gain, threshold, reset,
    detach_reset, kind, a, b,
):  # fmt: skip
    """Propagate the gradients of a step, as `lif_back` does, and add up those of the decays.

    Args:
        v0, before, h, current, leak, gain: as in `own_step`; ``current`` is empty if decays are not trained.
        slopes, carry, gx, detach_reset, kind, a, b: as in `lif_back`.
        ga: gradients of each sample's decays, to be added to: dL/dH (V - I).
    """
    one, zero = h.dtype.type(1), h.dtype.type(0)
    size = leak.size
    for low in range(first * size, last * size, size):
        potential, then, now = h[low : low + size], before[low : low + size], current[low : low + size]
        come, given, steep = fed[low : low + size], gs[low : low + size], slopes[low : low + size]
        kept, to, sums = carry[low : low + size], gx[low : low + size], ga[low : low + size]
        if gs.size:
            add(given, come)
        slope(potential, steep, threshold, kind, a, b)
        for i in range(size):
            stays = zero if potential[i] >= threshold else one
            if not detach_reset:
                stays += (reset - potential[i]) * steep[i]
            steep[i] = come[i] * steep[i] + kept[i] * stays
        for i in range(size):
            to[i] = steep[i] * gain[i]
        for i in range(size):
            kept[i] = steep[i] * leak[i]
        if current.size:
            for i in range(size):
                if v0.size:
                    v = v0[low + i] if v0.size > 1 else v0[0]
                else:
                    v = reset if then[i] >= threshold else then[i]
                sums[i] += steep[i] * (v - now[i])


# --- LIF neurons with an adaptive threshold (`snnprune.nn.models.adaptive`)


@compiled
def adaptive_step(  # type: ignore[no-untyped-def]
    first, last, x, fed, v0, b0, y, v, b, current, s, leak, gain, slow, rise, base, beta,
):  # fmt: skip
    """Compute a step of samples ``first`` to ``last``.

    B = slow B + rise Y; threshold = base + beta B; V = leak V + gain I - threshold Y; S = [V >= threshold]

    Args:
        v0, b0, y: potentials, adaptations and spikes before the step.
        v, b, s: those after it, to write.
        current: I to write; it may be ``fed``.
        leak, gain, slow, rise: of a sample's neurons.
        base, beta: of the threshold.
    """
    one, zero = v.dtype.type(1), v.dtype.type(0)
    size = leak.size
    for low in range(first * size, last * size, size):
        now, come, given = current[low : low + size], fed[low : low + size], x[low : low + size]
        v1, b1, y1 = v0[low : low + size], b0[low : low + size], y[low : low + size]
        v2, b2, y2 = v[low : low + size], b[low : low + size], s[low : low + size]
        for i in range(size):
            now[i] = given[i] + come[i] if x.size else come[i]
        for i in range(size):
            b2[i] = slow[i] * b1[i] + rise[i] * y1[i]
        for i in range(size):
            v2[i] = leak[i] * v1[i] + gain[i] * now[i]
        for i in range(size):
            v2[i] -= (base + beta * b2[i]) * y1[i]
        for i in range(size):
            y2[i] = one if v2[i] - (base + beta * b2[i]) >= zero else zero


@compiled
def adaptive_back(  # type: ignore[no-untyped-def]  # noqa: C901, PLR0912 - short loops
    first, last, gs, fed, v0, b0, y, v, b, current, slopes, gv, gb, gy, gx, ga, gr, leak, gain, slow, rise,
    base, beta, detach_reset, kind, one_a, one_b,
):  # fmt: skip
    """Propagate the gradients of a step to those of its input and of the states before it.

    Args:
        v0, b0, y, v, b, leak, gain, slow, rise, base, beta: as in `adaptive_step`.
        current: I, empty if decays are not trained.
        slopes: buffer.
        gv, gb, gy: gradients of the states after the step, of the spikes by way of the neurons themselves;
            those of the states before it are written over them.
        gx: gradient of the input to write.
        ga, gr: gradients of each sample's decays of V and B, to be added to.
        detach_reset: whether no gradient passes through the Y of the reset.
        kind, one_a, one_b: the surrogate.
    """
    zero = v.dtype.type(0)
    size = leak.size
    for low in range(first * size, last * size, size):
        come, steep, to = fed[low : low + size], slopes[low : low + size], gx[low : low + size]
        v1, b1, y1 = v0[low : low + size], b0[low : low + size], y[low : low + size]
        v2, b2, now = v[low : low + size], b[low : low + size], current[low : low + size]
        of_v, of_b, of_y = gv[low : low + size], gb[low : low + size], gy[low : low + size]
        of_a, of_r = ga[low : low + size], gr[low : low + size]
        if gs.size:
            add(gs[low : low + size], come)
        for i in range(size):
            to[i] = v2[i] - (base + beta * b2[i])
        slope(to, steep, zero, kind, one_a, one_b)
        for i in range(size):
            steep[i] *= come[i] + of_y[i]
        for i in range(size):
            of_v[i] += steep[i]
        for i in range(size):
            of_b[i] -= beta * (steep[i] + of_v[i] * y1[i])
        if current.size:
            for i in range(size):
                of_a[i] += of_v[i] * (v1[i] - now[i])
            for i in range(size):
                of_r[i] += of_b[i] * (b1[i] - y1[i])
        for i in range(size):
            of_y[i] = of_b[i] * rise[i]
        if not detach_reset:
            for i in range(size):
                of_y[i] -= (base + beta * b2[i]) * of_v[i]
        for i in range(size):
            to[i] = of_v[i] * gain[i]
        for i in range(size):
            of_v[i] *= leak[i]
        for i in range(size):
            of_b[i] *= slow[i]


@compiled
def adaptive_spike(v, b, s, base, beta):  # type: ignore[no-untyped-def]
    """Write the spikes that `adaptive_step` has written, from V and B after the step."""
    one, zero = v.dtype.type(1), v.dtype.type(0)
    for i in range(v.size):
        s[i] = one if v[i] - (base + beta * b[i]) >= zero else zero


# --- units that never spike (`snnprune.nn.models.integrator`)


@compiled
def integrate(first, last, x, v0, v, leak, gain):  # type: ignore[no-untyped-def]
    """Write V = leak V + gain X of all steps [T, N] for numbers ``first`` to ``last``."""
    for start in range(first, last, PIECE):
        end = min(start + PIECE, last)
        for t in range(len(x)):
            given, to = x[t, start:end], v[t, start:end]
            before = v[t - 1, start:end] if t > 0 else v0[start:end]
            for i in range(end - start):
                to[i] = leak * before[i] + gain * given[i]


@compiled
def integrate_back(first, last, g, carry, gx, leak, gain):  # type: ignore[no-untyped-def]
    """Write the gradient of X from that of V, both [T, N]; ``carry`` gets that of the first V."""
    for start in range(first, last, PIECE):
        end = min(start + PIECE, last)
        kept = carry[start:end]
        for t in range(len(gx) - 1, -1, -1):
            come, to = g[t if len(g) > 1 else 0, start:end], gx[t, start:end]
            for i in range(end - start):
                total = come[i] + kept[i]
                to[i] = gain * total
                kept[i] = leak * total
