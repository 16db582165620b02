"""The gate that every recording passes: nothing is cast before it was checked, and nothing is guessed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from snnprune.data.events.stream import Stream, owned, usable

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from snnprune.data.events.stream import Asked, Raw, Unit

TO_MICROSECONDS: dict[Unit, tuple[int, int]] = {
    "s": (1_000_000, 1),
    "ms": (1_000, 1),
    "us": (1, 1),
    "ns": (1, 1_000),
}
"""By which a time is multiplied, and then divided, rounding down."""

LONGEST = 2**42
"""Microseconds of a recording: seven weeks. Multiplied by any sensible T they still fit an int64."""

PIECE = 2**14
"""Times that are looked at together: what is made of them stays in the processor's cache."""

RESTART = 2**23
"""Microseconds that times of events out of order never fall by: half a lap of the shortest clock in use, of
24 bits. Events come late by milliseconds."""

WIDEST = 2**16
"""Most columns or rows of a sensor: a coordinate has 16 bits behind the gate."""

FEW = 2**18
"""Events below which looking at one column after another takes less than importing the compiler."""


def admitted(raw: Raw, asked: Asked) -> Stream:
    """Return the events of a recording, checked, in microseconds from the first event, and in order of time.

    Events out of order are sorted stably and counted.

    Raises:
        ValueError: there are no events; columns have different lengths or are not numbers; a time has no
            unit or is not finite; times span more than `LONGEST`; polarities are neither bool, nor 0 and 1,
            nor -1 and 1; times fall as where a clock begins again; the size of the sensor is not known; or
            an event lies outside the sensor. The message is the end of a sentence that begins with the file.
    """
    counts = {name: len(getattr(raw, name)) for name in "txyp"}
    if len(set(counts.values())) > 1:
        raise ValueError(f"its columns have different lengths: {counts}")
    if not counts["t"]:
        raise ValueError("it has no events")
    sensor = _sensor(raw, asked)
    at_once = _at_once(raw, asked, sensor)
    return _looked_through(raw, asked, sensor) if at_once is None else at_once


def _at_once(raw: Raw, asked: Asked, sensor: tuple[int, int]) -> Stream | None:
    """Return the events of a recording that is plain and worth it, or None.

    A reader whose times begin at 0 has written all columns itself, and they are looked at where they are.
    """
    if len(raw.t) < FEW or raw.t.dtype.kind not in "iu" or (usable(raw.t, np.int64) and not raw.t[0]):
        return None
    from snnprune.data.events.taking import taken  # noqa: PLC0415 - imports a compiler

    columns = taken(raw, sensor)
    if columns is None:
        return None
    times, x, y, on = columns
    by, over = TO_MICROSECONDS[raw.unit or asked.unit or "us"]
    if int(times[-1]) * by // over >= LONGEST:
        return None
    if by != over:
        times *= by
        times //= over
    first = (int(raw.t[0]) + raw.zero) * by // over
    return Stream(times, x, y, on, sensor, first, remarks=raw.remarks)


def _looked_through(raw: Raw, asked: Asked, sensor: tuple[int, int]) -> Stream:
    """Return the events of any recording, column by column.

    Raises:
        ValueError: as of `admitted`.
    """
    times, first, ordered = _microseconds(raw, asked)
    width, height = sensor
    found = Stream(
        times,
        _places("x", raw.x, width),
        _places("y", raw.y, height),
        _polarity(raw.p),
        sensor,
        first,
        remarks=raw.remarks,
    )
    if ordered:
        return found
    _check_falls(raw.t, times)
    early = int(np.count_nonzero(times < np.maximum.accumulate(times)))
    return replace(found.picked(np.argsort(times, kind="stable")), disordered=early)


def _check_falls(own: npt.NDArray[Any], times: npt.NDArray[np.int64]) -> None:
    """Check that times fall as events out of order do, and not as a clock that begins again.

    Sorting would put one lap into another, and nobody would see it.
    """
    falls = times[:-1] - times[1:]
    at = int(falls.argmax())
    narrow = own.dtype.kind in "iu" and own.dtype.itemsize < 4
    half = int(np.iinfo(own.dtype).max) // 2 if narrow else RESTART
    fall = int(own[at]) - int(own[at + 1]) if narrow else int(falls[at])
    if fall >= half:
        raise ValueError(
            f"its times fall by {int(falls[at]):,} us behind event {at + 1:,}, as where a clock begins again "
            "or two recordings were joined: split the file there, or write times that go on"
        )


def _sensor(raw: Raw, asked: Asked) -> tuple[int, int]:
    if asked.sensor is not None and raw.sensor is not None and asked.sensor != raw.sensor:
        raise ValueError(
            "its header says that the sensor has {} x {} pixels, and --data.sensor {}x{}: leave the option "
            "out, or correct it".format(*raw.sensor, *asked.sensor)
        )
    sensor = raw.sensor or asked.sensor
    if sensor is None:
        raise ValueError(
            "it does not say how many pixels the sensor has: give --data.sensor WIDTHxHEIGHT, such as "
            "346x260 (the largest event says only how far one was seen)"
        )
    if not all(0 < size <= WIDEST for size in sensor):
        raise ValueError(
            f"a sensor cannot have {sensor[0]} x {sensor[1]} pixels: give --data.sensor WIDTHxHEIGHT"
        )
    return sensor


