"""Event Stream (`.es`) of DVS and ATIS cameras, through the library faery.

The format counts y from the bottom (github.com/neuromorphicsystems/event_stream), and faery turns it to the
top.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from snnprune.common.errors import in_one_line
from snnprune.common.extras import need
from snnprune.data.events.stream import Raw

if TYPE_CHECKING:
    from pathlib import Path

    from snnprune.data.events.stream import Asked

ATIS = 2
"""Byte 15 of a file that holds measurements of exposure beside the changes."""


def read(path: Path, asked: Asked) -> Raw:  # noqa: ARG001 - the format says all
    """Read an Event Stream file.

    faery leaves out an event that the end of the file cuts, and does not say so.

    Raises:
        UserError: faery is not installed.
        ValueError: it is damaged, or holds other events.
        OSError: it cannot be read.
    """
    need("events", "an Event Stream file", "faery")
    import faery  # noqa: PLC0415 - an extra

    with path.open("rb") as file:
        kind = file.read(16)[15:]
    if not kind:
        raise ValueError("it is empty, or ends within its header")
    try:
        stream = faery.events_stream_from_file(path, file_type="es")
        events = stream.to_array()
    except Exception as error:  # faery raises RuntimeError and its siblings
        raise ValueError(in_one_line(error)) from error
    remarks = ("holds measurements of exposure, which were left out",) if kind == bytes([ATIS]) else ()
    width, height = stream.dimensions()
    return Raw(events["t"], events["x"], events["y"], events["on"], "us", (width, height), remarks=remarks)
