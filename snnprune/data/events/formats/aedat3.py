"""AEDAT 3.1 of cAER and DV: packets of typed events, least significant byte first; y counts from the top.

A packet is a header of 28 bytes (type, source, size of an event, place of its time, laps of the clock,
capacity, number of events, number of valid ones), then the events. A polarity event is 32 bits (bit 0 valid,
bit 1 ON, bits 2 to 16 y, bits 17 to 31 x) and 31 bits of time in microseconds.
Source: docs.inivation.com, "AEDAT 3.1". The lines of text at the beginning are those of AEDAT 2.0, too.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from snnprune.data.events.formats.streams import chosen
from snnprune.data.events.stream import Raw

if TYPE_CHECKING:
    import numpy.typing as npt

    from snnprune.data.events.stream import Asked

LONGEST = 2**22
"""Bytes of a header at most; jAER writes all its preferences there."""

ENDS = (b"#!END-HEADER", b"#End Of ASCII Header")
PACKET = struct.Struct("<hhiiiiii")
POLARITY, EVENT_BYTES, TIME_PLACE = 1, 8, 4
TIME_BITS = 31
LARGEST_LAP = 2**20
"""Laps of 36 minutes: 71 years."""

SENSORS = {"dvs128": (128, 128), "davis128": (128, 128), "davis208": (208, 192), "davis240": (240, 180)}
SENSORS |= {"davis346": (346, 260), "davis640": (640, 480)}
"""Sensors by the beginning of a source's name."""


@dataclass(frozen=True)
class Header:
    """The lines of text at a file's beginning.

    Attributes:
        lines: without the marks of comment.
        size: bytes until the data.
    """

    lines: tuple[str, ...]
    size: int


def header(data: npt.NDArray[np.uint8]) -> Header:
    """Read the lines that begin with `#`, until one says that it is the last, or data follow.

    Data may begin with the byte of `#`, too. A line of text has no control characters; the last byte of an
    address of a DAVIS camera is one.

    Raises:
        ValueError: the header never ends.
    """
    head = data[:LONGEST].tobytes()
    lines, at = [], 0
    while head.startswith(b"#", at):
        end = head.find(b"\n", at)
        line = head[at:end].rstrip(b"\r")
        if end < 0 or re.search(rb"[^\t -~\x80-\xff]", line):
            break
        lines.append(line.decode("latin-1").lstrip("# "))
        at = end + 1
        if line.startswith(ENDS):
            break
    if len(head) == LONGEST and at > LONGEST // 2:
        raise ValueError(f"its header is longer than {LONGEST} bytes")
    return Header(tuple(lines), at)


def read(data: npt.NDArray[np.uint8], asked: Asked) -> Raw:
    """Read the polarity events of a file's bytes.

    Raises:
        ValueError: it is damaged, is not in the format RAW, or has several sources and none is asked for.
    """
    head = header(data)
    form = next((line.partition(":")[2].strip() for line in head.lines if line.startswith("Format:")), "RAW")
    if form != "RAW":
        raise ValueError(f"its packets are in the format {form[:30]!r}: RAW is read")
    packets, remarks = _packets(data, head.size)
    if not packets:
        raise ValueError("it has no polarity events")
    source = chosen(sorted(packets), asked.stream)
    words = np.concatenate([words for words, _ in packets[source]])
    laps = np.repeat([lap for _, lap in packets[source]], [len(words) for words, _ in packets[source]])
    valid = (words[:, 0] & 1) != 0
    if not valid.all():
        remarks.append(
            f"holds {(~valid).sum()} events that its filters marked as invalid, which were left out"
        )
        words, laps = words[valid], laps[valid]
    return Raw(
        t=laps.astype(np.int64) << TIME_BITS | (words[:, 1] & 0x7FFFFFFF),
        x=words[:, 0] >> 17,
        y=words[:, 0] >> 2 & 0x7FFF,
        p=(words[:, 0] & 2) != 0,
        unit="us",
        sensor=_sensor(head.lines, source),
        remarks=tuple(remarks),
    )


Packets = dict[str, list[tuple[Any, int]]]


def _packets(data: npt.NDArray[np.uint8], at: int) -> tuple[Packets, list[str]]:
    """Return the words and the lap of each packet of polarity events by source, and remarks.

    Raises:
        ValueError: a packet's header cannot be one.
    """
    packets: Packets = {}
    while at + PACKET.size <= len(data):
        kind, source, size, place, lap, _, many, _ = PACKET.unpack(data[at : at + PACKET.size].tobytes())
        at += PACKET.size
        if size <= 0 or many < 0 or not 0 <= lap < LARGEST_LAP:
            raise ValueError(f"the packet that begins at byte {at - PACKET.size} is damaged")
        if kind == POLARITY:
            if (size, place) != (EVENT_BYTES, TIME_PLACE):
                raise ValueError(f"its events have {size} bytes, expected {EVENT_BYTES}")
            here = min(many, (len(data) - at) // EVENT_BYTES)
            words = np.frombuffer(data[at : at + here * EVENT_BYTES], "<u4").reshape(-1, 2)
            packets.setdefault(str(source), []).append((words, lap))
        at += size * many
    return packets, [] if at == len(data) else ["ends within a packet, of which whole events were read"]


def _sensor(lines: tuple[str, ...], source: str) -> tuple[int, int] | None:
    """Return the sensor of a source that the header describes, or None."""
    for line in lines:
        found = re.match(r"Source (\d+): (.*)", line)
        if found and found[1] == source:
            name = found[2].strip().lower()
            return next((sensor for begin, sensor in SENSORS.items() if name.startswith(begin)), None)
    return None
