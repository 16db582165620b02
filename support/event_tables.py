"""Encoders of event files, written from the published layouts, that share nothing with the readers.

Each function takes a path and a `Stream`, whose clock begins at its ``first``, and writes a valid file.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from snnprune.data.events.stream import Stream

STRUCTURED = np.dtype([("x", "<u2"), ("y", "<u2"), ("p", "<i2"), ("t", "<i8")])
"""Fields of an event in Prophesee's HDF5 files."""


def clock(events: Stream) -> np.ndarray:
    """Return times on the file's own clock."""
    return events.t + events.first


def structured(events: Stream, dtype: np.dtype = STRUCTURED) -> np.ndarray:
    """Return one structured array of the columns."""
    found = np.empty(len(events), dtype)
    for name, values in (("t", clock(events)), ("x", events.x), ("y", events.y), ("p", events.p)):
        found[name] = values
    return found


def rows(events: Stream) -> Iterator[tuple[int, int, int, int]]:
    """Yield t, x, y and p of each event."""
    columns = (clock(events), events.x, events.y, events.p.astype(np.int64))
    return zip(*(column.tolist() for column in columns), strict=True)


def csv(path: Path, events: Stream) -> None:
    """Write a header and comma-separated columns, in microseconds."""
    path.write_text("t,x,y,p\n" + "".join(f"{t},{x},{y},{p}\n" for t, x, y, p in rows(events)))


def text(path: Path, events: Stream) -> None:
    """Write a line of width and height, then `t x y p` with t in seconds and six decimals."""
    body = "".join(f"{t // 10**6}.{t % 10**6:06d} {x} {y} {p}\n" for t, x, y, p in rows(events))
    path.write_text("{} {}\n".format(*events.sensor) + body)


def npy_structured(path: Path, events: Stream) -> None:
    """Write a numpy structured array."""
    np.save(path, structured(events), allow_pickle=False)


def npy_table(path: Path, events: Stream) -> None:
    """Write a numpy table of int64, columns t, x, y, p; it says neither the sensor nor its columns."""
    np.save(path, np.array(list(rows(events)), np.int64).reshape(-1, 4), allow_pickle=False)


def npz(path: Path, events: Stream) -> None:
    """Write one array a column, polarity -1 and +1."""
    signed = np.where(events.p, 1, -1).astype(np.int8)
    np.savez_compressed(path, t=clock(events), x=events.x.astype(np.int32), y=events.y, p=signed)


def h5_group(path: Path, events: Stream) -> None:
    """Write HDF5 as DSEC has it: a group `events` with a dataset a column, and `t_offset` beside it."""
    import h5py

    columns = {"t": events.t.astype(np.uint32), "x": events.x, "y": events.y, "p": events.p.astype(np.uint8)}
    with h5py.File(path, "w") as file:
        for name, values in columns.items():
            file.create_dataset(f"events/{name}", data=values, compression="gzip")
        file["events"].attrs["width"], file["events"].attrs["height"] = events.sensor
        file["t_offset"] = np.int64(events.first)
        file["ms_to_idx"] = np.zeros(3, np.uint64)


def h5_compound(path: Path, events: Stream) -> None:
    """Write HDF5 as Prophesee has it (but compressed by gzip): one compound dataset `CD/events`."""
    import h5py

    with h5py.File(path, "w") as file:
        file.create_dataset("CD/events", data=structured(events), compression="gzip")
        file.attrs["geometry"] = "{}x{}".format(*events.sensor)


def es(path: Path, events: Stream) -> None:
    """Write Event Stream 2.0, DVS: a byte of elapsed time and polarity, x, and y from the bottom."""
    body, now, height = bytearray(), 0, events.sensor[1]
    for t, x, y, p in rows(events):
        overflows, rest = divmod(t - now, 127)
        body += b"\xff" * overflows + struct.pack("<BHH", rest << 1 | p, x, height - 1 - y)
        now = t
    path.write_bytes(b"Event Stream" + bytes([2, 0, 0, 1]) + struct.pack("<HH", *events.sensor) + body)


CHIPS = {128: "ch.unizh.ini.jaer.chip.retina.DVS128", 240: "eu.seebetter.ini.chips.davis.DAVIS240C"}
"""Classes of jAER for a sensor's width."""


