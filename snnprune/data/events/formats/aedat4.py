"""AEDAT4 of DV: packets of flatbuffers, each compressed for itself; y counts from the top.

A file is a line of text, a flatbuffer `IOHE` (compression, place of the table of packets, XML of the
streams), packets (number of the stream, bytes, content), and a table of the packets at the end, if the
recording was closed. Source: docs.inivation.com, "AEDAT 4.0". The container is read here, as the libraries
for it end the process on some damaged files.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.parsers import expat

import numpy as np

from snnprune.common.errors import in_one_line
from snnprune.common.extras import need
from snnprune.data.events.formats import flatbuffer
from snnprune.data.events.formats.content import content
from snnprune.data.events.formats.streams import chosen
from snnprune.data.events.stream import Raw

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt

    from snnprune.data.events.stream import Asked

MAGIC = b"#!AER-DAT4.0\r\n"
EVENT = np.dtype([("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("on", "u1"), ("padding", "V3")])
HEAD = struct.Struct("<ii")
"""In front of a packet: the number of its stream, and its bytes."""

NONE, LZ4, LZ4_HIGH, ZSTD, ZSTD_HIGH = range(5)
"""Ways to compress, as a file's header numbers them."""

RATIO, ROOM = 256, 2**20
"""A packet of n bytes may unpack to RATIO n + ROOM bytes; with LZ4, it cannot be more."""


@dataclass(frozen=True)
class Contents:
    """What the header of a file says.

    Attributes:
        compression: how packets are compressed.
        start: where the first packet begins.
        end: behind the last one.
        streams: size of the sensor of each stream of events, by its number; None where it is not said.
        names: of the same streams.
        complete: whether the recording was closed.
    """

    compression: int
    start: int
    end: int
    streams: dict[str, tuple[int, int] | None]
    names: dict[str, str]
    complete: bool


def read(path: Path, asked: Asked) -> Raw:
    """Read an AEDAT4 file.

    Raises:
        UserError: the library that unpacks it is not installed.
        ValueError: it is damaged, has no stream of events, or several and none is asked for.
        OSError: it cannot be read.
    """
    data = content(path)
    held = _contents(data)
    if not held.streams:
        raise ValueError("it has no stream of events")
    stream = _stream(held, asked.stream)
    unpacked = _unpacker(held.compression)
    packets, remarks = [], []
    at = held.start
    while at < held.end:
        begin = at + HEAD.size
        number, size = HEAD.unpack_from(data.data, at) if begin <= held.end else (None, 0)
        if number is None or begin + size > held.end:
            remarks.append("ends within a packet, which was left out")
            break
        if size < 0:
            raise ValueError(f"the packet that begins at byte {at} is damaged: it has {size} bytes")
        if number == int(stream):
            packets.append(_events(unpacked, data[begin : begin + size].tobytes(), at))
        at = begin + size
    if not (held.complete or remarks):
        remarks.append("was not closed by its recorder")
    events = np.frombuffer(b"".join(packets), EVENT)
    t, x, y, on = (events[name] for name in ("t", "x", "y", "on"))
    return Raw(t, x, y, on, "us", held.streams[stream], remarks=tuple(remarks))


def _stream(held: Contents, asked: str | None) -> str:
    """Return the number of the stream that is asked for by its number or, where these differ, by its name.

    Raises:
        ValueError: there are several and none is asked for, or none is called so.
    """
    if asked in held.streams:
        return str(asked)
    if len(set(held.names.values()) - {""}) < len(held.streams):
        return chosen(list(held.streams), asked)
    numbers = {name: number for number, name in held.names.items()}
    return numbers[chosen(list(numbers), asked)]


def _events(unpacked: Callable[[bytes], bytes], packed: bytes, at: int) -> memoryview:
    """Return the bytes of a packet's events.

    Raises:
        ValueError: it is damaged.
    """
    try:
        return _elements(unpacked(packed))
    except Exception as error:  # of lz4 and zstandard, too
        raise ValueError(f"the packet that begins at byte {at} is damaged: {in_one_line(error)}") from error


def _elements(buffer: bytes) -> memoryview:
    """Return the bytes of the events of a flatbuffer `EVTS`.

    Raises:
        ValueError: it is damaged.
    """
    elements = flatbuffer.field(buffer, flatbuffer.root(buffer, 4, b"EVTS"), 0)
    if elements is None:
        return memoryview(b"")
    begin, many = flatbuffer.vector(buffer, elements, EVENT.itemsize)
    return memoryview(buffer)[begin : begin + many * EVENT.itemsize]


