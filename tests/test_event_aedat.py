"""AEDAT 2.0, 3.1 and 4, and Event Stream: round trips, addresses worked out by hand, and what is refused."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import faery
import lz4.frame
import numpy as np
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snnprune.common.errors import UserError
from snnprune.data.events import reading
from snnprune.data.events.formats import aedat4
from snnprune.data.events.stream import Asked, Stream
from support import event_files, event_tables

if TYPE_CHECKING:
    from pathlib import Path

QUICK = settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
SENSORS = [(128, 128), (240, 180), (346, 260)]


def stream(sensor: tuple[int, int] = (346, 260), many: int = 250, *, first: int = 2**31 - 1000) -> Stream:
    rng = np.random.default_rng(0)
    t = np.sort(rng.integers(0, 300_000, many))
    x, y = rng.integers(0, sensor[0], many), rng.integers(0, sensor[1], many)
    return Stream(t - t[0], x.astype("u2"), y.astype("u2"), rng.integers(0, 2, many) > 0, sensor, first)


def same(found: Stream, expected: Stream) -> None:
    for name in "txyp":
        assert np.array_equal(found[name], expected[name]), name
    assert (found.sensor, found.first) == (expected.sensor, expected.first)


def refused(path: Path, asked: Asked, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        reading.read(path, asked)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "ending"), [("aedat2", "aedat"), ("aedat31", "aedat"), ("aedat4", "aedat4"), ("es", "es")]
)
@pytest.mark.parametrize("sensor", SENSORS)
def test_any_list_of_events_comes_back(
    name: str, ending: str, sensor: tuple[int, int], tmp_path: Path
) -> None:
    path = tmp_path / f"a.{ending}"
    event = st.tuples(
        st.integers(0, 2**20), st.integers(0, sensor[0] - 1), st.integers(0, sensor[1] - 1), st.booleans()
    )

    @QUICK
    @given(st.lists(event, min_size=1, max_size=40), st.integers(0, 2**14 if name == "es" else 2**31))
    def check(rows: list[tuple[int, int, int, bool]], first: int) -> None:
        rows.sort(key=lambda row: row[0])
        t, x, y, p = (np.array(column) for column in zip(*rows, strict=True))
        events = Stream(t - t[0], x.astype("u2"), y.astype("u2"), p, sensor, first)
        getattr(event_tables, name)(path, events)
        found = reading.read(path, Asked())
        same(found, events)
        assert found.remarks == ()

    check()


# --- AEDAT 2.0


def test_an_address_of_a_dvs128_by_hand(tmp_path: Path) -> None:
    """Address 0x0A07: y = 10 from the bottom, x = 3 from the right, a set bit 0, which is OFF."""
    path = tmp_path / "a.aedat"
    path.write_bytes(b"#!AER-DAT2.0\r\n" + struct.pack(">II", 0x0A07, 5) + struct.pack(">II", 0x7F00, 9))
    found = reading.read(path, Asked((128, 128)))
    assert [found[name].tolist() for name in "txyp"] == [[0, 4], [124, 127], [117, 0], [False, True]]


def test_an_address_of_a_davis_by_hand(tmp_path: Path) -> None:
    """Bits 22 and up 10: y from the bottom; bits 12 and up 3: x from the right; bit 11 set: ON."""
    path = tmp_path / "a.aedat"
    address = 10 << 22 | 3 << 12 | 1 << 11
    path.write_bytes(
        b"#!AER-DAT2.0\n# AEChip: eu.seebetter.ini.chips.davis.Davis346B\n" + struct.pack(">II", address, 5)
    )
    found = reading.read(path, Asked())
    assert [found[name].tolist() for name in "txyp"] == [[0], [342], [249], [True]]
    assert found.sensor == (346, 260)


@pytest.mark.parametrize("start", [2**32 - 1000, 2**31 - 1000, 5])
def test_a_clock_of_32_bits_laps(start: int, tmp_path: Path) -> None:
    path, events = tmp_path / "a.aedat", stream()
    event_tables.aedat2(path, events, start=start)
    assert np.array_equal(reading.read(path, Asked()).t, events.t)


@pytest.mark.parametrize("sensor", SENSORS)
def test_the_camera_is_named_by_the_header_or_by_the_user(sensor: tuple[int, int], tmp_path: Path) -> None:
    path, events = tmp_path / "a.aedat", stream(sensor)
    event_tables.aedat2(path, events, chip=None)
    refused(
        path, Asked(), r"names no camera.* 128x128, 208x192, 240x180, 346x260, 640x480 as --data\.sensor$"
    )
    refused(path, Asked((320, 240)), "none has 320 x 240 pixels")
    same(reading.read(path, Asked(sensor)), events)


def test_cameras_that_are_not_what_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.aedat"
    event_tables.aedat2(path, stream((240, 180)), chip=None)
    refused(path, Asked((128, 128)), "addresses that no DVS128 has")
    event_tables.aedat2(path, stream((346, 260)), chip="eu.seebetter.ini.chips.davis.DAVIS240C")
    refused(path, Asked(), "x must be from 0 to 239, and runs from -10")
    event_tables.aedat2(path, stream((240, 180)), chip="ch.unizh.ini.jaer.chip.cochlea.CochleaAMS1c")
    refused(path, Asked(), "recorded by 'ch.unizh.*: of AEDAT 2.0, DVS128 and DAVIS cameras are read")


@pytest.mark.parametrize("sensor", SENSORS)
def test_frames_and_the_like_are_left_out_and_counted(sensor: tuple[int, int], tmp_path: Path) -> None:
    path, events = tmp_path / "a.aedat", stream(sensor)
    others = [0x8000, 0x8000_0001] if sensor == (128, 128) else [0x8000_0000, 0x8000_0C00, 0x400]
    event_tables.aedat2(path, events, others=others)
    found = reading.read(path, Asked())
    same(found, events)
    assert found.remarks == (f"holds {len(others)} frame, inertial or external samples, which were left out",)


def test_data_that_begin_with_the_mark_of_a_header(tmp_path: Path) -> None:
    path = tmp_path / "a.aedat"
    address = ord("#") << 24 | ord("A") << 16 | 1 << 11  # y = 141
    head = b"#!AER-DAT2.0\r\n# AEChip: DAVIS240C\r\n"
    path.write_bytes(head + struct.pack(">II", address, ord("\n")) * 3)
    assert reading.read(path, Asked()).y.tolist() == [180 - 1 - 141] * 3
    path.write_bytes(head + b"#End Of ASCII Header\r\n" + struct.pack(">II", address, 7))
    assert len(reading.read(path, Asked())) == 1


@pytest.mark.parametrize("version", ["1.0", "3.0", "9.9"])
def test_other_versions(version: str, tmp_path: Path) -> None:
    path = tmp_path / "a.aedat"
    path.write_bytes(f"#!AER-DAT{version}\r\n".encode() + bytes(80))
    refused(path, Asked(), rf"is of version {version}: versions 2\.0, 3\.1 and 4\.0 are read")
    path.write_bytes(bytes(80))
    refused(path, Asked(), "first line is not #!AER-DAT")


# --- AEDAT 3.1


def test_an_event_of_version_3_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "a.aedat"
    data = 5 << 17 | 7 << 2 | 1 << 1
    packets = b"".join(
        struct.pack("<hhiiiiii", kind, 1, 8, 4, lap, 2, 2, 2) + struct.pack("<IIII", data | 1, 3, data, 4)
        for kind, lap in ((1, 0), (2, 0), (1, 1))
    )
    path.write_bytes(b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#!END-HEADER\r\n" + packets)
    found = reading.read(path, Asked())
    assert [found[name].tolist() for name in "txyp"] == [[0, 2**31], [5, 5], [7, 7], [True, True]]
    assert found.remarks == ("holds 2 events that its filters marked as invalid, which were left out",)


def test_sources_are_never_merged(tmp_path: Path) -> None:
    path, events = tmp_path / "a.aedat", stream()
    event_tables.aedat31(path, events, sources=(1, 2))
    refused(path, Asked(), r"several streams of events: give one of 1, 2 as --data\.stream")
    same(reading.read(path, Asked(stream="2")), events)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ((b"RAW", b"PNG"), "packets are in the format 'PNG': RAW is read"),
        ((struct.pack("<hh", 1, 1), struct.pack("<hh", 0, 1)), "no polarity events"),
        ((struct.pack("<ii", 8, 4), struct.pack("<ii", 0, 4)), "packet that begins at byte .* is damaged"),
        ((struct.pack("<ii", 8, 4), struct.pack("<ii", 12, 8)), "events have 12 bytes, expected 8"),
        ((b"DVS128", b"Other"), r"--data\.sensor"),
    ],
)
def test_a_file_of_version_3_that_is_refused(change: tuple[bytes, bytes], said: str, tmp_path: Path) -> None:
    path = tmp_path / "a.aedat"
    event_tables.aedat31(path, stream((128, 128), first=0), packet=1000)
    path.write_bytes(path.read_bytes().replace(*change))
    refused(path, Asked(), said)


# --- AEDAT4


@pytest.mark.parametrize("packing", [lz4.frame.compress, zstandard.compress], ids=["lz4", "zstd"])
def test_packets_are_unpacked(packing: Any, tmp_path: Path) -> None:
    path, events = tmp_path / "a.aedat4", stream()
    event_tables.aedat4(path, events)
    content = path.read_bytes()
    held = aedat4._contents(np.frombuffer(content, np.uint8))
    assert (held.compression, held.complete, held.end) == (aedat4.NONE, True, len(content))
    at, packed = held.start, b""
    while at < held.end:
        _, size = struct.unpack_from("<ii", content, at)
        inner = packing(content[at + 8 : at + 8 + size])
        packed += struct.pack("<ii", 0, len(inner)) + inner
        at += 8 + size
    number = aedat4.LZ4 if packing is lz4.frame.compress else aedat4.ZSTD
    head = bytearray(content[: held.start])
    place = 18 + 24 + 4  # the compression, in the header's table
    assert head[place : place + 4] == bytes(4)
    head[place] = number
    path.write_bytes(bytes(head) + packed)
    found = reading.read(path, Asked())
    same(found, events)
    assert (
        found.remarks == ("was not closed by its recorder",)
        if len(packed) < len(content) - held.start
        else ()
    )


def test_a_packet_may_not_unpack_to_anything(tmp_path: Path) -> None:
    bounded = aedat4._unpacker(aedat4.ZSTD)
    assert bounded(zstandard.compress(bytes(1000))) == bytes(1000)
    with pytest.raises(ValueError, match="more than 256 times its size"):
        bounded(zstandard.compress(bytes(2**24)))
    with pytest.raises(ValueError, match="way 9, which is not known"):
        aedat4._unpacker(9)


def test_streams_are_asked_for_by_number_or_name(tmp_path: Path) -> None:
    path, events = tmp_path / "a.aedat4", stream()
    event_tables.aedat4(path, events, streams=2)
    refused(path, Asked(), r"several streams of events: give one of 0, 1 as --data\.stream")
    same(reading.read(path, Asked(stream="1")), events)
    path.write_bytes(path.read_bytes().replace(b">events<", b">eventA<", 1))
    refused(path, Asked(), r"give one of eventA, events as --data\.stream")
    same(reading.read(path, Asked(stream="eventA")), events)
    same(reading.read(path, Asked(stream="1")), events)


def test_a_file_without_events_or_with_a_document_type(tmp_path: Path) -> None:
    path = tmp_path / "a.aedat4"
    event_tables.aedat4(path, stream())
    content = path.read_bytes()
    path.write_bytes(content.replace(b"EVTS<", b"IMUS<"))
    refused(path, Asked(), "no stream of events")
    begin = content.index(b"<dv")
    path.write_bytes(content[:begin] + b"<!DOCTYPE a>" + content[begin + 12 :])
    refused(path, Asked(), "header is damaged: .*document type")


def test_an_aedat4_file_may_be_called_aedat(tmp_path: Path) -> None:
    event_tables.aedat4(tmp_path / "a.aedat", stream())
    same(reading.read(tmp_path / "a.aedat", Asked()), stream())


# --- other people's writers


def as_faery(events: Stream) -> Any:
    table = np.zeros(len(events), faery.EVENTS_DTYPE)
    for name, values in (
        ("t", event_tables.clock(events)),
        ("x", events.x),
        ("y", events.y),
        ("on", events.p),
    ):
        table[name] = values
    return faery.events_stream_from_array(table, events.sensor)


@pytest.mark.parametrize("ending", ["es", "aedat4", "csv"])
def test_what_faery_writes(ending: str, tmp_path: Path) -> None:
    events = stream(first=12_345)
    as_faery(events).to_file(tmp_path / f"a.{ending}", zero_t0=False)
    same(reading.read(tmp_path / f"a.{ending}", Asked()), events)


@pytest.mark.parametrize("compression", ["NONE", "LZ4", "LZ4_HIGH", "ZSTD", "ZSTD_HIGH"])
def test_what_dv_processing_writes(compression: str, tmp_path: Path) -> None:
    dv = pytest.importorskip("dv_processing", reason="needs dv-processing: pip install dv-processing")
    events = stream()
    config = dv.io.MonoCameraWriter.Config("camera")
    config.compression = getattr(dv.CompressionType, compression)
    config.addEventStream(events.sensor)
    config.addEventStream(events.sensor, "second")
    writer = dv.io.MonoCameraWriter(str(tmp_path / "a.aedat4"), config)
    store = dv.EventStore()
    for t, x, y, p in event_tables.rows(events):
        store.push_back(t, x, y, bool(p))
    writer.writeEvents(store, streamName="second")
    del writer
    same(reading.read(tmp_path / "a.aedat4", Asked(stream="second")), events)


def test_the_library_aedat_reads_the_same(tmp_path: Path) -> None:
    aedat = pytest.importorskip("aedat", reason="needs aedat: pip install aedat")
    event_tables.aedat4(tmp_path / "a.aedat4", stream())
    table = np.concatenate([packet["events"] for packet in aedat.Decoder(tmp_path / "a.aedat4")])
    found = reading.read(tmp_path / "a.aedat4", Asked())
    assert np.array_equal(table["t"], found.t + found.first)
    assert np.array_equal(table["on"], found.p)


def test_event_streams_of_other_kinds(tmp_path: Path) -> None:
    path = tmp_path / "a.es"
    event_tables.es(path, stream(first=0))
    content = path.read_bytes()
    for kind in (0, 3, 4):
        path.write_bytes(content[:15] + bytes([kind]) + content[16:])
        refused(path, Asked(), "is not a usable Event Stream recording")
    rows = np.zeros(3, [("t", "=u8"), ("x", "=u2"), ("y", "=u2"), ("exposure", "?"), ("polarity", "?")])
    rows["t"], rows["x"], rows["y"], rows["polarity"], rows["exposure"] = (
        [1, 2, 5],
        [0, 1, 2],
        [0, 1, 2],
        True,
        [0, 1, 0],
    )
    body = b"".join(
        struct.pack("<BHH", step << 2 | exposure << 0 | polarity << 1, x, y)
        for step, x, y, exposure, polarity in ((1, 0, 0, 0, 1), (1, 1, 1, 1, 1), (3, 2, 2, 0, 1))
    )
    path.write_bytes(b"Event Stream" + bytes([2, 0, 0, 2]) + struct.pack("<HH", 10, 8) + body)
    found = reading.read(path, Asked())
    assert [found[name].tolist() for name in "txyp"] == [[0, 4], [0, 2], [7, 5], [True, True]]
    assert found.remarks == ("holds measurements of exposure, which were left out",)


@pytest.mark.parametrize("x", [160, 175, 208])
def test_data_that_begin_as_a_line_of_text_does_are_data(x: int, tmp_path: Path) -> None:
    # Row 140 from the bottom makes # of the first byte, and some columns an end of line of what follows.
    events = event_files.stream([0, 1, 2], [345 - x, 5, 6], [259 - 140, 7, 8], [1, 0, 1], (346, 260))
    event_tables.aedat2(tmp_path / "a.aedat", events)
    found = reading.read(tmp_path / "a.aedat", Asked())
    assert all(np.array_equal(found[name], events[name]) for name in "txyp")
