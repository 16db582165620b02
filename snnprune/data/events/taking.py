"""Columns of whole numbers, checked and copied in one pass while a piece of them is in the processor's cache.

Most recordings are plain: whole numbers in order, within the sensor. They go this way, on which each number
is read once. Half of the time is the system's, which hands out the memory, so pieces are shared among torch's
threads. What is not plain is left to the gate's look at one column after another, which knows what may still
pass, and has the words for what may not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from snnprune.common.compiling import compiled
from snnprune.common.threads import share
from snnprune.data.events.stream import usable

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from snnprune.data.events.stream import Raw

    Places = npt.NDArray[np.uint16]
    Columns = tuple[npt.NDArray[np.int64], Places, Places, npt.NDArray[np.bool_]]
    Check = Callable[[slice], bool]

PIECE = 2**16
"""Events that are taken together: all columns of them fit into a processor's second cache."""

LEAP = 2**45
"""Longest step between two times: those of a piece add up to less than 2^63, so that no sum comes round."""


def taken(raw: Raw, sensor: tuple[int, int]) -> Columns | None:
    """Return times from the first one, columns, rows, and whether each event is ON; or None if not plain.

    Times stay in the unit of the file.

    Args:
        raw: columns of equal lengths, with one event at least.
        sensor: width and height.
    """
    polarity = raw.p.view(np.uint8) if raw.p.dtype.kind == "b" else raw.p
    if not all(c.dtype.kind in "iu" and c.dtype.isnative for c in (raw.t, raw.x, raw.y, polarity)):
        return None
    width, height = sensor
    t, in_order = _times(raw.t, raw.lap)
    x, across = _places(raw.x, width)
    y, down = _places(raw.y, height)
    on, either = _polarities(polarity)

    def plain(first: int, last: int) -> bool:
        pieces = (slice(at * PIECE, (at + 1) * PIECE) for at in range(first, last))
        return all(in_order(each) and across(each) and down(each) and either(each) for each in pieces)

    return (t, x, y, on) if all(share(plain, -(-len(t) // PIECE), len(t))) else None


def _times(values: npt.NDArray[Any], lap: int | None) -> tuple[npt.NDArray[np.int64], Check]:
    """Return room for times from the first one, and what fills a piece of it if they never fall, nor leap."""
    values = _read_only(values)
    since = np.empty(len(values), np.int64)
    first = values[0]
    longest = LEAP if lap is None else min(lap // 2, LEAP)

    def take(piece: slice) -> bool:
        own, found = values[piece], since[piece]
        step = elapsed(own, first, values[max(piece.start - 1, 0)], found)
        # Differences come round at 2^64. With steps this short, none has if the last one is right.
        return bool(step <= longest and 0 <= int(own[-1]) - int(first) == int(found[-1]))

    return since, take


def _places(values: npt.NDArray[Any], size: int) -> tuple[npt.NDArray[np.uint16], Check]:
    """Return the places, or room for them, and what fills a piece of it if all are within the sensor."""
    if usable(values, np.uint16):
        return values, lambda piece: bool(values[piece].max() < size)
    own, found = _read_only(values), np.empty(len(values), np.uint16)
    return found, lambda piece: bool(largest(own[piece], found[piece]) < size)


def _polarities(values: npt.NDArray[Any]) -> tuple[npt.NDArray[np.bool_], Check]:
    """Return which events are ON, or room for it, and what fills a piece of it if each is ON or OFF.

    OFF is -1 if there is a negative number at the beginning, and else 0.
    """
    if usable(values, np.uint8):
        return values.view(np.bool_), lambda piece: bool(values[piece].max() <= 1)
    own, found = _read_only(values), np.empty(len(values), np.bool_)
    off = -1 if own[:PIECE].min() < 0 else 0
    return found, lambda piece: mapped(own[piece], off, found[piece]) in (0, 1 - off)


def _read_only(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a view that is not writeable: what may be written to would be compiled for once more."""
    view = values.view()
    view.flags.writeable = False
    return view


@compiled
def elapsed(t, first, last, since):  # type: ignore[no-untyped-def]
    """Write times from ``first`` on, and return the longest step, the first one from the time ``last`` on.

    A step back is as one of more than 2^63.
    """
    longest, before = np.uint64(0), np.int64(last - first)
    for n in range(t.size):
        i = np.uintp(n)
        now = np.int64(t[i] - first)
        longest = max(longest, np.uint64(now - before))
        since[i] = before = now
    return longest


@compiled
def largest(values, found):  # type: ignore[no-untyped-def]
    """Write the lower 16 bits of whole numbers, and return the largest number; any below 0 is above all."""
    most = np.uint64(0)
    for n in range(values.size):
        i = np.uintp(n)
        most = max(most, np.uint64(values[i]))
        found[i] = values[i]
    return most


@compiled
def mapped(values, off, on):  # type: ignore[no-untyped-def]
    """Write whether whole numbers differ from ``off``, and return all bits of how much they do."""
    bits = np.int64(0)
    for n in range(values.size):
        i = np.uintp(n)
        above = np.int64(values[i]) - off
        bits |= above
        on[i] = above != 0
    return bits