def _unpacker(compression: int) -> Callable[[bytes], bytes]:
    """Return a function that unpacks a packet, into no more than it may.

    Raises:
        UserError: the library for it is not installed.
        ValueError: the compression is not known.
    """
    if compression == NONE:
        return bytes
    if compression in (LZ4, LZ4_HIGH):
        need("events", "this AEDAT4 file", "lz4")
        import lz4.frame  # noqa: PLC0415 - an extra

        unpacked: Callable[[bytes], bytes] = lz4.frame.decompress
        return unpacked
    if compression not in (ZSTD, ZSTD_HIGH):
        raise ValueError(f"its packets are compressed in the way {compression}, which is not known")
    need("events", "this AEDAT4 file", "zstandard")
    import zstandard  # noqa: PLC0415 - an extra

    def bounded(packed: bytes) -> bytes:
        room = RATIO * len(packed) + ROOM
        with zstandard.ZstdDecompressor().stream_reader(packed) as reader:
            found: bytes = reader.read(room + 1)
        if len(found) > room:
            raise ValueError(f"it unpacks to more than {RATIO} times its size")
        return found

    return bounded


def _contents(data: npt.NDArray[np.uint8]) -> Contents:
    """Read the header.

    Raises:
        ValueError: it is damaged.
    """
    begin = len(MAGIC) + 4
    if data[: len(MAGIC)].tobytes() != MAGIC:
        raise ValueError(f"its first line is not {MAGIC.decode().strip()}")
    try:
        size = flatbuffer.number("I", data[:begin].tobytes(), len(MAGIC))
        buffer = data[begin : begin + size].tobytes()
        table = flatbuffer.root(buffer, 0, b"IOHE")
        compression, place, xml = (flatbuffer.field(buffer, table, index) for index in range(3))
        table_at = -1 if place is None else flatbuffer.number("q", buffer, place)
        text, letters = (0, 0) if xml is None else flatbuffer.vector(buffer, xml, 1)
        streams, names = _streams(buffer[text : text + letters])
    except (ValueError, expat.ExpatError) as error:
        raise ValueError(f"its header is damaged: {error}") from error
    closed = begin + size <= table_at <= len(data)
    return Contents(
        compression=NONE if compression is None else flatbuffer.number("i", buffer, compression),
        start=begin + size,
        end=table_at if closed else len(data),
        streams=streams,
        names=names,
        complete=closed,
    )


def _streams(xml: bytes) -> tuple[dict[str, tuple[int, int] | None], dict[str, str]]:
    """Return the sensors and the names of the streams of events, by their numbers."""
    nodes: list[str] = []
    values: dict[tuple[str, ...], str] = {}
    key: list[str] = []

    def opened(tag: str, attributes: dict[str, str]) -> None:
        if tag == "node":
            nodes.append(attributes.get("name", ""))
        key[:] = [attributes.get("key", "")] if tag == "attr" else []

    def closed(tag: str) -> None:
        key.clear()
        if tag == "node":
            nodes.pop()

    def letters(text: str) -> None:
        if key:
            place = (*nodes, key[0])
            values[place] = values.get(place, "") + text

    def refused(*_: object) -> None:
        raise ValueError("its description declares a document type")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = opened, closed
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = letters, refused
    parser.Parse(xml.rstrip(b"\0 \r\n"), True)
    kind = "typeIdentifier"
    numbers = [
        place[1] for place, text in values.items() if place[::2] == ("outInfo", kind) and text == "EVTS"
    ]
    numbers = [number for number in numbers if re.fullmatch("[0-9]{1,9}", number)]
    streams = {number: _size(values, ("outInfo", number, "info")) for number in numbers}
    return streams, {number: values.get(("outInfo", number, "originalOutputName"), "") for number in numbers}


def _size(values: dict[tuple[str, ...], str], place: tuple[str, ...]) -> tuple[int, int] | None:
    """Return the size of a stream's sensor, or None."""
    sizes = [values.get((*place, name), "") for name in ("sizeX", "sizeY")]
    if not all(re.fullmatch("[0-9]{1,6}", size) for size in sizes):
        return None
    return int(sizes[0]), int(sizes[1])
