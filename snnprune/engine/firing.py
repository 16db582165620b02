"""Neurons: currents become spikes, and events of spikes or of their pools, row by row.

Neurons of a channel that no current has reached since the sample began are all alike, whatever their bias and
constants: they have had the same sums. One pixel is computed for them. A stretch of a row takes its states
over when the first current arrives there.
"""
# ruff: noqa: PLR0917 - the arguments of a kernel
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np

from snnprune.engine.compiling import inlined, kernel
from snnprune.engine.division import divided
from snnprune.engine.lanes import (
    LANES,
    at_least,
    count,
    differ,
    lane_of,
    lanes_of,
    load,
    load_like,
    lowest,
    mark,
    marked,
    press,
    press_places,
    splat,
    splat_broad,
    store,
    where,
    word,
)  # fmt: skip
from snnprune.engine.moving import lines
from snnprune.engine.plan import PLACES
from snnprune.engine.pointers import clear, like
from snnprune.engine.table import STRETCH, Model

IF, LIF, LIF_WHOLE_INPUT = int(Model.IF), int(Model.LIF), int(Model.LIF_WHOLE_INPUT)
PLIF, PLIF_WHOLE_INPUT = int(Model.PLIF), int(Model.PLIF_WHOLE_INPUT)
HETEROGENEOUS, ADAPTIVE, WHOLE = int(Model.HETEROGENEOUS), int(Model.ADAPTIVE), int(Model.WHOLE)

WORD = 64
"""Spikes that are looked at together."""