def aedat2(
    path: Path, events: Stream, chip: str | None = "", others: Sequence[int] = (), start: int | None = None
) -> None:
    """Write AEDAT 2.0 as jAER does: big-endian pairs of address and time, x mirrored, y from the bottom.

    A sensor of 128 x 128 pixels is a DVS128, of which a set bit means OFF; others are DAVIS.

    Args:
        path: the file.
        events: the events.
        chip: class of the chip in the header; by default the sensor's, and no such line if None.
        others: addresses of samples that are no polarity events, written before the events.
        start: time of the first event, in place of its own; times lap at 32 bits.
    """
    width, height = events.sensor
    chip = CHIPS.get(width, f"eu.seebetter.ini.chips.davis.Davis{width}") if chip == "" else chip
    x, y = width - 1 - events.x.astype(np.int64), height - 1 - events.y.astype(np.int64)
    if events.sensor == (128, 128):
        address = y << 8 | x << 1 | ~events.p
    else:
        address = y << 22 | x << 12 | events.p.astype(np.int64) << 11
    times = events.t + (events.first if start is None else start) & 0xFFFFFFFF
    first = times[0] if len(times) else 0
    samples = np.array([(other, first) for other in others], np.int64).reshape(-1, 2)
    pairs = np.concatenate([samples, np.stack([address, times], axis=1)])
    head = "#!AER-DAT2.0\r\n# This is a raw AE data file - do not edit\r\n"
    head += f"# AEChip: {chip}\r\n" if chip else ""
    path.write_bytes(head.encode() + pairs.astype(">u4").tobytes())


def aedat31(path: Path, events: Stream, sources: Sequence[int] = (1,), packet: int = 100) -> None:
    """Write AEDAT 3.1: packets of polarity events, a new one where 31 bits of time overflow.

    Args:
        path: the file.
        events: the events, of a DVS128 or a DAVIS.
        sources: numbers of the sources; each gets all the events.
        packet: most events of a packet.
    """
    name = {128: "DVS128", 240: "DAVIS240C"}.get(events.sensor[0], f"DAVIS{events.sensor[0]}")
    head = "#!AER-DAT3.1\r\n#Format: RAW\r\n" + "".join(f"#Source {n}: {name}\r\n" for n in sources)
    head += "#Start-Time: 2026-01-02 03:04:05 (TZ+0000)\r\n#!END-HEADER\r\n"
    times = clock(events)
    x, y, p = (events[name].astype(np.int64) for name in "xyp")
    pairs = np.stack([x << 17 | y << 2 | p << 1 | 1, times & 0x7FFFFFFF], axis=1).astype("<u4")
    body = b""
    for same in np.split(np.arange(len(times)), np.flatnonzero(np.diff(times >> 31)) + 1):
        for begin in range(0, len(same), packet):
            part = same[begin : begin + packet]
            counts = (int(times[part[0]] >> 31), len(part), len(part), len(part))
            for source in sources:
                body += struct.pack("<hhiiiiii", 1, source, 8, 4, *counts) + pairs[part].tobytes()
    path.write_bytes(head.encode() + body)


def _described(streams: int, sensor: tuple[int, int]) -> bytes:
    """Return AEDAT4's XML of its streams."""
    nodes = "".join(
        f'<node name="{n}" path="/outInfo/{n}/"><attr key="compression" type="string">NONE</attr>'
        '<attr key="originalOutputName" type="string">events</attr>'
        '<attr key="typeIdentifier" type="string">EVTS</attr>'
        f'<node name="info" path="/outInfo/{n}/info/"><attr key="sizeX" type="int">{sensor[0]}</attr>'
        f'<attr key="sizeY" type="int">{sensor[1]}</attr></node></node>'
        for n in range(streams)
    )
    return f'<dv version="2.0"><node name="outInfo" path="/outInfo/">{nodes}</node></dv>'.encode()


MAGIC = b"#!AER-DAT4.0\r\n"
AEDAT4_EVENT = np.dtype([("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("p", "u1"), ("padding", "V3")])


def aedat4(path: Path, events: Stream, streams: int = 1, packet: int = 100) -> None:
    """Write AEDAT4 without compression and without the table of its packets at the end.

    Args:
        path: the file.
        events: the events.
        streams: number of event streams; each gets all the events.
        packet: most events of a packet.
    """
    table = np.zeros(len(events), AEDAT4_EVENT)
    for name in "xyp":
        table[name] = events[name]
    table["t"] = clock(events)
    body = b""
    for begin in range(0, len(table), packet):
        part = table[begin : begin + packet]
        inner = struct.pack("<I4sHHH2xiII", 16, b"EVTS", 6, 8, 4, 8, 4, len(part)) + part.tobytes()
        for stream in range(streams):
            body += struct.pack("<iiI", stream, len(inner) + 4, len(inner)) + inner
    described = _described(streams, events.sensor)
    described = struct.pack("<I", len(described)) + described + b"\0"
    described += b"\0" * (-len(described) % 4)
    # Flatbuffers: root, identifier, offsets of fields (compression, end of the packets, XML), the fields.
    header = struct.pack("<I4s6xHHHHH", 24, b"IOHE", 10, 20, 4, 12, 8)
    size = len(header) + 20 + len(described)
    header += struct.pack("<iiIq", 10, 0, 12, len(MAGIC) + 4 + size + len(body)) + described
    path.write_bytes(MAGIC + struct.pack("<I", size) + header + body)
