"""How many events each pixel of a sensor has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from snnprune.common.errors import UserError

if TYPE_CHECKING:
    import numpy.typing as npt

    from snnprune.data.events.stream import Stream

MOST_PIXELS = 2**24
"""Most pixels of a sensor that are counted: eighteen times those of a camera of 1280 x 720."""

CHUNK = 2**22
"""Events that are counted at a time: their places need 32 MB."""


def per_pixel(stream: Stream) -> npt.NDArray[np.int64]:
    """Return the number of events of each polarity at each pixel, int64 [2, H, W]: OFF, then ON.

    Beside the result it needs some 100 MB, however many events there are.

    Raises:
        UserError: the sensor has more than `MOST_PIXELS` pixels.
    """
    width, height = stream.sensor
    if width * height > MOST_PIXELS:
        raise UserError(
            f"events are counted on sensors of at most {MOST_PIXELS:,} pixels, and one of {width} x {height} "
            "pixels is named: correct --data.sensor, or the header of the file"
        )
    counts = np.zeros(2 * height * width, np.int64)
    for begin in range(0, len(stream), CHUNK):
        part = slice(begin, begin + CHUNK)
        place = stream.p[part].astype(np.int64)
        place *= height
        place += stream.y[part]
        place *= width
        place += stream.x[part]
        counts += np.bincount(place, minlength=len(counts))
    return counts.reshape(2, height, width)
