"""Files of N-MNIST and N-Caltech101: five bytes an event, without a header.

    x 8 bits, y 8 bits, polarity 1 bit, time 23 bits in microseconds, the most significant byte first

A row of 240, which the ATIS with its rows 0 to 239 does not have, marks an overflow of the clock: 8,192 us
are added to the times of all that follows. So do the data sets' own reader (gorchard/event-Python,
eventvision.py) and Tonic; SpikingJelly takes the mark for an event. The sensor is not in the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from snnprune.common.compiling import compiled
from snnprune.data.events.formats.bits import byte, put
from snnprune.data.events.formats.content import content
from snnprune.data.events.stream import Raw

if TYPE_CHECKING:
    from pathlib import Path

    from snnprune.data.events.stream import Asked

SIZE = 5
OVERFLOW = 240
OVERFLOWED = 1 << 13
"""Microseconds."""


def read(path: Path, asked: Asked) -> Raw:  # noqa: ARG001 - the file says all that a reader can use
    """Read such a file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is empty.
    """
    data = content(path)
    over = len(data) % SIZE
    many = len(data) // SIZE - int(np.count_nonzero(data[1 : len(data) - over : SIZE] == OVERFLOW))
    t, x, y = np.empty(many, np.int64), np.empty(many, np.uint16), np.empty(many, np.uint16)
    p = np.empty(many, np.bool_)
    fill(data, t, x, y, p)
    remarks = (f"ends within an event, of which {over} bytes were left out",) if over else ()
    return Raw(t, x, y, p, "us", remarks=remarks)


@compiled
def fill(data, t, x, y, p):  # type: ignore[no-untyped-def]
    """Write the events: microseconds, columns, rows, and whether they are ON."""
    n = past = 0
    for at in range(0, data.size - 4, 5):
        row, last = byte(data, at + 1), np.int64(byte(data, at + 2))
        if row == OVERFLOW:
            past += OVERFLOWED
        else:
            time = past + (
                (last & 127) << 16 | np.int64(byte(data, at + 3)) << 8 | np.int64(byte(data, at + 4))
            )
            put(t, x, y, p, n, (time, byte(data, at), row, last > 127))
            n += 1
