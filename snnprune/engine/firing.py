"""Neurons: currents become spikes, and events of spikes or of their pools, row by row."""
# ruff: noqa: PLR0917 - the arguments and branches of a kernel
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np

from snnprune.common.compiling import compiled
from snnprune.engine.lanes import LANES, at_least, differ, load, lowest, splat, store, where, word
from snnprune.engine.table import STRETCH, Model

IF, LIF, LIF_WHOLE_INPUT = int(Model.IF), int(Model.LIF), int(Model.LIF_WHOLE_INPUT)
PLIF, PLIF_WHOLE_INPUT = int(Model.PLIF), int(Model.PLIF_WHOLE_INPUT)
HETEROGENEOUS, ADAPTIVE, WHOLE = int(Model.HETEROGENEOUS), int(Model.ADAPTIVE), int(Model.WHOLE)

PLACES = 16
"""Binary places of currents and potentials in whole numbers."""

WORD = 64
"""Spikes that are looked at together."""


@compiled
def _charge_alike(op, w, x, b, currents, potentials, bits, first, last):
    """Charge and fire neurons that all have the same constants, rest at 0 and are reset to it."""
    zero = splat(w[op.rest])
    threshold, factor, leaks = splat(w[op.threshold]), splat(w[op.leak]), op.model != IF
    biased, fired = op.bias >= 0, 0
    for j in range(first, last):
        current, v = load(x, currents + j * LANES), load(x, potentials + j * LANES)
        if biased:
            current = current + load(w, op.bias + j * LANES)
        h = v + (current - v) * factor if leaks else v + current
        spikes = at_least(h, threshold)
        store(x, potentials + j * LANES, where(spikes, zero, h))
        store(x, currents + j * LANES, zero)
        b[bits + j] = spikes
        fired |= spikes
    return fired


@compiled
def _charge(op, w, x, b, currents, potentials, offset, bits, first, last):
    """Charge and fire any neurons of floats. ``offset`` is that of the row's constants that are states."""
    fired = 0
    zero = splat(w[op.rest] - w[op.rest])
    one = splat(x.dtype.type(1))
    for j in range(first, last):
        i = j * LANES
        x_, v = load(x, currents + i), load(x, potentials + i)
        if op.bias >= 0:
            x_ = x_ + load(w, op.bias + i)
        threshold, leak, rest = load(w, op.threshold + i), load(w, op.leak + i), load(w, op.rest + i)
        if op.model == ADAPTIVE:
            y, adapted = load(x, op.spiked + offset + i), load(x, op.adapted + offset + i)
            adapted = load(w, op.adaptation + i) * adapted + load(w, op.adaptation_share + i) * y
            threshold = threshold + splat(w[op.rise]) * adapted
            h = leak * v + load(w, op.share + i) * x_ - threshold * y
            spikes = at_least(h, threshold)
            store(x, op.adapted + offset + i, adapted)
            store(x, op.spiked + offset + i, where(spikes, one, zero))
            store(x, potentials + i, h)
        else:
            if op.model == IF:
                h = v + x_
            elif op.model == HETEROGENEOUS:
                h = leak * v + load(w, op.share + i) * x_
            elif op.model == LIF:
                h = v + (x_ - (v - rest)) / leak
            elif op.model == PLIF:
                h = v + (x_ - (v - rest)) * leak
            elif op.model == LIF_WHOLE_INPUT:
                h = v - (v - rest) / leak + x_
            else:
                h = v - (v - rest) * leak + x_
            spikes = at_least(h, threshold)
            store(x, potentials + i, where(spikes, rest if op.hard else h - threshold, h))
        if op.clear:
            store(x, currents + i, zero)
        b[bits + j] = spikes
        fired |= spikes
    return fired


@compiled
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
            if op.clear:
                x[currents + i] = 0
        b[bits + j] = spikes
        fired |= spikes
    return fired