@inlined
def _charge_uniform(op, steps, apart, w, x, b, currents, potentials, bits, first, last):
    """Charge and fire neurons that all have the same constants, rest at 0 and are reset to it."""
    rest, threshold, leak = w[op.rest], w[op.threshold], w[op.leak]
    inverse = w[op.inverse] if op.inverse >= 0 else leak
    how = op.model, op.bias, op.inverse >= 0, steps, apart, op.ring * _pitch(op)
    constants = splat_broad(rest), splat_broad(threshold), splat_broad(leak), splat_broad(inverse)
    broad = last - (last - first) % (lanes_of(constants[0]) // LANES)
    _charge_vectors(how, constants, w, x, b, currents, potentials, bits, first, broad)
    constants = splat(rest), splat(threshold), splat(leak), splat(inverse)
    _charge_vectors(how, constants, w, x, b, currents, potentials, bits, broad, last)


@inlined
def _charge_vectors(how, constants, w, x, b, currents, potentials, bits, first, last):
    """Do so for vectors of a width: potentials stay in a register for all steps."""
    model, bias, multiplies, steps, apart, bits_apart = how
    zero, threshold, leak, inverse = constants
    for j in range(first, last, lanes_of(zero) // LANES):
        i = j * LANES
        at, to = currents + i, bits + j
        v, shift = load_like(x, potentials + i, zero), zero
        if bias >= 0:
            shift = load_like(w, bias + i, zero)
        for _ in range(steps):
            current = load_like(x, at, zero)
            if bias >= 0:
                current = current + shift
            if model == LIF_WHOLE_INPUT:
                h = v - (divided(v, leak, inverse) if multiplies else v / leak) + current
            elif model == PLIF:
                h = v + (current - v) * leak
            elif model == LIF:
                change = current - v
                h = v + (divided(change, leak, inverse) if multiplies else change / leak)
            elif model == PLIF_WHOLE_INPUT:
                h = v - v * leak + current
            else:
                h = v + current
            spikes = at_least(h, threshold)
            v = where(spikes, zero, h)
            store(x, at, zero)
            mark(b, to, spikes, zero)
            at, to = at + apart, to + bits_apart
        store(x, potentials + i, v)


@kernel
def _charge_any(op, w, x, b, currents, potentials, bits, first, last):
    """Charge and fire any neurons of floats. Behind potentials are the other states of adaptive ones."""
    zero = splat(w[op.rest] - w[op.rest])
    one = splat(like(x, 1))
    model, bias, hard, states = op.model, op.bias, op.hard, op.states
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


@kernel
def _charge_whole(op, w, x, b, n, currents, potentials, bits, first, last):
    """Charge and fire neurons in whole numbers; ``w`` and ``x`` hold whole numbers."""
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


@inlined
def _pattern(op):
    """Return how many vectors a pixel has, and how many a row."""
    vectors = op.padded // LANES
    return vectors, op.to_width * vectors


@inlined
def _pitch(op):
    """Return the bytes from a row of spikes to the next, behind which a word may be read."""
    return op.to_width * (op.padded // LANES) + WORD // LANES


@inlined
def _charge(op, steps, apart, w, x, b, n, currents, potentials, bits, first, last):
    """Charge and fire vectors ``first`` to ``last`` of a row, for steps whose currents are ``apart``."""
    if op.uniform:
        _charge_uniform(op, steps, apart, w, x, b, currents, potentials, bits, first, last)
        return
    for step in range(steps):
        at, to = currents + step * apart, bits + step * op.ring * _pitch(op)
        if op.model == WHOLE:
            _charge_whole(op, w, x, b, n, at, potentials, to, first, last)
        else:
            _charge_any(op, w, x, b, at, potentials, to, first, last)


@kernel
def _take_over(states, of, to, first, last, size, vectors, kept):
    """Copy the states of a pixel to vectors ``first`` to ``last`` of a row; adaptive neurons have three."""
    for _ in range(kept):
        place = first % vectors
        for j in range(first, last):
            store(states, to + j * LANES, load(states, of + place * LANES))
            place = place + 1 if place + 1 < vectors else 0
        of, to = of + size, to + size


@inlined
def _alike(op, step):
    """Return where the states of a pixel that no current has reached are before a step, and its spikes."""
    return op.common + step * op.padded, op.common_bits + step * (op.padded // LANES)


@inlined
def _charge_common(op, step, w, x, b, n):
    """Compute a step of a pixel that no current reaches."""
    vectors, _ = _pattern(op)
    before, bits = _alike(op, step)
    after, kept = before + op.padded, 3 if op.model == ADAPTIVE else 1
    if op.model == WHOLE:
        _take_over(n, before, after, 0, vectors, op.states, vectors, kept)
    else:
        _take_over(x, before, after, 0, vectors, op.states, vectors, kept)
    _charge(op, 1, 0, w, x, b, n, op.nothing, after, bits, 0, vectors)


@kernel
def charge(op, begin, steps, y, currents, apart, w, x, b, n):
    """Charge and fire a row of neurons for steps from ``begin`` on, whose currents are ``apart``."""
    vectors, row = _pattern(op)
    potentials, stretches = op.potentials + y * row * LANES, -(-row // STRETCH)
    pitch, zero = _pitch(op), splat(w[op.rest] - w[op.rest])
    bits_apart = op.ring * pitch
    bits = op.bits + begin * bits_apart + y % op.ring * pitch
    for stretch in range(stretches):
        first, warm, step = stretch * STRETCH, op.warm + y * stretches + stretch, 0
        last = min(first + STRETCH, row)
        if op.alike and not b[warm]:
            while step < steps:
                arrived, at = 0, currents + step * apart
                for j in range(first, last):
                    arrived |= differ(load(x, at + j * LANES), zero)
                if arrived:
                    break
                _, common = _alike(op, begin + step)
                place, to = first % vectors, bits + step * bits_apart
                for j in range(first, last):
                    b[to + j] = b[common + place]
                    place = place + 1 if place + 1 < vectors else 0
                step += 1
            if step == steps:
                continue
            b[warm] = 1
            n[op.reached] += 1
            kept, (before, _) = 3 if op.model == ADAPTIVE else 1, _alike(op, begin + step)
            if op.model == WHOLE:
                _take_over(n, before, potentials, first, last, op.states, vectors, kept)
            else:
                _take_over(x, before, potentials, first, last, op.states, vectors, kept)
        at, to = currents + step * apart, bits + step * bits_apart
        _charge(op, steps - step, apart, w, x, b, n, at, potentials, to, first, last)


@inlined
def _emit_lanes(x, e, addresses, values, at, room, address, numbers, some):
    """List the lanes of a vector whose bit is set, and return the new length of a list with so much room."""
    if at + lanes_of(numbers) <= room:
        press_places(e, addresses + at, address, some, numbers)
        press(x, values + at, numbers, some)
        return at + count(some)
    for j in range(lanes_of(numbers)):
        if some >> j & 1:
            e[addresses + at], x[values + at] = address + j, lane_of(numbers, j)
            at += 1
    return at


@kernel
def _emit_row(op, x, e, b, y, bits, addresses, values, starts):
    """List the spikes of a row."""
    channels, bytes_, room = op.to_channels, op.padded // LANES, op.to_height * op.to_width * op.to_channels
    one, visited = splat(like(x, 1)), np.int64(e[starts])
    at = np.int64(e[starts + 2 * visited + 2])
    for column in range(op.to_width):
        pixel, before = y * op.to_width + column, at
        for eight in range(bytes_):
            spikes = np.int64(b[bits + column * bytes_ + eight])
            if spikes:
                at = _emit_lanes(
                    x, e, addresses, values, at, room, pixel * channels + eight * LANES, one, spikes
                )
        visited = _enter(e, starts, visited, pixel, before, at)
    _end(e, starts, visited, op.to_height * op.to_width, at)


@inlined
def _enter(e, starts, visited, pixel, before, at):
    """Enter a pixel with its first place in a list, and return how many have places up to ``at``."""
    e[starts + 2 * visited + 1] = pixel
    e[starts + 2 * visited + 2] = before
    return visited + (at != before)


@inlined
def _end(e, starts, visited, pixels, at):
    """End a list, for now."""
    e[starts] = visited
    e[starts + 2 * visited + 1] = pixels
    e[starts + 2 * visited + 2] = at


@inlined
def _emit_squares(op, w, x, e, b, down, upper, lower, addresses, values, starts):
    """List the averages or maxima of a row of windows of two by two pixels."""
    bytes_, visited = op.padded // LANES, np.int64(e[starts])
    part, zero = w[op.part], like(x, 0)
    broad, narrow = (splat_broad(part), splat_broad(zero)), (splat(part), splat(zero))
    pair, room, at = lanes_of(broad[0]) // LANES, op.to_size, np.int64(e[starts + 2 * visited + 2])
    wide = bytes_ - bytes_ % pair
    rows = upper, lower, bytes_, op.maximum
    for column in range(op.pool_width):
        pixel, before, place = down * op.pool_width + column, at, 2 * column * bytes_
        address = pixel * op.to_channels
        for j in range(0, wide, pair):
            some = _some(rows, broad, place + j, b)
            if some:
                numbers = _squares(rows, broad, place + j, b)
                at = _emit_lanes(x, e, addresses, values, at, room, address + j * LANES, numbers, some)
        for j in range(wide, bytes_):
            some = _some(rows, narrow, place + j, b)
            if some:
                numbers = _squares(rows, narrow, place + j, b)
                at = _emit_lanes(x, e, addresses, values, at, room, address + j * LANES, numbers, some)
        if at != before:
            visited = _enter(e, starts, visited, pixel, before, at)
    _end(e, starts, visited, op.pool_height * op.pool_width, at)


@inlined
def _some(rows, constants, place, b):
    """Return a bit for each channel in which any of two by two pixels fired."""
    upper, lower, next_pixel, _ = rows
    part, _ = constants
    above = marked(b, upper + place, part) | marked(b, upper + place + next_pixel, part)
    return above | marked(b, lower + place, part) | marked(b, lower + place + next_pixel, part)


@inlined
def _squares(rows, constants, place, b):
    """Return averages or maxima of two by two pixels."""
    upper, lower, next_pixel, maximum = rows
    part, zero = constants
    if maximum:
        return part
    p, q = marked(b, upper + place, part), marked(b, upper + place + next_pixel, part)
    r, s = marked(b, lower + place, part), marked(b, lower + place + next_pixel, part)
    return where(p, part, zero) + where(q, part, zero) + where(r, part, zero) + where(s, part, zero)


@kernel
def _emit_windows(op, w, k, x, e, b, down, ring, addresses, values, starts):
    """List the averages or maxima of a row of any windows."""
    one, bytes_, pitch = like(x, 1), op.padded // LANES, _pitch(op)
    top, bottom, visited = k[op.rows + 2 * down], k[op.rows + 2 * down + 1], np.int64(e[starts])
    at = np.int64(e[starts + 2 * visited + 2])
    for column in range(op.pool_width):
        pixel, before = down * op.pool_width + column, at
        left, right = k[op.columns + 2 * column], k[op.columns + 2 * column + 1]
        divisor = w[op.divisors + pixel]
        for c in range(0, op.to_channels, WORD):
            some = 0
            for y in range(top, bottom):
                for z in range(left, right):
                    some |= word(b, ring + y % op.ring * pitch + z * bytes_ + c // LANES)
            if op.to_channels - c < WORD:
                some &= (1 << (op.to_channels - c)) - 1
            while some != 0:
                j = lowest(some)
                spikes = 0
                for y in range(top, bottom):
                    for z in range(left, right):
                        spikes += word(b, ring + y % op.ring * pitch + z * bytes_ + c // LANES) >> j & 1
                e[addresses + at] = pixel * op.to_channels + c + j
                x[values + at] = one if op.maximum else like(x, spikes) / divisor
                at += 1
                some &= some - 1
        visited = _enter(e, starts, visited, pixel, before, at)
    _end(e, starts, visited, op.pool_height * op.pool_width, at)


@inlined
def _any(b, bits, row):
    """Return other than 0 if any of a row's bits is set."""
    some = 0
    for at in range(bits, bits + row, WORD // LANES):
        some |= word(b, at)
    return some


@inlined
def _listed(op, step):
    """Return where the events of a step go, and those of the neurons where a pool hands on others."""
    to = op.to_addresses + step * op.to_size, op.to_values + step * op.to_size
    own = op.own_addresses + step * op.own_size, op.own_values + step * op.own_size
    starts, own_starts = op.to_starts + step * op.to_starts_step, op.own_starts + step * op.own_starts_step
    return to, starts, own, own_starts


@kernel
def begin(op, step, w, x, e, b, n):
    """Begin a step of a layer of neurons: empty lists, and what befalls a pixel that no current reaches."""
    _, starts, _, own_starts = _listed(op, step)
    pixels = op.to_height * op.to_width
    if op.to_addresses >= 0:
        handed = op.pool_height if op.pooled else op.to_height
        e[lines(starts, handed)] = 0
        _end(e, starts, 0, op.pool_height * op.pool_width if op.pooled else pixels, 0)
    if op.own_addresses >= 0:
        e[lines(own_starts, op.to_height)] = 0
        _end(e, own_starts, 0, pixels, 0)
    if op.alike and n[op.reached] < op.to_height * -(-op.to_width * op.padded // (LANES * STRETCH)):
        _charge_common(op, step, w, x, b, n)


@kernel
def emit(op, step, y, w, k, x, e, b):
    """List the spikes of a row of neurons, or the pools that end with it. Rows come one after the other."""
    (addresses, values), starts, (own_addresses, own_values), own_starts = _listed(op, step)
    listed, own_listed = op.to_addresses >= 0, op.own_addresses >= 0
    pitch, rows = _pitch(op), step * op.ring
    ring = op.bits + rows * pitch
    bits = ring + y % op.ring * pitch
    _, row = _pattern(op)
    fired = _any(b, bits, row)
    b[op.fired + rows + y % op.ring] = fired != 0
    if not op.pooled:
        if listed:
            if fired:
                _emit_row(op, x, e, b, y, bits, addresses, values, starts)
            e[lines(starts, op.to_height) + y + 1] = e[starts]
        return
    if own_listed:
        if fired:
            _emit_row(op, x, e, b, y, bits, own_addresses, own_values, own_starts)
        e[lines(own_starts, op.to_height) + y + 1] = e[own_starts]
    for down in range(k[op.ended + y], k[op.ended + y + 1]):
        some = False
        for z in range(k[op.rows + 2 * down], y + 1):
            some |= b[op.fired + rows + z % op.ring] != 0
        if some and op.square:
            upper = ring + (y - 1) % op.ring * pitch
            _emit_squares(op, w, x, e, b, down, upper, bits, addresses, values, starts)
        elif some:
            _emit_windows(op, w, k, x, e, b, down, ring, addresses, values, starts)
        e[lines(starts, op.pool_height) + down + 1] = e[starts]


@kernel
def end(op, steps, x, n):
    """End some steps: what befell a pixel that no current reaches is kept for the next ones."""
    if op.alike:
        vectors, _ = _pattern(op)
        kept, (after, _) = 3 if op.model == ADAPTIVE else 1, _alike(op, steps)
        if op.model == WHOLE:
            _take_over(n, after, op.common, 0, vectors, op.states, vectors, kept)
        else:
            _take_over(x, after, op.common, 0, vectors, op.states, vectors, kept)


@kernel
def fire(op, step, w, k, x, e, b, n):
    """Compute a step of a layer of neurons, and of the pool behind it."""
    begin(op, step, w, x, e, b, n)
    for y in range(op.to_height):
        currents = op.currents + step * op.currents_step + y * op.currents_pitch
        charge(op, step, 1, y, currents, 0, w, x, b, n)
        emit(op, step, y, w, k, x, e, b)


@kernel
def settle(op, w, x, b, n):
    """Bring a layer of neurons to rest: the pixel that no current has reached, or else all."""
    vectors, wide = _pattern(op)
    many = (vectors if op.alike else op.to_height * wide) * LANES
    begin_at = op.common if op.alike else op.potentials
    for i in range(many):
        if op.model == WHOLE:
            n[begin_at + i] = np.int64(w[op.rest + i % (wide * LANES)]) << PLACES
        else:
            x[begin_at + i] = w[op.rest + i % (wide * LANES)]
    if op.model == ADAPTIVE:
        clear(x, begin_at + op.states, many)
        clear(x, begin_at + 2 * op.states, many)
    if op.alike:
        clear(b, op.warm, op.to_height * -(-wide // STRETCH))
        n[op.reached] = 0
