"""The neuron over time as compiled loops: one tile of neurons at a time, through all steps, in cache.

An array of activity is ``[T, P, M, I]`` in storage order: time outermost, then P planes of M = H x W places
with I channels side by side (NCHW: P = B x C, I = 1; channels_last: P = B, I = C; no places: a plane per
sample or channel). An array whose first axis is 1 where another's is T is the same at every step.

Only the input is kept for the backward: the potentials of a tile are computed again, which costs less than
writing them to memory and reading them back. Every product and sum is rounded as in SpikingJelly's torch
operations, and none may be fused with another. So spikes are the same bit for bit. No sum crosses tiles, so
results do not depend on the number of threads.

A layer has little arithmetic for each number that it moves, so speed depends on how often a number is moved.
A step of a few rows is charged, fired and pooled while it is in the first-level cache. Meanwhile the same
rows of the next step, a whole array further on, are prefetched (`lanes.fetch`). A flag is tested once per
loop, not for each number: the compiler moves tests of constants out of a loop.
"""
# ruff: noqa: D417, PLR0917 - a kernel is given arrays and numbers one by one

from __future__ import annotations

import numpy as np

from snnprune.common.compiling import compiled
from snnprune.nn.fused.cpu_norm import flush, normalise, tally_norm
from snnprune.nn.fused.cpu_peak import pack, peaks, spread_peaks
from snnprune.nn.fused.lanes import LANES, add_lanes, copy_lanes, fetch, fetch_to_write
from snnprune.nn.fused.slopes import slope
from snnprune.nn.fused.surrogates import RECT

TILE = 1 << 16
"""Approximate number of potentials of a tile over all steps: 256 kB in float32, which fit into a second-level
cache together with the input."""

STRIP = 1 << 13
"""Largest number of potentials of a tile at one step."""

PIECE = 1 << 10
"""Approximate number of neurons that are computed at a time."""

LONG = 1 << 8
"""Neurons from which a row gets calls of its own, which add its spikes up for the pool directly."""


@compiled
def fire(x, v, s, lif, more):  # type: ignore[no-untyped-def]
    """Compute a step: charge V with X, spike and reset; write S, or add it to the output (``more``).

    H = V + (X - (V - rest)) / tau, or V - (V - rest) / tau + X unless the input decays
    S = [H >= threshold]; V = S reset + (1 - S) H, or H - S threshold
    """
    tau, threshold, reset, hard, decay_input = lif
    one, zero = x.dtype.type(1), x.dtype.type(0)
    for i in range(x.size):
        h = v[i] + (x[i] - (v[i] - reset)) / tau if decay_input else v[i] - (v[i] - reset) / tau + x[i]
        spike = one if h >= threshold else zero
        v[i] = spike * reset + (one - spike) * h if hard else h - spike * threshold
        s[i] = s[i] + spike if more else spike


@compiled
def recall(x, before, h, lif, first):  # type: ignore[no-untyped-def]
    """Compute H of a step again, as `fire` does, from H of the step ``before``, or from V if ``first``."""
    tau, threshold, reset, hard, decay_input = lif
    one, zero = x.dtype.type(1), x.dtype.type(0)
    for i in range(x.size):
        v = before[i]
        if not first:
            spike = one if v >= threshold else zero
            v = spike * reset + (one - spike) * v if hard else v - spike * threshold
        h[i] = v + (x[i] - (v - reset)) / tau if decay_input else v - (v - reset) / tau + x[i]


