"""Neurons: currents become spikes, and events of spikes or of their pools, row by row.

Neurons of a channel that no current has reached since the sample began are all alike, whatever their bias and
constants: they have had the same sums. One row of pixels is computed for them, the common one. A stretch of
a row takes its states over when the first current arrives there.
"""
# ruff: noqa: PLR0917, PLR0912, C901 - the arguments and branches of a kernel
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np

from snnprune.engine.compiling import inlined, kernel
from snnprune.engine.lanes import LANES, at_least, differ, load, lowest, splat, store, where, word
from snnprune.engine.plan import PLACES
from snnprune.engine.table import STRETCH, Model

IF, LIF, LIF_WHOLE_INPUT = int(Model.IF), int(Model.LIF), int(Model.LIF_WHOLE_INPUT)
PLIF, PLIF_WHOLE_INPUT = int(Model.PLIF), int(Model.PLIF_WHOLE_INPUT)
HETEROGENEOUS, ADAPTIVE, WHOLE = int(Model.HETEROGENEOUS), int(Model.ADAPTIVE), int(Model.WHOLE)

WORD = 64
"""Spikes that are looked at together."""


@inlined
def _charge_uniform(op, w, x, b, currents, potentials, bits, first, last):
    """Charge and fire neurons that all have the same constants, rest at 0 and are reset to it."""
    zero = splat(w[op.rest])
    threshold, leak = splat(w[op.threshold]), splat(w[op.leak])
    model, bias, fired = op.model, op.bias, 0
    for j in range(first, last):
        i = j * LANES
        current, v = load(x, currents + i), load(x, potentials + i)
        if bias >= 0:
            current = current + load(w, bias + i)
        if model == LIF_WHOLE_INPUT:
            h = v - v / leak + current
        elif model == PLIF:
            h = v + (current - v) * leak
        elif model == LIF:
            h = v + (current - v) / leak
        elif model == PLIF_WHOLE_INPUT:
            h = v - v * leak + current
        else:
            h = v + current
        spikes = at_least(h, threshold)
        store(x, potentials + i, where(spikes, zero, h))
        store(x, currents + i, zero)
        b[np.uintp(bits + j)] = spikes
        fired |= spikes
    return fired


@kernel
def _charge_any(op, w, x, b, currents, potentials, bits, first, last):
    """Charge and fire any neurons of floats. Behind potentials are the other states of adaptive ones."""
    zero = splat(w[op.rest] - w[op.rest])
    one = splat(x.dtype.type(1))
    model, bias, hard, states, fired = op.model, op.bias, op.hard, op.states, 0
    for j in range(first, last):
        i = j * LANES
        current, v = load(x, currents + i), load(x, potentials + i)
        if bias >= 0:
            current = current + load(w, bias + i)
        threshold, leak, rest = load(w, op.threshold + i), load(w, op.leak + i), load(w, op.rest + i)
        if model == ADAPTIVE:
            adapted, y = load(x, potentials + states + i), load(x, potentials + 2 * states + i)
            adapted = load(w, op.adaptation + i) * adapted + load(w, op.adaptation_share + i) * y
            threshold = threshold + splat(w[op.rise]) * adapted
            h = leak * v + load(w, op.share + i) * current - threshold * y
            spikes = at_least(h, threshold)
            store(x, potentials + states + i, adapted)
            store(x, potentials + 2 * states + i, where(spikes, one, zero))
            store(x, potentials + i, h)
        else:
            if model == IF:
                h = v + current
            elif model == HETEROGENEOUS:
                h = leak * v + load(w, op.share + i) * current
            elif model == LIF:
                h = v + (current - (v - rest)) / leak
            elif model == PLIF:
                h = v + (current - (v - rest)) * leak
            elif model == LIF_WHOLE_INPUT:
                h = v - (v - rest) / leak + current
            else:
                h = v - (v - rest) * leak + current
            spikes = at_least(h, threshold)
            store(x, potentials + i, where(spikes, rest if hard else h - threshold, h))
        store(x, currents + i, zero)
        b[bits + j] = spikes
        fired |= spikes
    return fired


@kernel
def _charge_whole(op, w, x, b, n, currents, potentials, bits, first, last):
    """Charge and fire neurons in whole numbers; ``w`` and ``x`` hold whole numbers."""
    fired = 0
    for j in range(first, last):
        spikes = 0
        for lane in range(LANES):
            i = j * LANES + lane
            current = x[currents + i]
            if op.bias >= 0:
                current += w[op.bias + i]
            rest = np.int64(w[op.rest + i]) << PLACES
            threshold = np.int64(w[op.threshold + i]) << PLACES
            leak = np.int64(w[op.leak + i])
            above = n[potentials + i] - rest
            low = above & ((1 << op.places) - 1)
            h = rest + leak * (above >> op.places) + (leak * low >> op.places) + np.int64(np.rint(current))
            if h >= threshold:
                spikes |= 1 << lane
                h = rest if op.hard else h - threshold
            n[potentials + i] = h
            x[currents + i] = 0
        b[bits + j] = spikes
        fired |= spikes
    return fired


