"""The compiled interpreter: one call computes samples with all their steps, or one step of a stream."""
# ruff: noqa: PLR0917, PLR0912, C901 - the arguments and branches of a kernel
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np

from snnprune.common.compiling import compiled
from snnprune.engine import firing, moving, scattering
from snnprune.engine.lanes import lowest
from snnprune.engine.table import Kind, Model

ROWS, SYNAPSES, PRODUCT, LOAD = int(Kind.ROWS), int(Kind.SYNAPSES), int(Kind.PRODUCT), int(Kind.LOAD)
COLLECT, FIRE, SCAN, SPREAD = int(Kind.COLLECT), int(Kind.FIRE), int(Kind.SCAN), int(Kind.SPREAD)
POOL, SUM, NORM, INTEGRATE = int(Kind.POOL), int(Kind.SUM), int(Kind.NORM), int(Kind.INTEGRATE)
PERMUTE, DELAY, ROUND, WHOLE = int(Kind.PERMUTE), int(Kind.DELAY), int(Kind.ROUND), int(Model.WHOLE)

_rows, _synapses, _product, _all = (
    scattering.rows, scattering.synapses, scattering.product, scattering.product_of_all
)  # fmt: skip
_fire, _load, _collect, _scan, _spread = (
    firing.fire, moving.load_currents, moving.collect, moving.scan, moving.spread
)  # fmt: skip
_pool, _add, _normalise, _integrate = moving.pool, moving.add, moving.normalise, moving.integrate
_integrate_whole, _permute, _delay, _round = (
    moving.integrate_whole, moving.permute, moving.delay, moving.round_numbers
)  # fmt: skip


@compiled
def _compute(op, step, w, k, x, e, b, n):
    """Compute one operation of one step."""
    kind = op.kind
    if kind <= SYNAPSES:
        n[op.node] += e[op.starts + step * (op.height * op.width + 1) + op.height * op.width]
        if kind == ROWS:
            _rows(op, step, w, k, x, e)
        else:
            _synapses(op, step, w, k, x, e)
    elif kind == FIRE:
        _fire(op, step, w, k, x, e, b, n)
    elif kind == PRODUCT:
        _product(op, step, w, x)
    elif kind == LOAD:
        _load(op, step, x)
    elif kind == COLLECT:
        _collect(op, step, w, x)
    elif kind == SCAN:
        _scan(op, step, x, e)
    elif kind == SPREAD:
        _spread(op, step, x, e)
    elif kind == POOL:
        _pool(op, step, w, k, x)
    elif kind == SUM:
        _add(op, step, k, x)
    elif kind == NORM:
        _normalise(op, step, w, x)
    elif kind == INTEGRATE:
        if op.model == WHOLE:
            _integrate_whole(op, step, w, x, n)
        else:
            _integrate(op, step, w, x)
    elif kind == PERMUTE:
        _permute(op, step, k, x)
    elif kind == DELAY:
        _delay(op, x, e)
    elif kind == ROUND:
        _round(op, step, x, e)


@compiled
def run(table, steps, w, k, x, e, b, n):
    """Compute some steps of one sample; lists or dense numbers of its input are already there."""
    first, many = 0, len(table)
    while first < many:
        last = first + 1
        while last < many and table[last].chained:
            last += 1
        if table[first].wide:
            _all(table[first], steps, w, x)
        else:
            for step in range(steps):
                for i in range(first, last):
                    _compute(table[i], step, w, k, x, e, b, n)
        first = last


@compiled
def read_frame(frame, source, step, x, e):
    """List the numbers of a frame [C, H, W] that are not 0. Tell whether all are finite."""
    channels, height, width = frame.shape
    size, pixels = channels * height * width, height * width
    addresses, values = source.to_addresses + step * size, source.to_values + step * size
    starts = source.to_starts + step * (pixels + 1)
    at, finite = 0, True
    for y in range(height):
        for z in range(width):
            pixel = y * width + z
            e[starts + pixel] = at
            for c in range(channels):
                value = frame[c, y, z]
                if value != 0:
                    number = x.dtype.type(value)
                    finite = finite and number - number == 0
                    e[addresses + at], x[values + at] = pixel * channels + c, number
                    at += 1
    e[starts + pixels] = at
    return finite


@compiled
def read_events(places, numbers, source, x, e, b):
    """List the events of a frame, given by their places in the order (C, H, W). Those of a place are added.

    Returns:
        Whether all numbers are finite, and all places are inside.
    """
    channels, height, width = source.channels, source.height, source.width
    pixels = height * width
    size, finite, inside = channels * pixels, True, True
    for i in range(len(places)):
        place = np.int64(places[i])
        if not 0 <= place < size:
            inside = False
            continue
        number = x.dtype.type(numbers[i])
        finite = finite and number - number == 0
        at = place % pixels * channels + place // pixels
        x[source.dense + at] += number
        b[source.bits + (at >> 3)] |= 1 << (at & 7)
    at, last = 0, -1
    for byte in range(-(-size // 8)):
        bits = np.int64(b[source.bits + byte])
        b[source.bits + byte] = 0
        while bits != 0:
            place = byte * 8 + lowest(bits)
            bits &= bits - 1
            number = x[source.dense + place]
            x[source.dense + place] = 0
            if number == 0:
                continue
            for pixel in range(last + 1, place // channels + 1):
                e[source.to_starts + pixel] = at
            last = place // channels
            e[source.to_addresses + at], x[source.to_values + at] = place, number
            at += 1
    for pixel in range(last + 1, pixels + 1):
        e[source.to_starts + pixel] = at
    return finite, inside


@compiled
def rest(initial, initial_whole, counts, resting, x, e, b, n):
    """Bring a sample to rest.

    ``x``, and behind ``counts`` also ``n``, begin with potentials; ``b`` with flags, and ``e`` with where the
    events of the step before begin, as many as ``resting`` says.
    """
    x[: len(initial)] = initial
    n[counts : counts + len(initial_whole)] = initial_whole
    b[: resting[0]] = 0
    e[: resting[1]] = 0


@compiled
def answer(
    frames, sample_from, apart, outputs, block, table, source, output, initial, initial_whole, counts,
    resting, w, k, x, e, b, n,
):  # fmt: skip
    """Compute outputs [T, B, K] of frames [T, B, C, H, W]; tell whether all of them are finite.

    Of the samples it takes one, and then each that lies a number further.
    """
    finite, size = True, outputs.shape[2]
    for sample in range(sample_from, frames.shape[1], apart):
        rest(initial, initial_whole, counts, resting, x, e, b, n)
        for begin in range(0, len(frames), block):
            steps = min(block, len(frames) - begin)
            for step in range(steps):
                finite &= read_frame(frames[begin + step, sample], source[0], step, x, e)
            run(table, steps, w, k, x, e, b, n)
            for step in range(steps):
                at = output + step * size
                outputs[begin + step, sample] = x[at : at + size]
    return finite
