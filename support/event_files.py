"""Writers of event files, from the published layouts and independent of the package's readers.

Each takes a path and a `Stream`, whose clock begins at its ``first``, and writes a valid file. Words of time
are repeated so often that no lap of a clock passes unseen.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from snnprune.data.events.stream import Asked, Stream
from support import event_tables

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt

    Integers = npt.NDArray[np.int64]


def stream(
    t: npt.ArrayLike, x: npt.ArrayLike, y: npt.ArrayLike, p: npt.ArrayLike, sensor: tuple[int, int]
) -> Stream:
    """Make a stream of columns; times may begin anywhere, and never decrease."""
    times = np.asarray(t, np.int64)
    first = int(times[0]) if len(times) else 0
    columns = np.asarray(x, np.uint16), np.asarray(y, np.uint16), np.asarray(p, np.bool_)
    return Stream(times - first, *columns, sensor, first)


def drawn(many: int, sensor: tuple[int, int] = (346, 260), *, seed: int = 0, gap: int = 30) -> Stream:
    """Draw events as a camera sends them: rows of neighbours at one time, some of them alone.

    Args:
        many: number of events.
        sensor: width and height.
        seed: of the random generator.
        gap: largest time between neighbouring rows, in microseconds.
    """
    rng = np.random.default_rng(seed)
    width, height = sensor
    row = np.repeat(np.arange(many), rng.integers(1, min(12, width), many))[:many]
    place = np.arange(many) - np.searchsorted(row, row)
    t = np.cumsum(rng.integers(0, gap + 1, many))[row]
    x = (rng.integers(0, width, many)[row] + place) % width
    return stream(t, x, rng.integers(0, height, many)[row], rng.integers(0, 2, many)[row], sensor)


def _clock(events: Stream) -> Integers:
    """Return times on the file's own clock."""
    return events.t + events.first


def _as_integers(events: Stream) -> tuple[Integers, Integers, Integers, Integers]:
    x, y, p = (events[name].astype(np.int64) for name in "xyp")
    return _clock(events), x, y, p


def _before(values: Integers) -> Integers:
    """Return the value before each, and -1 before the first."""
    return np.concatenate([[-1], values[:-1]])