@inlined
def _charge(op, w, x, b, n, currents, potentials, bits, first, last):
    """Charge and fire vectors ``first`` to ``last`` of a row; return other than 0 if any fired."""
    if op.uniform:
        return _charge_uniform(op, w, x, b, currents, potentials, bits, first, last)
    if op.model == WHOLE:
        return _charge_whole(op, w, x, b, n, currents, potentials, bits, first, last)
    return _charge_any(op, w, x, b, currents, potentials, bits, first, last)


@kernel
def _take_over(states, size, of, to, first, last, kept):
    """Copy the states of a stretch of a row; adaptive neurons have three, ``size`` apart."""
    for state in range(kept):
        for i in range(first * LANES + state * size, last * LANES + state * size):
            states[to + i] = states[of + i]


@kernel
def _charge_common(op, w, x, b, n):
    """Compute a step of the common row; tell whether any fired."""
    vectors = op.to_width * op.padded // LANES
    row, kept = vectors * LANES, 3 if op.model == ADAPTIVE else 1
    if op.model == WHOLE:
        _take_over(n, op.states, op.common, op.common + row, 0, vectors, kept)
    else:
        _take_over(x, op.states, op.common, op.common + row, 0, vectors, kept)
    return _charge(op, w, x, b, n, op.nothing, op.common, op.common_bits, 0, vectors)


