"""What recordings are like: numbers of one, of a class of them, and which lie far from the others."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from snnprune.data.events.counts import per_pixel
from snnprune.data.events.hot import hot_in
from snnprune.data.frames import edges

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from snnprune.data.events.stream import Stream

FAR = 10
"""A number is far from the others where it is more than this many times their median, or less than one part
in as many."""

FEWEST = 3
"""Fewest recordings of a class that one of them is compared with the median of."""

WIDEST = 128
"""Most columns and rows of a pooled frame."""

BINS = 128
"""Spans of time in which the events of a recording are counted."""


@dataclass(frozen=True)
class Course:
    """How many events a recording has over time.

    Attributes:
        width: microseconds of each span of time, a power of two.
        counts: int32 [BINS], events in each span, from the first event on.
    """

    width: int
    counts: npt.NDArray[np.int32]


@dataclass(frozen=True)
class Measured:
    """The numbers of one recording.

    Attributes:
        events: number of events.
        on: number of ON events.
        span: microseconds from the first event to the last.
        sensor: width and height.
        disordered: number of events that were out of order in the file.
        hot: columns and rows of hot pixels.
        remarks: of the reader, each the end of a sentence that begins with the file.
        course: events over time.
    """

    events: int
    on: int
    span: int
    sensor: tuple[int, int]
    disordered: int
    hot: tuple[tuple[int, int], ...]
    remarks: tuple[str, ...]
    course: Course

    @property
    def rate(self) -> float | None:
        """Events a second; None where all events have one time."""
        return self.events * 1e6 / self.span if self.span else None

    @property
    def share(self) -> float:
        """Share of ON events."""
        return self.on / self.events


def measured(stream: Stream) -> tuple[Measured, npt.NDArray[np.float64]]:
    """Return the numbers of a recording, and its events a pixel, pooled, float64 [2, h, w]: OFF, then ON.

    Beside the events it needs some hundred megabytes, however many there are.

    Raises:
        UserError: as `per_pixel`.
    """
    counts = per_pixel(stream)
    y, x = np.nonzero(hot_in(counts.sum(axis=0)))
    numbers = Measured(
        events=len(stream),
        on=int(counts[1].sum()),
        span=int(stream.t[-1] - stream.t[0]),
        sensor=stream.sensor,
        disordered=stream.disordered,
        hot=tuple(zip(x.tolist(), y.tolist(), strict=True)),
        remarks=stream.remarks,
        course=course(stream.t),
    )
    return numbers, pooled(counts)


def course(times: npt.NDArray[np.int64]) -> Course:
    """Count events in `BINS` spans, as short as a power of two allows.

    Args:
        times: microseconds, never decreasing; at least one.
    """
    first = int(times[0])
    width = 1 << ((int(times[-1]) - first) // BINS).bit_length()
    cuts = np.searchsorted(times, first + width * np.arange(BINS + 1))
    return Course(width, np.diff(cuts).astype(np.int32))


def pooled(frames: npt.NDArray[Any], most: int = WIDEST) -> npt.NDArray[np.float64]:
    """Return the mean of squares of pixels, so that no side is longer than ``most``, float64 [..., h, w].

    Args:
        frames: numbers of events, [..., H, W].
        most: most rows and columns.
    """
    height, width = frames.shape[-2:]
    by = -(-max(height, width) // most)
    rows, columns = np.arange(0, height, by), np.arange(0, width, by)
    sums = np.add.reduceat(np.add.reduceat(frames, rows, axis=-2), columns, axis=-1)
    # The last row and column of squares may be cut by the sensor's edge.
    area = np.diff(np.append(rows, height))[:, None] * np.diff(np.append(columns, width))
    found: npt.NDArray[np.float64] = sums / area
    return found


def strip(stream: Stream, frames: int) -> npt.NDArray[np.float64]:
    """Return events a pixel in equal spans of the recording, pooled, float64 [frames, 2, h, w]."""
    cuts = edges(stream.t, frames, "time")
    parts = (stream.picked(slice(begin, end)) for begin, end in pairwise(cuts))
    return np.stack([pooled(per_pixel(part)) for part in parts])


@dataclass(frozen=True)
class Range:
    """The middle and the ends of several numbers."""

    median: float
    low: float
    high: float


def spread(numbers: Sequence[float]) -> Range | None:
    """Return the median, the lowest and the highest of ``numbers``; None where there is none."""
    return Range(float(np.median(numbers)), min(numbers), max(numbers)) if numbers else None


def far(numbers: Sequence[float]) -> Iterator[bool]:
    """Yield for each of the ``numbers`` of a class whether it lies far from their median.

    Of fewer than `FEWEST` numbers, or where the median is zero, none does.
    """
    median = float(np.median(numbers)) if len(numbers) >= FEWEST else 0.0
    for number in numbers:
        yield median > 0 and not median / FAR <= number <= median * FAR


@dataclass(frozen=True)
class Rates:
    """Events a second over time, of several recordings.

    Attributes:
        times: seconds from the first event to the middle of each span, [n].
        mean: over the recordings, [n]; one that has ended counts as silent.
        low: that a tenth of the recordings stays below, [n].
        high: that a tenth of the recordings exceeds, [n].
    """

    times: npt.NDArray[np.floating]
    mean: npt.NDArray[np.floating]
    low: npt.NDArray[np.floating]
    high: npt.NDArray[np.floating]


def rates(courses: Sequence[Course], most: int = BINS // 2) -> Rates:
    """Return the events a second of several recordings, at least one, in at most ``most`` spans of time."""
    width = max(one.width for one in courses)
    counts = np.stack([_coarsened(one, width) for one in courses])
    used = int(np.flatnonzero(counts.any(axis=0))[-1]) + 1
    while used > most:
        width, used = 2 * width, -(-used // 2)
        counts = counts.reshape(len(counts), -1, 2).sum(axis=2)
    found = counts[:, :used] * (1e6 / width)
    low, high = np.quantile(found, (0.1, 0.9), axis=0)
    return Rates((np.arange(used) + 0.5) * width * 1e-6, found.mean(axis=0), low, high)


def _coarsened(one: Course, width: int) -> npt.NDArray[np.int64]:
    """Return the counts in spans of ``width``, the own width times a power of two, int64 [BINS]."""
    by = min(width // one.width, BINS)
    sums = one.counts.astype(np.int64).reshape(-1, by).sum(axis=1)
    return np.pad(sums, (0, BINS - len(sums)))
