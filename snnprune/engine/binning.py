"""Events of one time step become a sparse frame: each event is looked at once."""

# ruff: noqa: PLR0917 - the arguments of a kernel

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from snnprune.common.compiling import compiled
from snnprune.data.frames import OUTSIDE as NOWHERE

if TYPE_CHECKING:
    import numpy.typing as npt

    from snnprune.data.events.grid import Grid
    from snnprune.engine.plan import Shape

    Array = npt.NDArray[Any]

ALL, NEXT, LATE, OUTSIDE = range(4)
"""Why `take` stopped: no more events; one of a later step; one that is refused, late or outside."""

TAKEN, WERE_LATE, WERE_OUTSIDE, UNSEEN, FULL = range(5)
"""Places in a tally."""

MOST = 255
"""Events of a cell that a frame holds (`snnprune.data.frames.to_frames`)."""

HIDDEN, FOREIGN = -1, -2
"""In place of a column, row or channel: that a frame does not show; that the sensor does not have."""


def tables(shape: Shape, grid: Grid | None) -> tuple[Array, Array, Array]:
    """Return what a column, a row and a polarity add to a place in a frame, int32 [65536], [65536] and [256].

    `HIDDEN` and `FOREIGN` stand for what has no place. The last column and row stand for all beyond.

    Args:
        shape: channels, height and width of a frame. Places count channels, then rows, then columns.
        grid: from the sensor to frames of this shape; None where an event's p, y and x are its place.
    """
    polarities, height, width = shape
    columns, rows = np.full((2, 2**16), FOREIGN, np.int32)
    places: tuple[Array, Array] = (np.arange(width), np.arange(height)) if grid is None else grid.places()
    for table, own, by in zip((columns, rows), places, (1, width), strict=True):
        table[: len(own)] = np.where(own == NOWHERE, HIDDEN, own.astype(np.int32) * by)
        table[-1] = FOREIGN
    channels = np.full(256, FOREIGN, np.int32)
    if grid is None:
        channels[:polarities] = np.arange(polarities) * height * width
    else:
        channels[0] = HIDDEN if grid.polarity == "on" else 0
        channels[1] = height * width if grid.polarity == "both" else 0
    return columns, rows, channels


@compiled
def take(  # type: ignore[no-untyped-def]
    t, x, y, p, at, first, final, restart, columns, rows, channels, counts, places, many, strict, tally
):
    """Count the events of a step, from event ``at`` on.

    Returns:
        Where it stopped, why, the number of cells with events, and whether there was an event of the step.

    Args:
        t: int64 [n], times.
        x: uint16 [n], columns.
        y: uint16 [n], rows.
        p: uint8 [n], polarities.
        at: the first event.
        first: the earliest time of the step.
        final: the latest.
        restart: a time at or before which an event is refused as late in any case.
        columns: as `tables` returns them.
        rows: as `tables` returns them.
        channels: as `tables` returns them.
        counts: uint8 [cells], events of each cell; a count of 255 stays.
        places: int64 [cells], the cells with events, in the order of their first ones.
        many: number of them so far.
        strict: whether late events are refused, and those outside of the sensor, and whether it is not known
            yet when the first step begins; bool [3].
        tally: int64 [5], see `TAKEN`.
    """
    seen = False
    for i in range(at, len(t)):
        column, row, channel = columns[x[i]], rows[y[i]], channels[p[i]]
        if min(column, row, channel) == FOREIGN:
            if strict[1]:
                return i, OUTSIDE, many, seen
            tally[WERE_OUTSIDE] += 1
            continue
        now = t[i]
        if now > final or strict[2]:
            return i, NEXT, many, seen
        if now < first:
            if strict[0] or now <= restart:
                return i, LATE, many, seen
            tally[WERE_LATE] += 1
            continue
        seen = True
        if min(column, row, channel) == HIDDEN:
            tally[UNSEEN] += 1
            continue
        tally[TAKEN] += 1
        place = np.uintp(column + row + channel)
        count = counts[place]
        if count == 0:
            places[many] = place
            many += 1
        if count < MOST:
            counts[place] = count + 1
    return len(t), ALL, many, seen


@compiled
def emptied(counts, places, many, values, tally):  # type: ignore[no-untyped-def]
    """Write the counts of ``many`` places to ``values``, and clear them."""
    for i in range(many):
        place = np.uintp(places[i])
        values[i] = counts[place]
        if counts[place] == MOST:
            tally[FULL] += 1
        counts[place] = 0
