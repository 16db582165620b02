"""The input of a step: a frame, or events, become a list (`snnprune.engine.table`)."""
# ruff: noqa: ARG001, PLR0917 - the arguments and branches of a kernel
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np
from numba import types
from numba.extending import overload

from snnprune.engine.compiling import kernel
from snnprune.engine.lanes import LANES, differ, load, lowest, splat, word
from snnprune.engine.moving import lines

_LOW, _HIGH = 0x7F7F7F7F7F7F7F7F, -0x7F7F7F7F7F7F7F80  # of each byte
_GATHER = 0x0002040810204081  # brings the lowest bits of eight bytes together in the highest byte


def _others(frames, at):
    """Return a bit for each of the `LANES` numbers at ``at`` that is not 0."""
    raise NotImplementedError


@overload(_others)
def _others_code(frames, at):
    if frames.dtype == types.uint8:

        def code(frames, at):
            eight = word(frames, at)
            ones = (((eight & _LOW) + _LOW) | eight) & _HIGH
            return ((ones >> 7) & 0x0101010101010101) * _GATHER >> 49 & 0xFF

    else:

        def code(frames, at):
            return differ(load(frames, at), splat(frames.dtype.type(0)))

    return code


@kernel
def read_frame(frames, begin, source, step, x, e):
    """List the numbers of a frame [C, H, W] at ``begin`` that are not 0. Tell whether all are finite."""
    channels, height, width = source.channels, source.height, source.width
    pixels = height * width
    addresses, values = source.to_addresses + step * source.size, source.to_values + step * source.size
    starts = source.to_starts + step * source.to_starts_step
    at, visited, finite = 0, 0, True
    for y in range(height):
        column = 0
        while column < width:
            if column + LANES <= width or width >= LANES:
                some, left = 0, min(column, width - LANES)  # the last ones again, with others before them
                for c in range(channels):
                    some |= _others(frames, begin + c * pixels + y * width + left)
                some &= -1 << (column - left)
            else:
                some, left = 0, column
                for j in range(width):
                    for c in range(channels):
                        if frames[begin + c * pixels + y * width + j] != 0:
                            some |= 1 << j
            while some != 0:
                pixel = y * width + left + lowest(some)
                some &= some - 1
                e[np.uintp(starts + 2 * visited + 1)] = pixel
                e[np.uintp(starts + 2 * visited + 2)] = at
                visited += 1
                for c in range(channels):
                    value = frames[np.uintp(begin + c * pixels + pixel)]
                    number = x.dtype.type(value)
                    finite = finite and number - number == 0
                    e[np.uintp(addresses + at)] = pixel * channels + c
                    x[np.uintp(values + at)] = number
                    at += value != 0
            column += LANES
        e[lines(starts, height) + y + 1] = visited
    e[lines(starts, height)] = 0
    e[starts] = visited
    e[starts + 2 * visited + 1] = pixels
    e[starts + 2 * visited + 2] = at
    return finite


@kernel
def read_events(places, numbers, source, x, e, b):
    """List the events of a frame, given by their places in the order (C, H, W). Those of a place are added.

    Returns:
        Whether all numbers are finite, and whether all places are inside.
    """
    channels, pixels = source.channels, source.height * source.width
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
    at, last, visited, starts, y = 0, -1, 0, source.to_starts, 0
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
            pixel = place // channels
            while y <= pixel // source.width:
                e[lines(starts, source.height) + y] = visited
                y += 1
            if pixel != last:
                e[starts + 2 * visited + 1] = pixel
                e[starts + 2 * visited + 2] = at
                visited += 1
                last = pixel
            e[source.to_addresses + at], x[source.to_values + at] = place, number
            at += 1
    for later in range(y, source.height + 1):
        e[lines(starts, source.height) + later] = visited
    e[starts] = visited
    e[starts + 2 * visited + 1] = pixels
    e[starts + 2 * visited + 2] = at
    return finite, inside