@inlined
def _charge_row(op, w, x, b, n, y, currents, bits, common):
    """Charge and fire a row of neurons; return other than 0 if any fired, as ``common`` says of others."""
    vectors = op.to_width * op.padded // LANES
    row, kept = vectors * LANES, 3 if op.model == ADAPTIVE else 1
    potentials = op.potentials + y * row
    alike, common_bits, warm = op.alike, op.common_bits, op.warm + y * -(-vectors // STRETCH)
    fired, zero = 0, splat(w[op.rest] - w[op.rest])
    for first in range(0, vectors, STRETCH):
        last = min(first + STRETCH, vectors)
        if alike and not b[warm]:
            arrived = 0
            for j in range(first, last):
                arrived |= differ(load(x, currents + j * LANES), zero)
            if not arrived:
                for j in range(first, last):
                    b[np.uintp(bits + j)] = b[np.uintp(common_bits + j)]
                fired |= common
                warm += 1
                continue
            b[warm] = 1
            n[op.reached] += 1
            if op.model == WHOLE:
                _take_over(n, op.states, op.common + row, potentials, first, last, kept)
            else:
                _take_over(x, op.states, op.common + row, potentials, first, last, kept)
        warm += 1
        fired |= _charge(op, w, x, b, n, currents, potentials, bits, first, last)
    return fired


@kernel
def _emit_row(op, x, e, b, y, bits, at, addresses, values, starts):
    """List the spikes of a row, and return the new length of the list."""
    one, channels, bytes_ = x.dtype.type(1), op.to_channels, op.padded // LANES
    visited = np.int64(e[starts])
    for column in range(op.to_width):
        pixel, before = y * op.to_width + column, at
        for c in range(0, channels, WORD):
            spikes = word(b, bits + column * bytes_ + c // LANES)
            if channels - c < WORD:
                spikes &= (1 << (channels - c)) - 1
            address = pixel * channels + c
            while spikes != 0:
                e[np.uintp(addresses + at)] = address + lowest(spikes)
                x[np.uintp(values + at)] = one
                at += 1
                spikes &= spikes - 1
        visited = _enter(e, starts, visited, pixel, before, at)
    e[starts] = visited
    return at


@inlined
def _enter(e, starts, visited, pixel, before, at):
    """Enter a pixel with its first place in a list, and return how many have places up to ``at``."""
    e[starts + 2 * visited + 1] = pixel
    e[starts + 2 * visited + 2] = before
    return visited + (at != before)


@inlined
def _emit_squares(op, w, x, e, b, down, upper, lower, at, addresses, values, starts):
    """List the averages or maxima of a row of windows of two by two pixels."""
    channels, bytes_, width = op.to_channels, op.padded // LANES, op.pool_width
    shares, divisors, maximum = op.shares, op.divisors, op.maximum
    one, visited = x.dtype.type(1), np.int64(e[starts])
    for column in range(width):
        pixel, before = down * width + column, at
        for c in range(0, channels, WORD):
            place = 2 * column * bytes_ + c // LANES
            p, q = word(b, upper + place), word(b, upper + place + bytes_)
            r, s = word(b, lower + place), word(b, lower + place + bytes_)
            some = p | q | r | s
            if channels - c < WORD:
                some &= (1 << (channels - c)) - 1
            address = pixel * channels + c
            ones, twos, fours = p ^ q ^ r ^ s, p & q ^ r & s ^ (p ^ q) & (r ^ s), p & q & r & s
            while some != 0:
                j = lowest(some)
                some &= some - 1
                e[np.uintp(addresses + at)] = address + j
                spikes = (ones >> j & 1) + 2 * (twos >> j & 1) + 4 * (fours >> j & 1)
                if shares >= 0:
                    x[np.uintp(values + at)] = w[np.uintp(shares + spikes)]
                elif maximum:
                    x[np.uintp(values + at)] = one
                else:
                    x[np.uintp(values + at)] = x.dtype.type(spikes) / w[divisors + pixel]
                at += 1
        visited = _enter(e, starts, visited, pixel, before, at)
    e[starts] = visited
    return at


@kernel
def _emit_windows(op, w, k, x, e, b, down, at, addresses, values, starts):
    """List the averages or maxima of a row of any windows."""
    one, bytes_, pitch = x.dtype.type(1), op.padded // LANES, _pitch(op)
    top, bottom, visited = k[op.rows + 2 * down], k[op.rows + 2 * down + 1], np.int64(e[starts])
    for column in range(op.pool_width):
        pixel, before = down * op.pool_width + column, at
        left, right = k[op.columns + 2 * column], k[op.columns + 2 * column + 1]
        divisor = w[op.divisors + pixel]
        for c in range(0, op.to_channels, WORD):
            some = 0
            for y in range(top, bottom):
                for z in range(left, right):
                    some |= word(b, op.bits + y % op.ring * pitch + z * bytes_ + c // LANES)
            if op.to_channels - c < WORD:
                some &= (1 << (op.to_channels - c)) - 1
            while some != 0:
                j = lowest(some)
                spikes = 0
                for y in range(top, bottom):
                    for z in range(left, right):
                        spikes += word(b, op.bits + y % op.ring * pitch + z * bytes_ + c // LANES) >> j & 1
                e[addresses + at] = pixel * op.to_channels + c + j
                x[values + at] = one if op.maximum else x.dtype.type(spikes) / divisor
                at += 1
                some &= some - 1
        visited = _enter(e, starts, visited, pixel, before, at)
    e[starts] = visited
    return at


@kernel
def _pitch(op):
    """Return the bytes from a row of spikes to the next, behind which a word may be read."""
    return op.to_width * (op.padded // LANES) + WORD // LANES


@kernel
def _end(e, starts, pixels, at):
    """End a list."""
    visited = e[starts]
    e[starts + 2 * visited + 1] = pixels
    e[starts + 2 * visited + 2] = at


@kernel
def fire(op, step, w, k, x, e, b, n):
    """Compute a step of a layer of neurons, and of the pool behind it."""
    own, at, down, pitch = 0, 0, 0, _pitch(op)
    addresses, values = op.to_addresses + step * op.to_size, op.to_values + step * op.to_size
    starts = op.to_starts + step * op.to_starts_step
    own_addresses, own_values = op.own_addresses + step * op.own_size, op.own_values + step * op.own_size
    own_starts = op.own_starts + step * op.own_starts_step
    listed, own_listed, pooled = op.to_addresses >= 0, op.own_addresses >= 0, op.pooled
    common = 0
    if op.alike and n[op.reached] < op.to_height * -(-op.to_width * op.padded // (LANES * STRETCH)):
        common = _charge_common(op, w, x, b, n)
    if listed:
        e[starts] = 0
    if own_listed:
        e[own_starts] = 0
    for y in range(op.to_height):
        bits = op.bits + y % op.ring * pitch
        currents = op.currents + step * op.currents_step + y * op.currents_pitch
        fired = _charge_row(op, w, x, b, n, y, currents, bits, common)
        b[op.fired + y % op.ring] = fired != 0
        if not pooled:
            if listed and fired:
                at = _emit_row(op, x, e, b, y, bits, at, addresses, values, starts)
            continue
        if own_listed and fired:
            own = _emit_row(op, x, e, b, y, bits, own, own_addresses, own_values, own_starts)
        while down < op.pool_height and k[op.rows + 2 * down + 1] == y + 1:
            some = False
            for z in range(k[op.rows + 2 * down], y + 1):
                some |= b[op.fired + z % op.ring] != 0
            if some and op.square:
                upper = op.bits + (y - 1) % op.ring * pitch
                at = _emit_squares(op, w, x, e, b, down, upper, bits, at, addresses, values, starts)
            elif some:
                at = _emit_windows(op, w, k, x, e, b, down, at, addresses, values, starts)
            down += 1
    if listed:
        _end(e, starts, op.pool_height * op.pool_width if pooled else op.to_height * op.to_width, at)
    if own_listed:
        _end(e, own_starts, op.to_height * op.to_width, own)


@kernel
def settle(op, w, x, b, n):
    """Bring a layer of neurons to rest: the common row, where there is one, or else all rows."""
    row = op.to_width * op.padded
    begin, rows = (op.common, 1) if op.alike else (op.potentials, op.to_height)
    for y in range(rows):
        for i in range(row):
            if op.model == WHOLE:
                n[begin + y * row + i] = np.int64(w[op.rest + i]) << PLACES
            else:
                x[begin + y * row + i] = w[op.rest + i]
        if op.model == ADAPTIVE:
            for i in range(begin + y * row, begin + (y + 1) * row):
                x[i + op.states] = 0
                x[i + 2 * op.states] = 0
    if op.alike:
        b[op.warm : op.warm + op.to_height * -(-row // (LANES * STRETCH))] = 0
        n[op.reached] = 0
