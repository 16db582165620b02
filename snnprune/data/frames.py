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
        ValueError: by the rule "tonic", every frame would be empty.
    """
    polarities, height, width = shape
    cuts = edges(events["t"], T, binning, span)
    kept = slice(cuts[0], cuts[-1])
    # Bins are runs of neighbouring events, so the bin's offset is repeated rather than computed per event.
    place = np.repeat(np.arange(0, T * polarities, polarities), np.diff(cuts))
    place += events["p"][kept]
    place *= height
    place += events["y"][kept]
    place *= width
    place += events["x"][kept]
    counts = np.bincount(place, minlength=T * polarities * height * width)
    return saturated(counts).reshape(T, polarities, height, width)


def saturated(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """Return counts as uint8, those above 255 as 255."""
    # Such counts are very rare: a check first is twice as fast as always taking the minimum.
    return (counts if counts.max() <= 255 else np.minimum(counts, 255)).astype(np.uint8)


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
