"""Words of Prophesee's encodings EVT 2.0, 2.1 and 3.0, decoded in two passes: count, then fill.

A word is little-endian; its upper four bits are its type. Types that are not named here hold no events of
pixels (external triggers, counts of the camera, what continues them) and are passed over.

Two kinds of words make a time: TIME_HIGH has its upper bits, other words the lower ones. The clock begins
again when TIME_HIGH is full. A TIME_HIGH that is lower than the last one by more than half of its range
begins a new lap; one that is lower by less goes back, as cameras now and then do. **A lap that passes without
any TIME_HIGH cannot be seen**, nor the end of one if more than half of a lap passes without any. Cameras
write one every few microseconds.

Events before the first TIME_HIGH (or, in EVT 3.0, before the row or column that they need) have no time or no
place. They are counted and left out.

Source of the layouts: docs.prophesee.ai, "EVT 2.0 Format", "EVT 2.1 Format" and "EVT 3.0 Format".
"""
# ruff: noqa: C901, PLR0912, PLR0917 - a kernel is given arrays one by one, and tests every type of word

from __future__ import annotations

from snnprune.common.compiling import compiled
from snnprune.data.events.formats.bits import byte, lowest, ones, put, word_16, word_32

HALF_28, LAP_28 = 1 << 27, 1 << 34
"""Of EVT 2.0 and 2.1: half of TIME_HIGH's range, and microseconds of a lap, 4.8 hours."""

HALF_12, LAP_12 = 1 << 11, 1 << 24
"""Of EVT 3.0: the same, 16.8 seconds."""

FARTHEST = 1 << 15
"""Column that no vector's base passes in EVT 3.0, where sensors have 2,048 columns at most.

Words of a damaged file move the base on and on, and a column of 16 bits would come round to the sensor again.
"""


@compiled
def count_evt2(data):  # type: ignore[no-untyped-def]
    """Return the number of events, and of those that are left out."""
    many = early = 0
    timed = False
    for at in range(3, data.size, 4):
        kind = byte(data, at) >> 4
        if kind <= 1:
            if timed:
                many += 1
            else:
                early += 1
        elif kind == 8:
            timed = True
    return many, early


@compiled
def fill_evt2(data, t, x, y, p):  # type: ignore[no-untyped-def]
    """Write the events: microseconds from the first one, columns, rows, whether ON. Return that one's time.

    CD_OFF (0), CD_ON (1): time 6 bits, x 11 bits, y 11 bits. TIME_HIGH (8): 28 bits.
    """
    n, zero, lap, base, last = 0, 0, 0, 0, -1
    for at in range(0, data.size - 3, 4):
        word = word_32(data, at)
        kind = word >> 28
        if kind <= 1:
            if last >= 0:
                now = base + ((word >> 22) & 63)
                if not n:
                    zero = now
                put(t, x, y, p, n, (now - zero, (word >> 11) & 2047, word & 2047, kind == 1))
                n += 1
        elif kind == 8:
            high = word & 0xFFFFFFF
            if last - high > HALF_28:
                lap += LAP_28
            base, last = lap + (high << 6), high
    return zero


@compiled
def count_evt21(data, upper):  # type: ignore[no-untyped-def]
    """Return the same; ``upper`` is where a word's upper half begins: at byte 4, or 0 in the legacy order."""
    many = early = 0
    timed = False
    for at in range(0, data.size - 7, 8):
        kind = byte(data, at + upper + 3) >> 4
        if kind <= 1:
            events = ones(word_32(data, at + 4 - upper))
            if timed:
                many += events
            else:
                early += events
        elif kind == 8:
            timed = True
    return many, early


@compiled
def fill_evt21(data, t, x, y, p, upper):  # type: ignore[no-untyped-def]
    """Do the same for EVT 2.1.

    EVT_NEG (0), EVT_POS (1): time 6 bits, x 11 bits, y 11 bits; then 32 bits, of which bit i stands for an
    event at x + i. TIME_HIGH (8): 28 bits; then nothing.
    """
    n, zero, lap, base, last = 0, 0, 0, 0, -1
    for at in range(0, data.size - 7, 8):
        word = word_32(data, at + upper)
        kind = word >> 28
        if kind <= 1:
            if last >= 0:
                left, column = word_32(data, at + 4 - upper), (word >> 11) & 2047
                now = base + ((word >> 22) & 63)
                if not n:
                    zero = now
                while left:
                    put(t, x, y, p, n, (now - zero, column + lowest(left), word & 2047, kind == 1))
                    n += 1
                    left &= left - 1
        elif kind == 8:
            high = word & 0xFFFFFFF
            if last - high > HALF_28:
                lap += LAP_28
            base, last = lap + (high << 6), high
    return zero


@compiled
def count_evt3(data):  # type: ignore[no-untyped-def]
    """Return the number of events, and of those that are left out."""
    many = early = 0
    timed = placed = based = False
    for at in range(0, data.size - 1, 2):
        kind = byte(data, at + 1) >> 4
        if kind == 2:
            if timed and placed:
                many += 1
            else:
                early += 1
        elif 4 <= kind <= 5:
            events = ones(word_16(data, at) & (0xFFF if kind == 4 else 0xFF))
            if timed and placed and based:
                many += events
            else:
                early += events
        elif kind == 0:
            placed = True
        elif kind == 3:
            based = True
        elif kind == 8:
            timed = True
    return many, early


@compiled
def fill_evt3(data, t, x, y, p):  # type: ignore[no-untyped-def]
    """Do the same for EVT 3.0: a word changes the state, or makes events of it.

    ADDR_Y (0): row, 11 bits. ADDR_X (2): polarity, column 11 bits; one event. VECT_BASE_X (3): the same, as
    the base of vectors. VECT_12 (4), VECT_8 (5): bit i stands for an event at base + i; then the base moves
    by the number of bits. TIME_LOW (6): 12 bits. TIME_HIGH (8): 12 bits; where it changes, the lower bits are
    zero until the next TIME_LOW, as in the maker's decoder.
    """
    n, zero, lap, high, now, last = 0, 0, 0, 0, 0, -1
    row = base = -1
    on = False
    for at in range(0, data.size - 1, 2):
        word = word_16(data, at)
        kind, value = word >> 12, word & 0xFFF
        if kind == 2:
            if last >= 0 and row >= 0:
                if not n:
                    zero = now
                put(t, x, y, p, n, (now - zero, value & 2047, row, value > 2047))
                n += 1
        elif 4 <= kind <= 5:
            bits = 12 if kind == 4 else 8
            left = value & ((1 << bits) - 1)
            if last >= 0 and row >= 0 and base >= 0:
                if not n:
                    zero = now
                while left:
                    put(t, x, y, p, n, (now - zero, base + lowest(left), row, on))
                    n += 1
                    left &= left - 1
            if base >= 0:
                base = min(base + bits, FARTHEST)
        elif kind == 0:
            row = value & 2047
        elif kind == 3:
            base, on = value & 2047, value > 2047
        elif kind == 6:
            now = high + value
        elif kind == 8 and value != last:
            if last - value > HALF_12:
                lap += LAP_12
            high, last = lap + (value << 12), value
            now = high
    return zero
