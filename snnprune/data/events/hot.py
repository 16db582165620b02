"""Hot pixels: those that fire far more often than all around them, whatever the camera sees.

A pixel that has c events, of either polarity together, is hot if

    c >= LEAST   and   c > FACTOR (1 + r)

where r is the third largest count of the pixels around it, within `REACH` rows and columns. What a camera
sees covers several pixels, since lenses blur and things move, so that the neighbours of a busy pixel are
busy too. The third largest count, not the largest, also finds two or three hot pixels side by side. The rule
needs no rate and no size of the sensor. Filters by an absolute rate (Tonic's `DropPixel`) or by standard
deviations above the mean of all pixels (`dvs_hot_pixel_filter`) take a busy place of the scene for a hot
pixel, and have to be set for each camera.

Measured on 700 recordings of N-MNIST and 68 of POKER-DVS: the rule finds no pixel in any of them. No pixel
has more than 48 events. Among pixels with at least 20 events, the largest c / (1 + r) is 2.2, except for
pixels of N-MNIST's own camera that are noisy in every class, such as x 18, y 30: it has 15 events in a mean
recording, at most 41, and seldom any beside it.

A light of one to three pixels that flickers in place cannot be told from hot pixels. Neither can a line of
pixels that are all stuck be found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from snnprune.data.events.counts import per_pixel

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from snnprune.data.events.stream import Stream

LEAST = 50
"""Fewest events of a hot pixel. Fewer do little harm, and a short burst has as many."""

FACTOR = 5
"""How many times as often as its third busiest neighbour a hot pixel fires: twice what real scenes have."""

REACH = 2
"""Rows and columns on either side that are around a pixel."""

RANK = 3
"""Rank, from the largest, of the count of the neighbours that a pixel is compared with."""


MOST_NAMED = 4
"""Hot pixels whose places are named."""


def said_of(places: Sequence[tuple[int, int]]) -> str:
    """Return hot pixels, each a column and a row, in words."""
    named = [f"x {x}, y {y}" for x, y in places[:MOST_NAMED]]
    more = ["..."] if len(places) > MOST_NAMED else []
    return f"{len(places):,} hot pixel{'s'[: len(places) > 1]} ({'; '.join(named + more)})"


def hot(stream: Stream) -> npt.NDArray[np.bool_]:
    """Return which pixels of a recording are hot, bool [H, W].

    Raises:
        UserError: as `per_pixel`.
    """
    return hot_in(per_pixel(stream).sum(axis=0))


def hot_in(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Return which pixels are hot, bool [H, W].

    Args:
        counts: number of events of each pixel, int64 [H, W], of one recording or of several of one camera.
    """
    found = np.zeros(counts.shape, bool)
    y, x = np.nonzero(counts >= LEAST)
    if not len(y):
        return found
    # Beyond the edge there is nothing to compare with: such places rank below a pixel without events.
    around = np.pad(counts, REACH, constant_values=-1)
    size = 2 * REACH + 1
    places = [
        (down, right) for down in range(size) for right in range(size) if (down, right) != (REACH, REACH)
    ]
    neighbours = np.stack([around[y + down, x + right] for down, right in places])
    reference = np.partition(neighbours, -RANK, axis=0)[-RANK]
    found[y, x] = (reference >= 0) & (counts[y, x] > FACTOR * (1 + reference))
    return found
