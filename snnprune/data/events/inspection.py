"""A look at every recording of a folder before anything is trained: nothing stops it, all is said."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from snnprune.common.console import legible
from snnprune.common.errors import UserError
from snnprune.data.events.statistics import measured, strip

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from snnprune.data.events.layouts import Listing, Recording
    from snnprune.data.events.statistics import Measured
    from snnprune.data.events.stream import Stream

    Read = Callable[[Recording], Stream]
    Frames = npt.NDArray[np.float64]

FRAMES = 8
"""Frames of a film strip."""


@dataclass(frozen=True)
class Look:
    """What was found in one recording.

    Attributes:
        recording: the file, or an interval of it.
        numbers: None where it cannot be read.
        failure: why it cannot be read, a sentence; "" where it can.
    """

    recording: Recording
    numbers: Measured | None
    failure: str = ""


@dataclass(frozen=True)
class Film:
    """One recording in pictures.

    Attributes:
        path: its file.
        span: microseconds from its first event to its last.
        frames: events a pixel in equal spans of time, pooled, float64 [FRAMES, 2, h, w].
    """

    path: Path
    span: int
    frames: Frames


@dataclass(frozen=True)
class Inspection:
    """What was found in a folder.

    Attributes:
        listing: the folder's classes and files.
        looks: one for each recording, in the order of the listing.
        sensor: width and height of most recordings; None where none can be read.
        means: by label, events a pixel of a mean recording of this sensor, pooled, float64 [2, h, w].
        films: by label, the recording whose number of events is the median of its class.
    """

    listing: Listing
    looks: tuple[Look, ...]
    sensor: tuple[int, int] | None = None
    means: dict[int, Frames] = field(default_factory=dict)
    films: dict[int, Film] = field(default_factory=dict)

    def numbers(self, label: int | None = None) -> list[Measured]:
        """Return the numbers of the recordings that can be read, of all classes or of one."""
        return [
            look.numbers
            for look in self.looks
            if look.numbers is not None and label in (None, look.recording.label)
        ]


def inspected(listing: Listing, read: Read, seen: Callable[[], None] = lambda: None) -> Inspection:
    """Look at each recording of a folder, one at a time.

    Args:
        listing: the recordings.
        read: returns the events of a recording, or raises a UserError that names it.
        seen: called after each recording.
    """
    looks: list[Look] = []
    sums: dict[tuple[int, tuple[int, int]], Frames] = {}
    for recording in listing.recordings:
        try:
            numbers, frame = measured(read(recording))
        except (UserError, MemoryError) as error:
            looks.append(Look(recording, None, _why(recording, error)))
        else:
            looks.append(Look(recording, numbers))
            place = recording.label, numbers.sensor
            sums[place] = sums[place] + frame if place in sums else frame
        seen()
    sensors = Counter(look.numbers.sensor for look in looks if look.numbers is not None)
    if not sensors:
        return Inspection(listing, tuple(looks))
    sensor = sensors.most_common(1)[0][0]
    many = Counter(look.recording.label for look in looks if look.numbers and look.numbers.sensor == sensor)
    means = {label: sums[label, sensor] / count for label, count in sorted(many.items())}
    return Inspection(listing, tuple(looks), sensor, means, _films(looks, sensor, read))


def _why(recording: Recording, error: UserError | MemoryError) -> str:
    """Return a sentence that names the recording."""
    if isinstance(error, MemoryError):
        return legible(f"{recording.path} does not fit into the memory")
    named = str(recording.path) in str(error)
    return legible(error if named else f"{recording.path}: {error}")


def _films(looks: list[Look], sensor: tuple[int, int], read: Read) -> dict[int, Film]:
    """Return for each class the recording of the median number of events, of those of the sensor."""
    by_label: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for number, look in enumerate(looks):
        if look.numbers is not None and look.numbers.sensor == sensor:
            by_label[look.recording.label].append((look.numbers.events, number))
    films = {}
    for label, found in sorted(by_label.items()):
        recording = looks[sorted(found)[(len(found) - 1) // 2][1]].recording
        try:
            stream = read(recording)
            films[label] = Film(recording.path, int(stream.t[-1] - stream.t[0]), strip(stream, FRAMES))
        except (UserError, MemoryError):  # the file has changed since it was looked at
            continue
    return films