@compiled
def back(g, h, slopes, carry, gx, lif, detach_reset, rectangle, a):  # type: ignore[no-untyped-def]
    """One step of the chain rule: from the gradients of S[t] and V[t] to those of X[t] and V[t-1].

    dL/dH = dL/dS S' + dL/dV ((1 - S) + (reset - H) S')   hard; the second part of the bracket unless detached
    dL/dH = dL/dS S' + dL/dV (1 - threshold S')           soft

    S' is in ``slopes``. For a ``rectangle`` of height ``a`` it is computed here, without a pass of its own.
    """
    tau, threshold, reset, hard, decay_input = lif
    one, zero = h.dtype.type(1), h.dtype.type(0)
    leak = one / tau
    width = h.dtype.type(0.5) / a
    for i in range(h.size):
        steep = (a if abs(h[i] - threshold) < width else zero) if rectangle else slopes[i]
        kept = (zero if h[i] >= threshold else one) if hard else one
        if not detach_reset:
            kept += (reset - h[i]) * steep if hard else -threshold * steep
        gh = g[i] * steep + carry[i] * kept
        gx[i] = gh * leak if decay_input else gh
        carry[i] = gh - gh * leak


@compiled
def add(values, to):  # type: ignore[no-untyped-def]
    """Add the rows of ``values``, each as long as ``to``, to ``to``."""
    for start in range(0, values.size, to.size):
        row = values[start : start + to.size]
        for i in range(to.size):
            to[i] += row[i]


@compiled
def sum_rows(values, sums, line):  # type: ignore[no-untyped-def]
    """Write the sum over the rows of ``values`` to ``sums``."""
    if values.size == 2 * line:
        for i in range(line):
            sums[i] = values[i] + values[line + i]
    else:
        sums[:line] = values[:line]
        for start in range(line, values.size, line):
            for i in range(line):
                sums[i] += values[start + i]


@compiled
def average(sums, out, row, inner, k):  # type: ignore[no-untyped-def]
    """Average k x k squares into ``out``, from sums over k rows. ``row`` is a buffer.

    ``sums`` and ``row`` have `LANES` extra numbers at their end.
    """
    columns, scale = out.size // inner, out.dtype.type(k * k)
    if inner == 1 and k == 2:
        for j in range(columns):
            row[j] = sums[2 * j] + sums[2 * j + 1]
    else:
        for j in range(columns):
            for c in range(0, inner, LANES):
                to, of = j * inner + c, j * k * inner + c
                add_lanes(row, to, sums, of, sums, of + inner)
                for right in range(2, k):
                    add_lanes(row, to, row, to, sums, of + right * inner)
    for i in range(out.size):
        out[i] = row[i] / scale