def _microseconds(raw: Raw, asked: Asked) -> tuple[npt.NDArray[np.int64], int, bool]:
    """Return times in microseconds from the earliest one, that one, and whether they never decrease.

    Laps of the clock are undone.
    """
    kind = raw.t.dtype.kind
    if kind not in "iuf":
        raise ValueError(f"its times are of the type {raw.t.dtype}, which is no number")
    unit = raw.unit or asked.unit
    if unit is None and kind == "f":
        raise ValueError("its times are floats without a unit: give --data.time_unit s, ms, us or ns")
    by, over = TO_MICROSECONDS[unit or "us"]
    if kind == "f":
        if not np.isfinite(raw.t).all():
            raise ValueError("it has times that are not finite")
        since = _rounded(raw.t.astype(np.float64), by, over)
        return since, round((float(raw.t.min()) + raw.zero) * by / over), _in_order(since)
    times = _unwrapped(raw.t, raw.lap)
    ordered = _in_order(times)
    first, last = (int(time) for time in (times[[0, -1]] if ordered else (times.min(), times.max())))
    if (last - first) * by // over >= LONGEST:
        raise ValueError(f"its events span more than {LONGEST} microseconds")
    # Unsigned times of 64 bits may lie beyond an int64; their differences do not.
    since = owned((times - times.dtype.type(first) if first else times).astype(np.int64, copy=False))
    return (since if by == over else since * by // over), (first + raw.zero) * by // over, ordered


def _pieces(times: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
    """Yield runs of times, each of which begins with the last one of the run before."""
    for at in range(0, max(len(times) - 1, 1), PIECE):
        yield times[at : at + PIECE + 1]


def _in_order(times: npt.NDArray[Any]) -> bool:
    return all((piece[1:] >= piece[:-1]).all() for piece in _pieces(times))


def _unwrapped(times: npt.NDArray[Any], lap: int | None) -> npt.NDArray[Any]:
    """Return times in 64 bits; where one falls by half a lap or more, the clock began anew.

    A rise of exactly half a lap is one: cameras go on, and events out of order are late by much less.
    """
    wide = times if times.dtype.itemsize == 8 else times.astype(np.int64)
    if lap is None:
        return wide
    signed = wide.astype(np.int64, copy=False)
    half = lap // 2
    if all(((-half < steps) & (steps <= half)).all() for steps in map(np.diff, _pieces(signed))):
        return signed
    steps = np.diff(signed)
    # An event out of order goes back a lap.
    laps = np.cumsum((steps <= -half).astype(np.int64) - (steps > half))
    return np.concatenate([signed[:1], signed[1:] + laps * lap])


def _rounded(times: npt.NDArray[np.float64], by: int, over: int) -> npt.NDArray[np.int64]:
    """Return float times from the earliest one, rounded to the nearest whole microsecond."""
    since = np.rint((times - times.min()) * by / over)
    if since.max() >= LONGEST:
        raise ValueError(f"its events span more than {LONGEST} microseconds")
    return since.astype(np.int64)


def _polarity(p: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Return which events are ON."""
    # The bytes of truth values in a damaged file may be others than 0 and 1.
    p = owned(p.view(np.uint8) if p.dtype.kind == "b" else p)
    if p.dtype == np.uint8 and p.max() <= 1:
        return p.view(np.bool_)
    if p.dtype.kind not in "iuf":
        raise ValueError(f"its polarities are of the type {p.dtype}, which is no number")
    on: npt.NDArray[np.bool_] = p == 1
    for off in (0, -1):
        if (on | (p == off)).all():
            return on
    odd = p[~on & (p != 0)] if (p == 0).any() else p[~on & (p != -1)]
    raise ValueError(f"its polarities must be 0 and 1, or -1 and 1, and one is {odd[0]}")


def _places(name: str, values: npt.NDArray[Any], size: int) -> npt.NDArray[np.uint16]:
    if values.dtype.kind not in "iuf":
        raise ValueError(f"its {name} is of the type {values.dtype}, which is no number")
    if values.dtype.kind == "f" and not (np.isfinite(values) & (values == np.rint(values))).all():
        raise ValueError(f"its values of {name} must be whole numbers, and are not")
    values = owned(values)  # columns of a table are far apart: each look at them takes longer
    low, high = values.min(), values.max()
    if low < 0 or high >= size:
        raise ValueError(
            f"its {name} must be from 0 to {size - 1}, and runs from {int(low)} to {int(high)}: compare the "
            "sensor's size, and the order of the columns"
        )
    return values.astype(np.uint16, copy=False)