def _marks(high: Integers, bits: int) -> tuple[Integers, Integers]:
    """Return how many words of time stand before each event, and all of them: at most a quarter lap apart."""
    steps = np.diff(high, prepend=high[:1] - 1)
    counts = -(-np.abs(steps) // (1 << (bits - 2)))
    left = np.repeat(counts - 1, counts) - _runs(np.zeros_like(counts), counts)
    value = np.repeat(high, counts) - np.repeat(np.sign(steps), counts) * left * (1 << (bits - 2))
    return counts, value & ((1 << bits) - 1)


def _header(encoding: str, version: str, sensor: tuple[int, int], more: str = "") -> bytes:
    width, height = sensor
    return (
        f"% date 2026-01-01 00:00:00\n% evt {version}\n"
        f"% format {encoding};height={height};width={width}{more}\n% geometry {width}x{height}\n% end\n"
    ).encode()


def _runs(starts: Integers, lengths: Integers) -> Integers:
    """Return the indices of runs that begin at ``starts``, one run after another."""
    return np.arange(int(lengths.sum())) + np.repeat(starts - np.cumsum(lengths) + lengths, lengths)


def evt2(path: Path, events: Stream) -> None:
    """Write Prophesee RAW, EVT 2.0: words of 32 bits, 4 of type, 6 of time, 11 of x and 11 of y."""
    t, x, y, p = _as_integers(events)
    marks, value = _marks(t >> 6, 28)
    words = np.empty(len(value) + len(t), np.int64)
    own = np.cumsum(marks + 1) - 1
    words[own] = p << 28 | (t & 63) << 22 | x << 11 | y
    words[np.delete(np.arange(len(words)), own)] = 8 << 28 | value
    path.write_bytes(_header("EVT2", "2.0", events.sensor) + words.astype("<u4").tobytes())


def evt21(path: Path, events: Stream, *, legacy: bool = False) -> None:
    """Write Prophesee RAW, EVT 2.1: words of 64 bits, up to 32 neighbours in one, as bits of the lower half.

    Args:
        path: the file.
        events: what to write.
        legacy: whether the upper half comes first, as from the IMX636.
    """
    t, x, y, p = _as_integers(events)
    begins = _changes(t, y, p, x >> 5) | (x <= _before(x))
    begins[:1] = True
    group = np.cumsum(begins) - 1
    mask = np.zeros(int(begins.sum()), np.int64)
    np.bitwise_or.at(mask, group, 1 << (x & 31))
    t, x, y, p = (column[begins] for column in (t, x, y, p))
    marks, value = _marks(t >> 6, 28)
    halves = np.zeros((len(value) + len(t), 2), np.int64)
    own = np.cumsum(marks + 1) - 1
    halves[own, 1] = p << 28 | (t & 63) << 22 | (x & ~31) << 11 | y
    halves[own, 0] = mask
    halves[np.delete(np.arange(len(halves)), own), 1] = 8 << 28 | value
    head = _header("EVT21", "2.1", events.sensor, ";endianness=legacy" if legacy else ";endianness=little")
    path.write_bytes(head + (halves[:, ::-1] if legacy else halves).astype("<u4").tobytes())


def evt21_legacy(path: Path, events: Stream) -> None:
    """Write EVT 2.1 with the upper half of each word first."""
    evt21(path, events, legacy=True)


def _changes(*columns: Integers) -> npt.NDArray[np.bool_]:
    """Return which events differ from the one before in a column; the first one always does."""
    return np.any([np.diff(column, prepend=-1) != 0 for column in columns], axis=0)


def evt3(path: Path, events: Stream, *, vectors: bool = True) -> None:
    """Write Prophesee RAW, EVT 3.0: words of 16 bits, 4 of type, which change the state that an event has.

    Args:
        path: the file.
        events: what to write.
        vectors: whether neighbours of a row are written as VECT_12 and VECT_8.
    """
    t, x, y, p = _as_integers(events)
    marks, value = _marks(t >> 12, 12)
    low, row = (marks > 0) | _changes(t & 4095), _changes(y)
    begins = _changes(t, y, p) | (x <= _before(x)) | (x - _before(x) > 24) | (not vectors)
    begins[:1] = True
    first, group = np.flatnonzero(begins), np.cumsum(begins) - 1
    last = np.append(first[1:], len(t))[: len(first)] - 1
    alone, vector = first == last, (x[last] - x[first]) // 12 + 1
    own = np.zeros(len(t), np.int64)
    own[first] = np.where(alone, 1, vector + 1)
    size = marks + low + row + own
    words, at = np.zeros(int(size.sum()), np.int64), np.cumsum(size) - size
    words[_runs(at, marks)] = 8 << 12 | value
    at += marks
    words[at[low]] = 6 << 12 | (t & 4095)[low]
    at += low
    words[at[row]] = y[row]
    at += row
    single, base, vector = first[alone], first[~alone], vector[~alone]
    words[at[single]] = 2 << 12 | p[single] << 11 | x[single]
    words[at[base]] = 3 << 12 | p[base] << 11 | x[base]
    within = np.flatnonzero(~alone[group])
    offset = x[within] - x[first[group[within]]]
    np.bitwise_or.at(words, at[first[group[within]]] + 1 + offset // 12, 1 << offset % 12)
    short = words[at[base] + vector] < 1 << 8
    words[_runs(at[base] + 1, vector)] |= 4 << 12
    words[(at[base] + vector)[short]] ^= (4 ^ 5) << 12
    path.write_bytes(_header("EVT3", "3.0", events.sensor) + words.astype("<u2").tobytes())


def evt3_single(path: Path, events: Stream) -> None:
    """Write EVT 3.0 without vectors."""
    evt3(path, events, vectors=False)


def dat(path: Path, events: Stream, *, version: int = 2) -> None:
    """Write Prophesee DAT: 32 bits of time, then x, y and the polarity.

    Args:
        path: the file.
        events: what to write.
        version: 2, with 14 bits of x and 14 of y; or 1, with 9 and 8.
    """
    t, x, y, p = _as_integers(events)
    across, down = (14, 14) if version == 2 else (9, 8)
    width, height = events.sensor
    head = f"% Data file containing CD events\n% Version {version}\n% Width {width}\n% Height {height}\n"
    pairs = np.stack([t & 0xFFFFFFFF, p << (across + down) | y << across | x], axis=1)
    path.write_bytes(head.encode() + bytes([12, 8]) + pairs.astype("<u4").tobytes())


def dat_first(path: Path, events: Stream) -> None:
    """Write DAT of version 1."""
    dat(path, events, version=1)


def atis_bin(path: Path, events: Stream) -> None:
    """Write the file of N-MNIST and N-Caltech101: 5 bytes an event. The sensor is not in the file.

    A mark of y = 240 stands for each 8,192 us that the 23 bits of time cannot hold.
    """
    t, x, y, p = _as_integers(events)
    marks = np.maximum(0, -(-(t - (1 << 23) + 1) // (1 << 13)))
    t -= marks << 13
    rows = np.zeros((len(t) + int(marks[-1] if len(t) else 0), 5), np.int64)
    rows[:, 1] = 240
    own = np.arange(len(t)) + marks
    rows[own] = np.stack([x, y, p << 7 | t >> 16, t >> 8 & 255, t & 255], axis=1)
    path.write_bytes(rows.astype(np.uint8).tobytes())


class Writer(NamedTuple):
    """What writes files of a format, and what these can hold.

    Attributes:
        suffix: ending of a file's name.
        write: of a path and a stream.
        sensor: the largest one, width and height.
        gap: the longest time between neighbouring events, in microseconds, that the format can tell, or tells
            in few bytes.
        only: whether its cameras have no other sensor.
        asked: what has to be said of such a file besides the sensor.
    """

    suffix: str
    write: Callable[[Path, Stream], None]
    sensor: tuple[int, int]
    gap: int = 1 << 40
    only: bool = False
    asked: Asked = Asked()

    def __str__(self) -> str:
        return self.write.__name__

    def said(self, sensor: tuple[int, int]) -> Asked:
        """Return what a user says of such a file, the sensor too."""
        return replace(self.asked, sensor=sensor)


ANY, LAP_32 = (65_535, 65_535), 1 << 31

WRITERS: dict[str, tuple[Writer, ...]] = {
    "Prophesee RAW": (
        Writer(".raw", evt2, (2048, 2048)),
        Writer(".raw", evt21, (2048, 2048)),
        Writer(".raw", evt21_legacy, (2048, 2048)),
        Writer(".raw", evt3, (2048, 2048), gap=1 << 32),
        Writer(".raw", evt3_single, (2048, 2048), gap=1 << 32),
    ),
    "Prophesee DAT": (
        Writer(".dat", dat, (16_384, 16_384), gap=LAP_32),
        Writer(".dat", dat_first, (512, 256), gap=LAP_32),
    ),
    "ATIS": (Writer(".bin", atis_bin, (256, 240), gap=1 << 32),),
    "AEDAT4": (Writer(".aedat4", event_tables.aedat4, (32_768, 32_768)),),
    "AEDAT": (
        Writer(".aedat", event_tables.aedat2, (346, 260), gap=LAP_32, only=True),
        Writer(".aedat", event_tables.aedat31, (346, 260), gap=LAP_32, only=True),
    ),
    "Event Stream": (Writer(".es", event_tables.es, ANY, gap=1 << 18),),
    "HDF5": (
        Writer(".h5", event_tables.h5_group, ANY, gap=1 << 26),
        Writer(".h5", event_tables.h5_compound, ANY),
    ),
    "numpy": (
        Writer(".npy", event_tables.npy_structured, ANY),
        Writer(".npy", event_tables.npy_table, ANY, asked=Asked(columns=("t", "x", "y", "p"))),
        Writer(".npz", event_tables.npz, ANY),
    ),
    "text": (
        Writer(".csv", event_tables.csv, ANY),
        Writer(".txt", event_tables.text, ANY, asked=Asked(columns=("t", "x", "y", "p"), unit="s")),
    ),
}
"""Those of each format that is read, by its title."""
