"""Turn events into frames: counts per bin of time, polarity and pixel.

Three rules say where a bin ends. For events at t_1 <= ... <= t_n and bins k = 0 .. T-1:

    time    k = floor((t_i - t_1) T / (t_n - t_1 + 1))   equal spans; every event has a bin
    count   k = floor((i - 1) T / n)                     equal counts (to within one); every event has a bin
    tonic   k = floor((t_i - t_1) / w), w = floor((t_n - t_1) / T)
            as Tonic's `ToFrame(n_time_bins=T)`: events with k >= T, always the last one, are dropped; a
            recording shorter than T microseconds (w = 0), which would have empty frames, is refused

Where a sample is given a span of time [a, b) of its own, as a window has, the first rule divides that span:
k = floor((t_i - a) T / (b - a)), and events outside of it are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from snnprune.data.events.stream import Stream

Binning = Literal["time", "count", "tonic"]

OUTSIDE = 2**16 - 1
"""A column or row that no frame has: it would not fit any memory."""


def to_frames(
    events: npt.NDArray[np.void] | Stream,
    T: int,
    shape: tuple[int, int, int],
    binning: Binning = "time",
    span: tuple[int, int] | None = None,
) -> npt.NDArray[np.uint8]:
    """Count the events of one recording.

    Args:
        events: stream, or structured array with fields x, y, p (whole numbers inside ``shape``) and t
            (microseconds, never decreasing); at least one event.
        T: number of bins.
        shape: polarities P, height H, width W.
        binning: the rule, see the module.
        span: beginning and end of the span that the rule "time" divides, in microseconds.

    Returns:
        uint8 [T, P, H, W]; a count above 255 stays at 255.

    Raises:
        ValueError: an event lies outside of the frames; or by the rule "tonic", every frame would be empty.
    """
    from snnprune.data.counting import count  # noqa: PLC0415 - imports a compiler

    cuts = edges(events["t"], T, binning, span)
    frames = np.zeros((T, *shape), np.uint8)
    x, y = (_unsigned(events[name]) for name in "xy")
    if not count(x, y, np.ascontiguousarray(events["p"], np.uint8), cuts, frames):
        raise ValueError(f"an event lies outside of frames of {shape[2]} x {shape[1]} pixels")
    return frames


def _unsigned(places: npt.NDArray[np.integer]) -> npt.NDArray[np.uint16]:
    """Return places in 16 bits; one that does not fit becomes the last, which no frame has."""
    if places.dtype != np.uint16:
        places = np.where((places >= 0) & (places < OUTSIDE), places, OUTSIDE).astype(np.uint16)
    return np.ascontiguousarray(places)


def edges(
    times: npt.NDArray[np.integer], T: int, binning: Binning, span: tuple[int, int] | None = None
) -> npt.NDArray[np.int64]:
    """Return where bins begin and end: bin k holds the events edges[k] .. edges[k + 1] - 1; int64 [T + 1].

    Raises:
        ValueError: by the rule "tonic", every bin would be empty.
    """
    steps = np.arange(T + 1)
    if binning == "count":
        return -(-steps * len(times) // T)  # rounded up: event i is in bin floor(i T / n)
    first, end = span if span and binning == "time" else (int(times[0]), int(times[-1]) + 1)
    if binning == "tonic":
        width = (end - 1 - first) // T
        if width == 0:
            raise ValueError(
                f"spans {end - 1 - first} microseconds, and Tonic's rule needs at least one for each of {T} "
                "frames: take another data.binning"
            )
        return np.searchsorted(times, first + steps * width)
    return np.searchsorted(times, first - (-steps * (end - first) // T))
