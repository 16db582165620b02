"""Synapses: events become currents, in three ways with the same sums.

Every current adds its contributions in the order of the events, which is (height, width, channels) of what is
read, and each product is rounded before it is added. So the three ways give the same bits: a weight of 0, or
a number that is 0, adds exactly nothing.
"""
# ruff: noqa: PLR0917, PLR0912, C901 - the arguments and branches of a kernel
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np

from snnprune.engine.compiling import kernel
from snnprune.engine.lanes import BROAD, ENTRY, LANES, SCATTER, WIDEST, load, lowest, splat, store, word
from snnprune.engine.moving import lines
from snnprune.engine.pointers import clear, like

(_1, _2, _3, _4, _5, _6, _7, _8, _9, _10, _11, _12, _13, _14, _15, _16) = SCATTER

TOGETHER = 64
"""Inputs of a linear layer whose rows of weights are added together, for all steps."""


@kernel
def rows(op, step, w, k, x, e):
    """Add for each event of a step of a convolution the weights of all its units."""
    for y in range(op.to_height):
        line(op, step, y, op.currents + step * op.currents_step + y * op.currents_pitch, w, k, x, e)


@kernel
def rows_of_all(op, steps, w, k, x, e):
    """Do so in a linear layer for all steps, for some inputs at a time: their weights are then still near."""
    clear(e, op.cursors, steps)
    for some in range(-(-op.size // TOGETHER)):
        for step in range(steps):
            line(op, step, some, op.currents + step * op.currents_step, w, k, x, e)


@kernel
def line(op, step, y, to, w, k, x, e):
    """Add to a line of currents at ``to`` the weights of the events that reach it.

    Lines come one after the other. A row of pixels that is read reaches a line by one tap down. Those of its
    pixels that lie alike to the steps of the convolution form a class. A tap and a class have segments: runs
    of neighbouring currents, with a row of weights for each channel. Mostly there is one class with one
    segment, and the pixels of a row are added in one go; else one after the other, and where units are in
    groups, one event after the other. A linear layer has one pixel and one line, to which `TOGETHER` inputs
    are added at a time.
    """
    starts, columns, alone = op.starts + step * op.starts_step, op.tables, op.alone
    if op.merged:
        first = np.int64(e[op.cursors + step])
        every, last, beyond = e[starts + 2 * e[starts] + 2], first, (y + 1) * TOGETHER
        while last < every and e[op.addresses + step * op.size + last] < beyond:
            last += 1
        if first < last:
            e[op.cursors + step] = last
            e[alone], e[alone + 1], e[alone + 3] = 0, first, last
            _segments(op, step, to, op.classes, 0, alone, 1, w, k, x, e)
        return
    for tap in range(op.taps_down):
        classes, read = op.classes + tap * op.step_right, y * op.step_down + tap * op.gap_down - op.above
        if not 0 <= read < op.height:
            continue
        begin, at = read * op.width, lines(starts, op.height) + read
        first, visit = np.int64(e[at]), np.int64(e[at + 1])
        if first == visit:
            continue
        if op.single:
            _segments(op, step, to, classes, begin, starts + 2 * first + 1, visit - first, w, k, x, e)
            continue
        for i in range(first, visit):
            entry = starts + 2 * i + 1
            kind = classes + k[columns + op.width + e[entry] - begin]
            if op.groups == 1:
                _segments(op, step, to, kind, begin, entry, 1, w, k, x, e)
                continue
            e[alone] = e[entry]
            for event in range(e[entry + 1], e[entry + 3]):
                e[alone + 1], e[alone + 3] = event, event + 1
                channel = e[op.addresses + step * op.size + event] - e[entry] * op.channels
                own = to + channel // op.inputs * op.units
                _segments(op, step, own, kind, begin, alone, 1, w, k, x, e)


@kernel
def _segments(op, step, to, kind, before, entry, entries, w, k, x, e):
    """Add the segments of a class to the lines of currents at ``to``, for some entries of a list."""
    addresses, values = op.addresses + step * op.size, op.values + step * op.size
    columns, channels = op.tables, op.channels
    for segment in range(k[kind], k[kind + 1]):
        own = op.segments + ENTRY * segment
        at, shift, left = to + k[own], op.weights + k[own + 1], np.int64(k[own + 2])
        stride = left * BROAD
        while left > WIDEST:
            _16(x, at, w, shift, stride, k, columns, e, entry, entries, before, channels, addresses, values)
            at, shift, left = at + WIDEST * BROAD, shift + WIDEST * BROAD, left - WIDEST
        if left == 1:
            _1(x, at, w, shift, stride, k, columns, e, entry, entries, before, channels, addresses, values)
        elif left == 2:
            _2(x, at, w, shift, stride, k, columns, e, entry, entries, before, channels, addresses, values)
        elif left == 3:
            _3(x, at, w, shift, stride, k, columns, e, entry, entries, before, channels, addresses, values)
        elif left == 4:
            _4(x, at, w, shift, stride, k, columns, e, entry, entries, before, channels, addresses, values)
        elif left == 5:
            _5(x, at, w, shift, stride, k, columns, e, entry, entries, before, channels, addresses, values)
        elif left == 6:
            _6(x, at, w, shift, stride, k, columns, e, entry, entries, before, channels, addresses, values)
        elif left == 7:
            _7(x, at, w, shift, stride, k, columns, e, entry, entries, before, channels, addresses, values)
        elif left == 8:
            _8(x, at, w, shift, stride, k, columns, e, entry, entries, before, channels, addresses, values)
        elif left == 9:
            _9(x, at, w, shift, stride, k, columns, e, entry, entries, before, channels, addresses, values)
        elif left == 10:
            _10(x, at, w, shift, stride, k, columns, e, entry, entries, before, channels, addresses, values)
        elif left == 11:
            _11(x, at, w, shift, stride, k, columns, e, entry, entries, before, channels, addresses, values)
        elif left == 12:
            _12(x, at, w, shift, stride, k, columns, e, entry, entries, before, channels, addresses, values)
        elif left == 13:
            _13(x, at, w, shift, stride, k, columns, e, entry, entries, before, channels, addresses, values)
        elif left == 14:
            _14(x, at, w, shift, stride, k, columns, e, entry, entries, before, channels, addresses, values)
        elif left == 15:
            _15(x, at, w, shift, stride, k, columns, e, entry, entries, before, channels, addresses, values)
        else:
            _16(x, at, w, shift, stride, k, columns, e, entry, entries, before, channels, addresses, values)


@kernel
def synapses(op, step, w, k, x, e):
    """Add for each event its weights that are not 0."""
    addresses, values = op.addresses + step * op.size, op.values + step * op.size
    to, offsets, weights = op.currents + step * op.currents_step, op.offsets, op.weights
    merged, tables, all_pointers, channels = op.merged, op.tables, op.pointers, op.channels
    pixels = op.height * op.width
    starts = op.starts + step * op.starts_step
    visited = np.int64(e[starts])
    for visit in range(1 if merged else visited):
        if merged:
            first, last = np.int64(0), np.int64(e[starts + 2 * visited + 2])
            at, pointers = to, all_pointers
        else:
            entry = starts + 2 * visit + 1
            pixel, first, last = np.int64(e[entry]), np.int64(e[entry + 1]), np.int64(e[entry + 3])
            at = to + k[tables + pixel]
            pointers = all_pointers + k[tables + pixels + pixel] * (channels + 1) - pixel * channels
        for i in range(first, last):
            entry = pointers + e[addresses + i]
            value = x[values + i]
            for synapse in range(k[entry], k[entry + 1]):
                place = at + k[offsets + synapse]
                x[place] += value * w[weights + synapse]


@kernel
def synapses_of_all(op, steps, w, k, x, e, b):
    """Add for each input of a linear layer its weights that are not 0, for all steps side by side."""
    offsets, weights, pointers, currents = op.offsets, op.weights, op.pointers, op.currents
    lined, sums, marks, wide = op.lined, op.sums, op.marks, 2 * LANES
    for step in range(steps):
        addresses, values = op.addresses + step * op.size, op.values + step * op.size
        starts = op.starts + step * op.starts_step
        for i in range(e[starts + 2 * e[starts] + 2]):
            place = e[addresses + i]
            x[lined + place * wide + step] = x[values + i]
            b[marks + place] = 1
    zero = splat(like(x, 0))
    for i in range(op.padded):
        store(x, sums + i * wide, zero)
        store(x, sums + i * wide + LANES, zero)
    for eight in range(0, op.size, LANES):
        some = word(b, marks + eight)
        while some != 0:
            place = eight + lowest(some) // LANES
            some &= some - 1
            b[marks + place] = 0
            early, late = load(x, lined + place * wide), load(x, lined + place * wide + LANES)
            store(x, lined + place * wide, zero)
            store(x, lined + place * wide + LANES, zero)
            for synapse in range(k[pointers + place], k[pointers + place + 1]):
                at = sums + k[offsets + synapse] * wide
                weight = splat(w[weights + synapse])
                store(x, at, load(x, at) + weight * early)
                if steps > LANES:
                    store(x, at + LANES, load(x, at + LANES) + weight * late)
    for step in range(steps):
        to = currents + step * op.currents_step
        for i in range(op.padded):
            x[to + i] += x[sums + i * wide + step]


@kernel
def _products(x, at, apart, w, weights, stride, i, between, n):
    """Add to four vectors of currents ``n`` numbers each, times the same rows of weights."""
    a, b = load(x, at), load(x, at + apart)
    c, d = load(x, at + 2 * apart), load(x, at + 3 * apart)
    for j in range(n):
        row = load(w, weights + j * stride)
        a = a + splat(x[i + j]) * row
        b = b + splat(x[i + between + j]) * row
        c = c + splat(x[i + 2 * between + j]) * row
        d = d + splat(x[i + 3 * between + j]) * row
    store(x, at, a)
    store(x, at + apart, b)
    store(x, at + 2 * apart, c)
    store(x, at + 3 * apart, d)


@kernel
def _product(x, at, w, weights, stride, i, n):
    """Add to a vector of currents ``n`` numbers, times rows of weights."""
    total = load(x, at)
    for j in range(n):
        total = total + splat(x[i + j]) * load(w, weights + j * stride)
    store(x, at, total)


@kernel
def _along(x, at, apart, w, weights, stride, i, between, n, count):
    """Do so for ``count`` vectors, ``apart`` from each other, and numbers ``between`` from each other."""
    done = 0
    while done + 4 <= count:
        _products(x, at + done * apart, apart, w, weights, stride, i + done * between, between, n)
        done += 4
    for c in range(done, count):
        _product(x, at + c * apart, w, weights, stride, i + c * between, n)


@kernel
def product(op, step, w, x):
    """Add all numbers, times all weights, of one step of a convolution."""
    broad = op.width * op.channels
    source = op.dense + step * op.size
    for y in range(op.height):
        place = op.apart + (y + op.above) * op.apart_pitch + op.left * op.channels
        for i in range(broad):
            x[place + i] = x[source + y * broad + i]
    stride = -(-op.units // LANES) * LANES
    row = op.inputs * stride  # of a tap, which has one for each channel
    joined = op.gap_right == 1 and op.groups == 1
    runs, length = (1, op.taps_right * op.inputs) if joined else (op.taps_right, op.inputs)
    between = op.step_right * op.channels
    for y in range(op.to_height):
        to = op.currents + step * op.currents_step + y * op.currents_pitch
        for group in range(op.groups):
            for down in range(op.taps_down):
                line = op.apart + (y * op.step_down + down * op.gap_down) * op.apart_pitch
                for run in range(runs):
                    read = line + run * op.gap_right * op.channels + group * op.inputs
                    tap = (group * op.taps_down + down) * op.taps_right + run
                    for j in range(0, stride, LANES):
                        at, weights = to + group * op.units + j, op.weights + tap * row + j
                        _along(x, at, op.padded, w, weights, stride, read, between, length, op.to_width)


@kernel
def product_of_all(op, steps, w, x):
    """Add all numbers, times all weights, of all steps of a linear layer."""
    for j in range(0, op.padded, LANES):
        _along(
            x, op.currents + j, op.currents_step, w, op.weights + j, op.padded, op.dense, op.size, op.size,
            steps,
        )  # fmt: skip
