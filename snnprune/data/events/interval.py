"""The labelled interval of a recording."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from snnprune.data.events.layouts import Recording
    from snnprune.data.events.stream import Stream


def interval(stream: Stream, recording: Recording) -> tuple[Stream, int | None, int | None]:
    """Return the events of the labelled interval, and its ends in the stream's time where they are given.

    Raises:
        ValueError: there are none. The message is the end of a sentence that begins with the file.
    """
    if recording.start is None and recording.end is None:
        return stream, None, None
    last = int(stream.t[-1])
    begin = 0 if recording.start is None else recording.start - stream.first
    end = last + 1 if recording.end is None else recording.end - stream.first
    # Numbers of any size may come from a table: they are compared before they meet an array.
    cuts = np.searchsorted(stream.t, [min(max(bound, 0), last + 1) for bound in (begin, end)])
    if cuts[0] >= cuts[1]:
        raise ValueError(
            f"has no events from {recording.start} to {recording.end}: start and end are on the file's own "
            f"clock, which runs from {stream.first} to {stream.first + last}"
        )
    return stream.picked(slice(*cuts)), begin, end