@compiled
def spread(g, out, row, inner, k, line, copies):  # type: ignore[no-untyped-def]
    """Give each neuron of a k x k square its share of the square's gradient; neurons in no square get zero.

    Each row of squares in ``g`` becomes ``copies`` equal rows in ``out``. ``row`` is a buffer for one row of
    ``g``. ``out`` and ``row`` have `LANES` extra numbers at their end.
    """
    short = row.size - LANES
    columns, part = short // inner, g.dtype.type(1) / g.dtype.type(k * k)
    for number in range(g.size // short):
        come = g[number * short : (number + 1) * short]
        for i in range(short):
            row[i] = come[i] * part
        to = out[number * copies * line :]
        if inner == 1 and k == 2:
            for j in range(columns):
                to[2 * j] = row[j]
                to[2 * j + 1] = row[j]
        else:
            for j in range(columns):
                for right in range(k):
                    for c in range(0, inner, LANES):
                        copy_lanes(to, (j * k + right) * inner + c, row, j * inner + c)
        to[columns * k * inner : line] = 0
        for further in range(1, copies):
            to[further * line : (further + 1) * line] = to[:line]
    out[g.size // short * copies * line :] = 0


@compiled
def rows_of(values, height, line, k):  # type: ignore[no-untyped-def]
    """Return how many rows hold about ``values`` values: whole squares, and at most all rows."""
    return min(max(k, values // line // k * k), -(-height // k) * k)


@compiled
def cut(steps, height, line, k):  # type: ignore[no-untyped-def]
    """Return the neurons of a tile, those of a piece of it, and whether rows get calls of their own."""
    tile, long = rows_of(min(TILE // steps, STRIP), height, line, k) * line, k > 1 and line >= LONG
    return tile, k * line if long else rows_of(PIECE, height, line, k) * line, long


@compiled
def begin(v0, low, to):  # type: ignore[no-untyped-def]
    """Write the initial potentials: those from ``low`` on, or one number for all."""
    for i in range(to.size):
        to[i] = v0[low + i] if v0.size > 1 else v0[0]


@compiled
def ask_ahead(x, t, steps, low, n, start, size):  # type: ignore[no-untyped-def]
    """Prefetch the input of a piece at the next step, or after the last step that of the next tile."""
    if t + 1 < steps:
        fetch(x[t + 1 if x.shape[0] > 1 else 0], low + start, size)
    else:
        fetch(x[0], low + n + start, size)


@compiled
def count(values, inner, counts):  # type: ignore[no-untyped-def]
    """Add ``values`` [places x I] to ``counts`` [I]."""
    if inner == 1:
        lanes, whole = np.zeros(LANES, values.dtype), values.size // LANES * LANES
        for start in range(0, whole, LANES):
            add_lanes(lanes, 0, lanes, 0, values, start)
        for i in range(LANES):
            counts[0] += lanes[i]
        for i in range(whole, values.size):
            counts[0] += values[i]
        return
    whole = inner // LANES * LANES
    for start in range(0, values.size, inner):
        for c in range(0, whole, LANES):
            add_lanes(counts, c, counts, c, values, start + c)
        for c in range(whole, inner):
            counts[c] += values[start + c]


@compiled
def pool(spikes, sums, row, s, to, within, beyond, inner, k, long, counting):  # type: ignore[no-untyped-def]
    """Write the averages of a piece to ``s`` from ``to`` on, and count spikes if ``counting``.

    The spikes are in ``spikes``, or if ``long``, added up over k rows (or the rows that there are) in
    ``sums``. Spikes inside of squares are counted in ``within``, by channel, or by place if there is one
    channel, with `LANES` extra numbers. Spikes beyond the last square are counted in ``beyond``.
    """
    line, short, period = sums.size - LANES, row.size - LANES, within.size - LANES
    for top in range(0, spikes.size, k * line):
        whole = top + k * line <= spikes.size
        if not long:
            sum_rows(spikes[top : min(top + k * line, spikes.size)], sums, line)
        if whole:
            fetch_to_write(s, to + short, short)
            average(sums, s[to : to + short], row, inner, k)
            to += short
        if counting:
            count(sums[short * k if whole else 0 : line], inner, beyond)
            for start in range(0, short if whole else 0, period):
                for c in range(0, period, LANES):
                    add_lanes(within, c, within, c, row, start + c)


@compiled
def join(spikes, others, out, inner, joined):  # type: ignore[no-untyped-def]
    """Write the sum of ``spikes`` and ``others`` to ``out``; add it to ``joined`` [I], if that is there."""
    for i in range(out.size):
        out[i] = spikes[i] + others[i]
    if joined.size:
        count(out, inner, joined)


@compiled
def settle(within, beyond, joined, post, pre, p, k):  # type: ignore[no-untyped-def]
    """Write the counts of each step of plane ``p`` to ``post`` and ``pre``, and set the counters to zero."""
    steps, inner = beyond.shape
    counts, scale = np.empty(inner, beyond.dtype), beyond.dtype.type(k * k)
    for t in range(steps):
        counts[:] = 0
        count(within[t, :-LANES], inner, counts)
        for c in range(inner):
            post[t, p, c] = counts[c] + beyond[t, c]
            if k > 1:
                pre[t, p, c] = counts[c] / scale
            elif pre.size:
                pre[t, p, c] = joined[t, c]
    within[:] = 0
    beyond[:] = 0
    joined[:] = 0


@compiled
def currents_of(x, buffer, scale, shift):  # type: ignore[no-untyped-def]
    """Return ``x`` behind its norm, in ``buffer``, or ``x`` if there is none."""
    if not scale.size:
        return x
    out = buffer[: x.size]
    normalise(x, out, scale, shift)
    return out


@compiled
def fire_all(x, v, out, unit, lif):  # type: ignore[no-untyped-def]
    """Compute a step of a piece, ``unit`` neurons at a time; add up their spikes if ``out`` is too short."""
    for at in range(0, x.size, unit):
        till = min(at + unit, x.size)
        fire(x[at:till], v[at:till], out[: till - at], lif, at > 0)


@compiled
def hand_out(spikes, others, out, fired, inner, joined):  # type: ignore[no-untyped-def]
    """Keep spikes for the maxima of windows, or write them with what is added to them."""
    if fired.size:
        pack(spikes, fired)
    else:
        join(spikes, others, out, inner, joined)


@compiled
def all_peaks(fired, s, won, p, height, width, inner, window, joined):  # type: ignore[no-untyped-def]
    """Write the maxima of the windows of plane ``p`` at all steps; add them to ``joined`` if it is there."""
    size = window[3] * window[4] * inner
    for t in range(len(fired)):
        maxima = s[t, p * size : (p + 1) * size]
        peaks(fired[t], maxima, won[t, p * size : (p + 1) * size], height, width, inner, window)
        if joined.size:
            count(maxima, inner, joined[t])


@compiled
def forward(  # type: ignore[no-untyped-def]
    first, last, x, v0, s, v, post, pre, steps, height, width, inner, k, lif,
    scale, shift, others, won, window,
):  # fmt: skip
    """Run the neurons of planes ``first`` to ``last``.

    Args:
        first, last: the planes.
        x: input [T or 1, P x M x I].
        v0: initial potentials, [P x M x I], or one number for all.
        s: spikes to write, [T, P x M x I]; or with k > 1 their average over k x k squares,
            [T, P x (H // k) x (W // k) x I].
        v: final potentials to write, [P x M x I].
        post: number of spikes by channel to write, [T, P, I]; or empty.
        pre: sum of what is written to ``s`` by channel, likewise; empty if ``post`` is, or if those are the
            spikes.
        steps: T.
        height: H.
        width: W.
        inner: I.
        k: side of the squares; 1 leaves the spikes as they are.
        lif: tau, threshold, reset, hard and decay_input of the neuron; with a soft reset (not ``hard``),
            ``reset`` is 0, towards which the potential leaks.
        scale, shift: of a norm of the input, [G, I], see `snnprune.nn.fused.cpu_norm`; or empty, [1, 0].
        others: what is added to the spikes on the way out, [T or 1, P x M x I]; or empty. Not with pools.
        won: with a ``window``, where the maxima were found, to write, [T, ...] as ``s``; or empty.
        window: side, stride and padding of windows whose maxima are written; H' and W', how many there are.
            Side 0: no such pool.

    Returns:
        Whether a final potential is NaN; a potential that once was NaN stays NaN.
    """
    line, short = width * inner, width // k * inner
    most, joins = window[0] > 0, others.size > 0
    plane, pooled = height * line, height // k * short
    tile, piece, long = cut(steps, height, line, k)
    broken = False
    fired, currents = np.empty((steps, plane if most else 0), np.uint8), np.empty(piece, x.dtype)
    joined = np.zeros((steps, inner if pre.size and k == 1 else 0), x.dtype)
    within = np.zeros((steps, (inner if inner > 1 else short) + LANES), x.dtype)
    beyond = np.zeros((steps, inner), x.dtype)
    sums, row = np.zeros(line + LANES, x.dtype), np.zeros(short + LANES, x.dtype)
    spikes, unit = np.empty(piece, x.dtype), line if long else piece
    for p in range(first, last):
        neurons = min(plane, x.shape[1] - p * plane)  # the last plane may have room for more
        for place in range(0, neurons, tile):
            low, n = p * plane + place, min(tile, neurons - place)
            potential = v[low : low + n]
            begin(v0, low, potential)
            for t in range(steps):
                now = x[t if x.shape[0] > 1 else 0, low : low + n]
                for start in range(0, n, piece):
                    end = min(start + piece, n)
                    ask_ahead(x, t, steps, low, n, start, end - start)
                    given = currents_of(
                        now[start:end], currents, scale[p % len(scale)], shift[p % len(shift)]
                    )
                    out = sums if long else spikes[: end - start]
                    if k == 1 and not most and not joins:
                        out = s[t, low + start : low + end]
                    fire_all(given, potential[start:end], out, unit, lif)
                    if k > 1:
                        to = p * pooled + (place + start) // (k * line) * short
                        pool(
                            spikes[: end - start], sums, row, s[t], to, within[t], beyond[t], inner, k, long,
                            post.size > 0,
                        )  # fmt: skip
                    elif post.size:
                        count(out, inner, beyond[t])
                    if most or joins:
                        hand_out(
                            out, others[t if others.shape[0] > 1 else 0, low + start : low + end],
                            s[t, low + start : low + end], fired[t, place + start : place + end], inner,
                            joined[t],
                        )  # fmt: skip
            for i in range(n):
                broken |= potential[i] != potential[i]
        if most:
            all_peaks(fired, s, won, p, height, width, inner, window, joined)
        if post.size:
            settle(within, beyond, joined, post, pre, p, k)
    return broken


@compiled
def recall_tile(x, v0, h, low, n, piece, lif, scale, shift, currents):  # type: ignore[no-untyped-def]
    """Compute H of ``n`` neurons from ``low`` on at all steps again, [T, n or more].

    ``scale`` and ``shift`` are those of the plane. ``currents`` is a buffer for a piece.
    """
    steps = len(h)
    begin(v0, low, h[steps - 1, :n])  # row T - 1 is written after step 0 has read it
    for t in range(steps):
        now = x[t if x.shape[0] > 1 else 0, low : low + n]
        for start in range(0, n, piece):
            end = min(start + piece, n)
            ask_ahead(x, t, steps, low, n, start, end - start)
            given = currents_of(now[start:end], currents, scale, shift)
            recall(given, h[t - 1, start:end], h[t, start:end], lif, t == 0)


@compiled
def tally(gradient, x, over_time, totals, products, mean, once):  # type: ignore[no-untyped-def]
    """Add up a step's gradient of the input, for each array that is there.

    Over time if ``once``; by place in ``totals`` for a bias; for a norm by channel, also times x - mean.
    """
    if once:
        add(gradient, over_time)
    if mean.size:
        tally_norm(gradient, x, mean, totals, products)
    elif totals.size:
        add(gradient, totals)


@compiled
def tallies(line, inner, piece, biased, normed):  # type: ignore[no-untyped-def]
    """Return the lengths of ``totals`` and ``products`` of `tally`."""
    if normed:
        size = inner if inner > 1 else piece
        return size, size
    return line if biased else 0, 0


@compiled
def of_spikes(come, ahead, maxima, g, row, low, start, end, to, line, inner, k):  # type: ignore[no-untyped-def]
    """Return the gradients of a piece's spikes; if rows get calls of their own, those of each of k rows.

    ``come`` has those of the output at this step, ``ahead`` at the next one to come, ``maxima`` those of a
    tile behind a maximum pool. ``g`` and ``row`` are buffers; ``to`` is where the piece's averages begin.
    """
    if maxima.size:
        return maxima[start:end]
    if not come.size:
        return g
    if k == 1:
        fetch(ahead, low + start, end - start)
        return come[low + start : low + end]
    squares, short = (end - start) // (k * line), row.size - LANES
    fetch(ahead, to, squares * short)
    copies = 1 if line >= LONG else k
    spread(come[to : to + squares * short], g, row, inner, k, line, copies)
    return g


@compiled
def backward(  # type: ignore[no-untyped-def]
    first, last, x, v0, gs, gv, gx, gv0, gb, gp, steps, height, width, inner, k, lif, detach_reset,
    kind, a, b, scale, shift, mean, won, window,
):  # fmt: skip
    """Propagate gradients from the spikes (or their averages) and the last potentials to the input.

    Args:
        first, last: the planes.
        x: input [T or 1, P x M x I].
        v0: initial potentials of the forward, or one number.
        gs: gradient of the output ``s`` of the forward, [T or 1, ...]; or empty.
        gv: gradient of the last potentials [P x M x I]; or empty.
        gx: gradient of ``x`` to write, shaped as ``x``: summed over time if x is the same at every step. With
            a norm it is that of the normalised input, and must not be ``x`` itself.
        gv0: gradient of the first potentials to write, [P x M x I].
        gb: gradient of ``x`` to add up by plane and channel, over time and places, [P, I]; or empty.
        gp: with a norm, the same times x - mean.
        steps, height, width, inner, k, lif, scale, shift, won, window: as in `forward`.
        detach_reset: whether no gradient passes through the reset.
        kind, a, b: the surrogate.
        mean: of the norm, [G, I].
    """
    line, short = width * inner, width // k * inner
    most = window[0] > 0
    plane = height * line
    pooled = window[3] * window[4] * inner if most else height // k * short
    tile, piece, long = cut(steps, height, line, k)
    unit = line if long else piece
    h, once = np.empty((steps, tile), x.dtype), gx.shape[0] < steps
    slopes, single = np.empty(unit, x.dtype), np.empty(unit, x.dtype)
    buffer, row = np.zeros(piece + LANES, x.dtype), np.zeros(short + LANES, x.dtype)
    currents, maxima = np.empty(piece, x.dtype), np.zeros(tile if most else 0, x.dtype)
    sizes = tallies(line, inner, piece, gb.size > 0, gp.size > 0)
    totals, products = np.zeros(sizes[0], x.dtype), np.zeros(sizes[1], x.dtype)
    for p in range(first, last):
        neurons = min(plane, x.shape[1] - p * plane)  # the last plane may have room for more
        for place in range(0, neurons, tile):
            low, n = p * plane + place, min(tile, neurons - place)
            scales, shifts, means = scale[p % len(scale)], shift[p % len(scale)], mean[p % len(scale)]
            recall_tile(x, v0, h, low, n, piece, lif, scales, shifts, currents)
            carry = gv0[low : low + n]
            for i in range(n):
                carry[i] = gv[low + i] if gv.size else 0
            if once:
                gx[0, low : low + n] = 0
            for t in range(steps - 1, -1, -1):
                come, ahead = gs[t if gs.shape[0] > 1 else 0], gs[t - 1 if gs.shape[0] > 1 else 0]
                if most and gs.size:
                    spread_peaks(
                        come[p * pooled : (p + 1) * pooled], won[t, p * pooled : (p + 1) * pooled],
                        maxima[:n], place // line, (place + n) // line, width, inner, window,
                    )  # fmt: skip
                for start in range(0, n, piece):
                    end = min(start + piece, n)
                    to = p * pooled + (place + start) // (k * line) * short
                    g = of_spikes(come, ahead, maxima, buffer, row, low, start, end, to, line, inner, k)
                    for at in range(start, end, unit):
                        till = min(at + unit, end)
                        if kind != RECT:
                            slope(h[t, at:till], slopes[: till - at], lif[1], kind, a, b)
                        to_x = single[: till - at] if once else gx[t, low + at : low + till]
                        back(
                            g[: till - at], h[t, at:till], slopes[: till - at], carry[at:till], to_x, lif,
                            detach_reset, kind == RECT, a,
                        )  # fmt: skip
                        of_x = x[t if x.shape[0] > 1 else 0, low + at : low + till]
                        tally(to_x, of_x, gx[0, low + at : low + till], totals, products, means, once)
            if gb.size:
                flush(totals, gb[p])
            if gp.size:
                flush(products, gp[p])
