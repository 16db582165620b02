"""What stands between layers and neurons: pools, sums, norms, integrators, and one form made of another."""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np

from snnprune.engine.compiling import inlined, kernel
from snnprune.engine.plan import PLACES
from snnprune.engine.pointers import clear, like


@kernel
def listed(e, starts):
    """Return the number of events of a list."""
    return e[starts + 2 * e[starts] + 2]


@inlined
def lines(starts, height):
    """Return where a list says of each row how many of its pixels lie above, and then how many there are."""
    return starts - height - 1


@kernel
def load_currents(op, step, x):
    """Copy dense numbers to where neurons read currents."""
    source = op.dense + step * op.size
    for y in range(op.to_height):
        for column in range(op.to_width):
            at = op.currents + step * op.currents_step + y * op.currents_pitch + column * op.padded
            for c in range(op.to_channels):
                x[at + c] = x[source]
                source += 1


@kernel
def collect(op, step, w, x):
    """Copy currents, with the biases, to dense numbers; in whole numbers to what they stand for."""
    to = op.to_dense + step * op.to_size
    for y in range(op.to_height):
        for column in range(op.to_width):
            at = op.currents + step * op.currents_step + y * op.currents_pitch + column * op.padded
            for c in range(op.to_channels):
                total = x[at + c]
                if op.bias >= 0:
                    total += w[op.bias + c]
                if op.unit >= 0:
                    total *= w[op.unit + c]
                x[to] = total
                to += 1
                if op.clear:
                    x[at + c] = 0


@kernel
def scan(op, step, x, e):
    """List the dense numbers that are not 0."""
    source, at = op.dense + step * op.size, 0
    addresses, values = op.to_addresses + step * op.size, op.to_values + step * op.size
    starts, visited = op.to_starts + step * op.to_starts_step, 0
    for pixel in range(op.height * op.width):
        if pixel % op.width == 0:
            e[lines(starts, op.height) + pixel // op.width] = visited
        e[starts + 2 * visited + 1] = pixel
        e[starts + 2 * visited + 2] = at
        before = at
        for i in range(pixel * op.channels, (pixel + 1) * op.channels):
            value = x[source + i]
            if value != 0:
                e[addresses + at], x[values + at] = i, value
                at += 1
        visited += at != before
    e[lines(starts, op.height) + op.height] = e[starts] = visited
    e[starts + 2 * visited + 1] = op.height * op.width
    e[starts + 2 * visited + 2] = at


@kernel
def spread(op, step, x, e):
    """Make dense numbers of a list."""
    to = op.to_dense + step * op.size
    clear(x, to, op.size)
    addresses, values = op.addresses + step * op.size, op.values + step * op.size
    for i in range(listed(e, op.starts + step * op.starts_step)):
        x[to + e[addresses + i]] = x[values + i]


@kernel
def pool(op, step, w, k, x):
    """Take averages or maxima over windows, added row by row."""
    source, to = op.dense + step * op.size, op.to_dense + step * op.to_size
    for down in range(op.pool_height):
        for across in range(op.pool_width):
            window = down * op.pool_width + across
            for c in range(op.channels):
                total, first = like(x, 0), True
                for y in range(k[op.rows + 2 * down], k[op.rows + 2 * down + 1]):
                    for z in range(k[op.columns + 2 * across], k[op.columns + 2 * across + 1]):
                        value = x[source + (y * op.width + z) * op.channels + c]
                        if not op.maximum:
                            total += value
                        elif first or value > total:
                            total = value
                        first = False
                x[to + window * op.channels + c] = total if op.maximum else total / w[op.divisors + window]


@kernel
def add(op, step, k, x):
    """Add sources from the first to the last."""
    to = op.to_dense + step * op.to_size
    for i in range(op.to_size):
        total = x[k[op.map] + step * op.to_size + i]
        for term in range(1, op.terms):
            total += x[k[op.map + term] + step * op.to_size + i]
        x[to + i] = total


@kernel
def normalise(op, step, w, x):
    """Compute (x - mean) scale + shift."""
    source, to = op.dense + step * op.size, op.to_dense + step * op.size
    for i in range(0, op.size, op.channels):
        for c in range(op.channels):
            x[to + i + c] = (x[source + i + c] - w[op.mean + c]) * w[op.scale + c] + w[op.shift + c]


@kernel
def integrate(op, step, w, x):
    """Compute v = leak v + (1 - leak) x."""
    source, to = op.dense + step * op.size, op.to_dense + step * op.size
    for i in range(op.size):
        v = w[op.leak] * x[op.potentials + i] + w[op.share] * x[source + i]
        x[op.potentials + i] = v
        x[to + i] = v


@kernel
def integrate_whole(op, step, w, x, n):
    """Compute v = [leak v / 2^bits] + x, and what it stands for."""
    source, to = op.dense + step * op.size, op.to_dense + step * op.size
    leak = np.int64(w[op.leak])
    for i in range(op.size):
        v = n[op.potentials + i]
        low = v & ((1 << op.places) - 1)
        v = leak * (v >> op.places) + (leak * low >> op.places) + np.int64(np.rint(x[source + i]))
        n[op.potentials + i] = v
        x[to + i] = like(x, v) * w[op.unit + i % op.channels]


@kernel
def permute(op, step, k, x):
    """Bring dense numbers into another order."""
    source, to = op.dense + step * op.size, op.to_dense + step * op.size
    for i in range(op.size):
        x[to + i] = x[source + k[op.map + i]]


@kernel
def delay(op, x, e):
    """Keep what a node hands on for the next step, in the forms that are read."""
    if op.to_dense >= 0:
        for i in range(op.size):
            x[op.to_dense + i] = x[op.dense + i]
    if op.to_addresses >= 0:
        for i in range(lines(0, op.height), 2 * e[op.starts] + 3):
            e[op.to_starts + i] = e[op.starts + i]
        for i in range(listed(e, op.starts)):
            e[op.to_addresses + i], x[op.to_values + i] = e[op.addresses + i], x[op.values + i]


@kernel
def round_numbers(op, step, x, e):
    """Multiply with 2^16 and round, half to even: what a layer in whole numbers reads, in either form."""
    if op.to_dense >= 0:
        source, to = op.dense + step * op.size, op.to_dense + step * op.size
        for i in range(op.size):
            x[to + i] = np.rint(x[source + i] * 2.0**PLACES)
    if op.to_values >= 0:
        source, to = op.values + step * op.size, op.to_values + step * op.size
        for i in range(listed(e, op.starts + step * op.starts_step)):
            x[to + i] = np.rint(x[source + i] * 2.0**PLACES)
