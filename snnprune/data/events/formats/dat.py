"""Prophesee DAT: a header, two bytes of type and size, then events of 8 bytes.

Source: docs.prophesee.ai, "DAT File Format", for version 2; Prophesee's ``load_atis_data.m`` for version 1
and for files without a line for the version, such as those of the first ATIS cameras.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from snnprune.common.compiling import compiled
from snnprune.data.events.formats.bits import put, word_32
from snnprune.data.events.formats.content import content
from snnprune.data.events.formats.header import header, number
from snnprune.data.events.stream import Raw

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy.typing as npt

    from snnprune.data.events.stream import Asked

KINDS = {0x00: "Event2d", 0x0C: "EventCD"}
"""Types of events of pixels."""

OTHERS = {0x0E: "external triggers"}
SIZE = 8
LAP = 1 << 32

BITS = {1: (9, 8, 1), 2: (14, 14, 4)}
"""By version: bits of x, of y and of the polarity, from the lowest one on."""


def read(path: Path, asked: Asked) -> Raw:  # noqa: ARG001 - the file says all that a reader can use
    """Read a DAT file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no DAT file, or of an unknown version, or holds no events of pixels.
    """
    data = content(path)
    head = header(data)
    if not head.size:
        raise ValueError("it has no header of lines that begin with '% '")
    if len(data) < head.size + 2:
        raise ValueError("it ends before its first event")
    kind, size = (int(byte) for byte in data[head.size : head.size + 2])
    if kind not in KINDS:
        name = OTHERS.get(kind, f"events of the type {kind}")
        raise ValueError(f"it holds {name}, and events of pixels (CD) are read")
    if size != SIZE:
        raise ValueError(f"its events have {size} bytes, and {SIZE} are expected")
    events = data[head.size + 2 :]
    over = len(events) % SIZE
    pairs = events[: len(events) - over].view("<u4").reshape(-1, 2)
    t, x, y, p = (np.empty(len(pairs), kind) for kind in (np.int64, np.uint16, np.uint16, np.uint8))
    zero = fill(events, t, x, y, p, BITS[_version(head.values, pairs)])
    remarks = (f"ends within an event, of which {over} bytes were left out",) if over else ()
    return Raw(t, x, y, p, "us", _sensor(head.values), LAP, remarks, zero)


@compiled
def fill(events, t, x, y, p, bits):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    """Write the events: times from the first one, columns, rows, polarities. Return the first one's time.

    ``bits`` are the numbers of bits of x, y and p.
    """
    across, down, deep = bits
    zero = word_32(events, 0) if events.size >= 8 else 0
    for n in range(events.size // 8):
        word = word_32(events, 8 * n + 4)
        column, row = word & ((1 << across) - 1), (word >> across) & ((1 << down) - 1)
        on = (word >> (across + down)) & ((1 << deep) - 1)
        put(t, x, y, p, n, (word_32(events, 8 * n) - zero, column, row, on))
    return zero


def _version(values: Mapping[str, str], pairs: npt.NDArray[np.uint32]) -> int:
    """Return which layout events have: without a line that says it, the first that their bits fit into."""
    if "version" not in values:
        return 2 if len(pairs) and int(pairs[:, 1].max()) >> sum(BITS[1]) else 1
    version = number("version", values["version"].removesuffix(".0"))
    if version not in BITS:
        raise ValueError(f"it is of version {version} of the format, and versions 1 and 2 are read")
    return version


def _sensor(values: Mapping[str, str]) -> tuple[int, int] | None:
    """Return width and height, or None where the header does not have both."""
    if "width" not in values or "height" not in values:
        return None
    return number("width", values["width"]), number("height", values["height"])