@compiled
def _charge_row(op, w, x, b, n, y, currents, bits):
    """Charge and fire a row of neurons; return other than 0 if any fired."""
    vectors = op.to_width * op.padded // LANES
    offset = y * vectors * LANES
    potentials = op.potentials + offset
    if op.model == WHOLE:
        return _charge_whole(op, w, x, b, n, currents, potentials, bits, 0, vectors)
    if not op.can_rest:
        if op.uniform:
            return _charge_alike(op, w, x, b, currents, potentials, bits, 0, vectors)
        return _charge(op, w, x, b, currents, potentials, offset, bits, 0, vectors)
    fired, zero = 0, splat(w[op.rest])
    warm = op.warm + y * -(-vectors // STRETCH)
    for first in range(0, vectors, STRETCH):
        last = min(first + STRETCH, vectors)
        if not b[warm]:
            arrived = 0
            for j in range(first, last):
                arrived |= differ(load(x, currents + j * LANES), zero)
            if not arrived:
                b[bits + first : bits + last] = 0
                warm += 1
                continue
            b[warm] = 1
        warm += 1
        if op.uniform:
            fired |= _charge_alike(op, w, x, b, currents, potentials, bits, first, last)
        else:
            fired |= _charge(op, w, x, b, currents, potentials, offset, bits, first, last)
    return fired


@compiled
def _emit_row(op, x, e, b, y, bits, fired, at, addresses, values, starts):
    """List the spikes of a row, and return the new length of the list."""
    one = x.dtype.type(1)
    for column in range(op.to_width):
        pixel = y * op.to_width + column
        e[starts + pixel] = at
        if not fired:
            continue
        place = bits + column * (op.padded // LANES)
        for c in range(0, op.to_channels, WORD):
            spikes = word(b, place + c // LANES)
            if op.to_channels - c < WORD:
                spikes &= (1 << (op.to_channels - c)) - 1
            while spikes != 0:
                e[addresses + at] = pixel * op.to_channels + c + lowest(spikes)
                x[values + at] = one
                at += 1
                spikes &= spikes - 1
    return at


@compiled
def _emit_squares(op, w, x, e, b, down, upper, lower, at, addresses, values, starts):
    """List the averages or maxima of a row of windows of two by two pixels."""
    one, bytes_ = x.dtype.type(1), op.padded // LANES
    for column in range(op.pool_width):
        pixel = down * op.pool_width + column
        e[starts + pixel] = at
        divisor = w[op.divisors + pixel]
        for c in range(0, op.to_channels, WORD):
            place = 2 * column * bytes_ + c // LANES
            p, q = word(b, upper + place), word(b, upper + place + bytes_)
            r, s = word(b, lower + place), word(b, lower + place + bytes_)
            some = p | q | r | s
            if op.to_channels - c < WORD:
                some &= (1 << (op.to_channels - c)) - 1
            while some != 0:
                j = lowest(some)
                e[addresses + at] = pixel * op.to_channels + c + j
                if op.maximum:
                    x[values + at] = one
                else:
                    spikes = (p >> j & 1) + (q >> j & 1) + (r >> j & 1) + (s >> j & 1)
                    x[values + at] = x.dtype.type(spikes) / divisor
                at += 1
                some &= some - 1
    return at


@compiled
def _emit_windows(op, w, k, x, e, b, down, at, addresses, values, starts):
    """List the averages or maxima of a row of any windows."""
    one, bytes_, pitch = x.dtype.type(1), op.padded // LANES, _pitch(op)
    top, bottom = k[op.rows + 2 * down], k[op.rows + 2 * down + 1]
    for column in range(op.pool_width):
        pixel = down * op.pool_width + column
        e[starts + pixel] = at
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
    return at


@compiled
def _pitch(op):
    """Return the bytes from a row of spikes to the next, behind which a word may be read."""
    return op.to_width * (op.padded // LANES) + WORD // LANES


@compiled
def fire(op, step, w, k, x, e, b, n):
    """Compute a step of a layer of neurons, and of the pool behind it."""
    own, at, down = 0, 0, 0
    pitch = _pitch(op)
    pixels = op.pool_height * op.pool_width if op.pooled else op.to_height * op.to_width
    addresses, values = op.to_addresses + step * op.to_size, op.to_values + step * op.to_size
    starts = op.to_starts + step * (pixels + 1)
    own_addresses, own_values = op.own_addresses + step * op.own_size, op.own_values + step * op.own_size
    own_starts = op.own_starts + step * (op.to_height * op.to_width + 1)
    for y in range(op.to_height):
        bits = op.bits + y % op.ring * pitch
        currents = op.currents + step * op.currents_step + y * op.currents_pitch
        fired = _charge_row(op, w, x, b, n, y, currents, bits)
        b[op.fired + y % op.ring] = fired != 0
        if not op.pooled:
            if op.to_addresses >= 0:
                at = _emit_row(op, x, e, b, y, bits, fired, at, addresses, values, starts)
            continue
        if op.own_addresses >= 0:
            own = _emit_row(op, x, e, b, y, bits, fired, own, own_addresses, own_values, own_starts)
        while down < op.pool_height and k[op.rows + 2 * down + 1] == y + 1:
            some = False
            for z in range(k[op.rows + 2 * down], y + 1):
                some |= b[op.fired + z % op.ring] != 0
            if not some:
                e[starts + down * op.pool_width : starts + (down + 1) * op.pool_width] = at
            elif op.square:
                upper = op.bits + (y - 1) % op.ring * pitch
                at = _emit_squares(op, w, x, e, b, down, upper, bits, at, addresses, values, starts)
            else:
                at = _emit_windows(op, w, k, x, e, b, down, at, addresses, values, starts)
            down += 1
    if op.pooled or op.to_addresses >= 0:
        e[starts + pixels] = at
    if op.own_addresses >= 0:
        e[own_starts + op.to_height * op.to_width] = own
