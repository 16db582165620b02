"""Events are counted straight into frames of bytes, in the processor's own instructions."""

from __future__ import annotations

import numpy as np

from snnprune.common.compiling import compiled


@compiled
def count(x, y, p, cuts, frames):  # type: ignore[no-untyped-def]
    """Add events to frames; a count of 255 stays. Return False at an event outside of them.

    Args:
        x: uint16 [n], columns.
        y: uint16 [n], rows.
        p: uint8 [n], channels.
        cuts: int64 [T + 1]: frame k has the events cuts[k] .. cuts[k + 1] - 1.
        frames: uint8 [T, P, H, W], zeros at first.
    """
    steps, polarities, height, width = frames.shape
    flat = frames.reshape(frames.size)
    for k in range(steps):
        for i in range(cuts[k], cuts[k + 1]):
            channel, row, column = np.int64(p[i]), np.int64(y[i]), np.int64(x[i])
            if channel >= polarities or row >= height or column >= width:
                return False
            # Without a sign, an index is not tested for counting from the end.
            place = np.uintp(((k * polarities + channel) * height + row) * width + column)
            if flat[place] < 255:
                flat[place] += 1
    return True
