"""From one recording to samples: one for the whole of it, or one for each window of time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from snnprune.common.errors import UserError
from snnprune.config.values import microseconds
from snnprune.data.events.grid import grid
from snnprune.data.events.hot import hot, said_of
from snnprune.data.events.interval import interval
from snnprune.data.frames import to_frames

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from snnprune.config.schema import DataConfig
    from snnprune.data.events.grid import Grid
    from snnprune.data.events.layouts import Recording
    from snnprune.data.events.stream import Stream

WHOLE = 0.9
"""Share of a window that a recording must fill for it to be one. The last event of a recording of 900 ms
comes a little before its end, and its third window of 300 ms is not to be lost for that."""

MOST_COUNTS = 255
"""Events of a cell that a frame can hold."""

LARGEST = 2**29
"""Most bytes of a sample."""


@dataclass(frozen=True)
class Samples:
    """The samples of one recording.

    Attributes:
        frames: yields uint8 [T, P, H, W], one for each sample.
        remarks: what the user should know, each the end of a sentence that begins with the file. It is
            complete once all frames were made.
    """

    frames: Iterator[npt.NDArray[np.uint8]]
    remarks: list[str]


@dataclass(frozen=True)
class Shown:
    """What the samples of a recording show.

    Attributes:
        stream: the events of the sensor, without those of hot pixels where they are removed.
        grid: from the sensor's pixels to those of a frame.
        events: the events that frames show, at their place in them; at least one.
        spans: where each sample begins and ends, in microseconds of the stream.
        remarks: as in `Samples`.
    """

    stream: Stream
    grid: Grid
    events: Stream
    spans: list[tuple[int, int]]
    remarks: list[str]


def samples(stream: Stream, recording: Recording, config: DataConfig, *, named: bool = False) -> Samples:
    """Cut a recording, or its labelled interval, into samples of frames.

    Args:
        stream: the events of the file.
        recording: its interval.
        config: how events become frames.
        named: whether pixels that fire far more often than all around them are remarked on.

    Raises:
        UserError: frames of this size cannot be had of such a sensor.
        ValueError: there are no events in the interval, the crop or the windows. The message is the end of a
            sentence that begins with the file. The frames raise it, too.
    """
    shown = laid_out(stream, recording, config, named=named)
    return Samples(_frames(shown, config), shown.remarks)


def laid_out(stream: Stream, recording: Recording, config: DataConfig, *, named: bool = False) -> Shown:
    """Return what the samples of a recording, or of its labelled interval, show, and when; as `samples`."""
    remarks = list(stream.remarks)
    if stream.disordered:
        remarks.append(f"has {stream.disordered:,} events out of order, which were sorted by time")
    last = int(stream.t[-1])
    stream, begin, end = interval(stream, recording)
    stream = _without_hot(stream, config, remarks, named=named)
    try:
        shown = grid(config, stream.sensor)
    except ValueError as error:
        size = "{} x {}".format(*stream.sensor)
        raise UserError(f"{recording.path} is of a sensor of {size} pixels, which {error}") from error
    if config.time_steps * math.prod(shown.shape) > LARGEST:
        size = " x ".join(map(str, (config.time_steps, *shown.shape)))
        raise UserError(
            f"{recording.path} would have samples of {size} bytes, more than {LARGEST:,}: pool its pixels "
            "with --data.size, such as --data.size 64x64"
        )
    events = shown.onto(stream)
    if not len(events):
        raise ValueError("has no events of the polarity and the part of the sensor that are asked for")
    return Shown(stream, shown, events, _spans(begin, end, last, config, remarks), remarks)


def _without_hot(stream: Stream, config: DataConfig, remarks: list[str], *, named: bool) -> Stream:
    if config.hot_pixels == "keep" and not named:
        return stream
    pixels = hot(stream)
    if not pixels.any():
        return stream
    y, x = np.nonzero(pixels)
    said = said_of(list(zip(x.tolist(), y.tolist(), strict=True)))
    if config.hot_pixels == "keep":
        remarks.append(f"has {said}: --data.hot_pixels remove leaves their events out")
        return stream
    remarks.append(f"has {said}, whose events were left out")
    left = stream.picked(~pixels[stream.y, stream.x])
    if not len(left):
        raise ValueError(f"has no events but those of {said}")
    return left


def _spans(
    begin: int | None, end: int | None, last: int, config: DataConfig, remarks: list[str]
) -> list[tuple[int, int]]:
    """Return where samples begin and end.

    Args:
        begin: beginning of the labelled interval; None for the first event of the file.
        end: end of the interval; None for after the last event of the file.
        last: time of the last event.
        config: how long a sample is.
        remarks: gets what is left out.
    """
    first, after = 0 if begin is None else begin, last + 1 if end is None else end
    if config.window is not None:
        window = microseconds(config.window)
        stride = microseconds(config.stride) if config.stride is not None else window
        need = window if end is not None else math.ceil(window * WHOLE)
        begins = range(first, after - need + 1, stride)
        if not begins:
            remarks.append(
                f"lasts {after - first:,} us, less than data.window {config.window}: the end of its "
                "only sample is empty"
            )
        return [(at, at + window) for at in begins or (first,)]
    if config.bin is not None:
        shown = config.time_steps * microseconds(config.bin)
        if after - first > shown:
            remarks.append(
                f"lasts {after - first:,} us, and {config.time_steps} frames of {config.bin} show the first "
                f"{shown:,}: more data.time_steps or a longer data.bin show all, and data.window makes "
                "several samples of it"
            )
        return [(first, first + shown)]
    return [(first, after)]


def _frames(shown: Shown, config: DataConfig) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield the frames of each span that has events."""
    events, spans, remarks = shown.events, shown.spans, shown.remarks
    silent = full = 0
    for span in spans:
        inside = events.picked(slice(*np.searchsorted(events.t, span)))
        if not len(inside):
            silent += 1
            continue
        frames = to_frames(inside, config.time_steps, shown.grid.shape, config.binning, span)
        full += int(np.count_nonzero(frames == MOST_COUNTS)) if frames.max() == MOST_COUNTS else 0
        yield frames
    if silent == len(spans):
        raise ValueError("has no events in the time that its samples show")
    if silent:
        remarks.append(f"has {silent:,} windows without events, which were left out")
    if full:
        remarks.append(
            f"has {full:,} counts of {MOST_COUNTS} or more events in one cell, which stay at {MOST_COUNTS}: "
            "take more data.time_steps, or pool fewer pixels"
        )
