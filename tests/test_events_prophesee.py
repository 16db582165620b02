"""Files of Prophesee's cameras: words by hand, headers of all ages, golden files, other people's writers."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from snnprune.common.errors import UserError
from snnprune.data.events.reading import read
from snnprune.data.events.stream import Asked
from support import event_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from snnprune.data.events.stream import Stream

GOLDEN = Path(__file__).parent / "golden" / "events"
SENSOR = Asked(sensor=(2048, 2048))
HEADS = {"u2": b"% evt 3.0\n", "u4": b"% evt 2.0\n", "u8": b"% format EVT21;endianness=little\n"}

# --- EVT 2.0 and 2.1
OFF, ON, TIME_HIGH = 0 << 28, 1 << 28, 8 << 28
# --- EVT 3.0
ADDR_Y, ADDR_X, BASE_X, VECT_12, VECT_8, TIME_LOW, HIGH = (k << 12 for k in (0, 2, 3, 4, 5, 6, 8))
ON_3 = 1 << 11


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "recording.raw"


def of_words(path: Path, kind: str, words: Iterable[int], asked: Asked = SENSOR) -> Stream:
    path.write_bytes(HEADS[kind] + b"% end\n" + np.array(list(words), f"<{kind}").tobytes())
    return read(path, asked)


def rows(found: Stream) -> list[tuple[int, ...]]:
    """Each event as time on the file's clock, column, row, polarity."""
    columns = (found.t + found.first, found.x, found.y, found.p)
    return list(zip(*(column.astype(int).tolist() for column in columns), strict=True))


@pytest.mark.parametrize("name", ["evt2.raw", "evt3.raw", "evt3_sparse.raw", "events.dat"])
def test_golden(name: str) -> None:
    found, truth = read(GOLDEN / name, Asked()), np.load(GOLDEN / f"{name}.truth.npy")
    assert len(found) == len(truth)
    for column in "txyp":
        assert np.array_equal(found[column], truth[column])
    assert (found.sensor, found.disordered, found.remarks) == ((346, 260), 0, ())


def test_words_of_evt2(path: Path) -> None:
    trigger, others, continued = (10 << 28) | 5 << 22, 14 << 28 | 3, 15 << 28 | 3
    found = of_words(
        path, "u4",
        [
            TIME_HIGH | 1, ON | 3 << 22 | 5 << 11 | 7, trigger, others, continued,
            TIME_HIGH | 2, OFF | 2047 << 11 | 9,
        ],
    )  # fmt: skip
    assert rows(found) == [(64 + 3, 5, 7, 1), (128, 2047, 9, 0)]


@pytest.mark.parametrize("legacy", [False, True])
def test_words_of_evt21(path: Path, legacy: bool) -> None:
    words = [TIME_HIGH << 32 | 1 << 32, (ON | 2 << 22 | 32 << 11 | 7) << 32 | 0x80000005, 14 << 60 | 7]
    halves = np.array(words, "<u8").view("<u4").reshape(-1, 2)[:, :: -1 if legacy else 1]
    for head in (f"% format EVT21;endianness={'legacy' if legacy else 'little'}\n", "% evt 2.1\n"):
        path.write_bytes(head.encode() + halves.tobytes())
        assert rows(read(path, SENSOR)) == [(66, 32, 7, 1), (66, 34, 7, 1), (66, 63, 7, 1)]


def test_words_of_evt3(path: Path) -> None:
    found = of_words(
        path, "u2",
        [
            HIGH | 1, TIME_LOW | 5, ADDR_Y | 1 << 11 | 9, ADDR_X | ON_3 | 3,
            BASE_X | 100, VECT_12 | 0x801, VECT_8 | 0xF81, VECT_12 | 0, VECT_8 | 0x01,
            10 << 12 | 1, 14 << 12 | 2, 15 << 12 | 3, 7 << 12 | 4,
            HIGH | 1, ADDR_X | 4, HIGH | 2, ADDR_X | 5, TIME_LOW | 6, BASE_X | ON_3 | 0, VECT_8 | 2,
        ],
    )  # fmt: skip
    first, second = 4096, 8192
    vector = [(first + 5, x, 9, 0) for x in (100, 111, 112, 119, 132)]
    later = [(first + 5, 4, 9, 0), (second, 5, 9, 0), (second + 6, 1, 9, 1)]
    assert rows(found) == [(first + 5, 3, 9, 1), *vector, *later]


@pytest.mark.parametrize(
    ("kind", "high", "event", "step"),
    [
        ("u4", TIME_HIGH, [ON], 64),
        ("u8", TIME_HIGH << 32, [ON << 32 | 1], 64),
        ("u2", HIGH, [ADDR_Y, ADDR_X], 4096),
    ],
)
def test_a_time_that_falls_by_more_than_half_is_a_lap_and_by_less_goes_back(
    path: Path, kind: str, high: int, event: list[int], step: int
) -> None:
    full = (1 << 12 if kind == "u2" else 1 << 28) - 1
    shift = 32 if kind == "u8" else 0
    highs = [full - 1, full, full - 2, 1, 0, 2, full // 2 + 3, 1]
    words = [word for value in highs for word in (high | value << shift, *event)]
    found = of_words(path, kind, words)
    laps = [0, 0, 0, 1, 1, 1, 1, 2]
    times = [(value + lap * (full + 1)) * step for value, lap in zip(highs, laps, strict=True)]
    assert sorted(times) == (found.t + found.first).tolist()
    assert found.disordered == 2


@pytest.mark.parametrize(
    ("kind", "words", "left_out"),
    [
        ("u4", [ON, OFF, TIME_HIGH, ON], 2),
        ("u8", [ON << 32 | 7, TIME_HIGH << 32, ON << 32 | 1], 3),
        ("u2", [ADDR_Y, ADDR_X, BASE_X, VECT_12 | 7, HIGH, ADDR_X], 4),
        ("u2", [HIGH, ADDR_X, VECT_8 | 3, ADDR_Y, VECT_12 | 3, ADDR_X], 5),
    ],
)
def test_events_without_a_time_or_place_are_left_out_and_counted(
    path: Path, kind: str, words: list[int], left_out: int
) -> None:
    found = of_words(path, kind, words)
    assert len(found) == 1
    assert found.remarks == (
        f"has {left_out} events before the first word of their time or place, which were left out",
    )


def test_a_vector_beyond_the_sensor_is_refused_however_long(path: Path) -> None:
    start = [HIGH, ADDR_Y, BASE_X]
    with pytest.raises(UserError, match=r"x must be from 0 to 99, and runs from 0 to 107"):
        of_words(path, "u2", [*start, *[VECT_12 | 0xFFF] * 9], Asked(sensor=(100, 10)))
    with pytest.raises(UserError, match=r"x must be"):  # 65,536 = 12 x 5,461 + 4: back at column 8
        of_words(path, "u2", [*start, *[VECT_12] * 5462, VECT_12 | 1], Asked(sensor=(100, 10)))


@pytest.mark.parametrize(("kind", "over"), [("u4", 3), ("u8", 5), ("u2", 1)])
def test_a_file_that_ends_within_a_word(path: Path, kind: str, over: int) -> None:
    path.write_bytes(b"")
    one = {"u4": [TIME_HIGH, ON], "u8": [TIME_HIGH << 32, ON << 32 | 1], "u2": [HIGH, ADDR_Y, ADDR_X]}[kind]
    of_words(path, kind, one)
    path.write_bytes(path.read_bytes() + bytes(over))
    found = read(path, SENSOR)
    assert len(found) == 1
    assert found.remarks == (f"ends within a word, of which {over} bytes were left out",)


WORDS_3 = np.array([HIGH, ADDR_Y, ADDR_X], "<u2").tobytes()


@pytest.mark.parametrize(
    ("lines", "sensor"),
    [
        ("% date 2023-03-29\n% evt 3.0\n% format EVT3;height=720;width=1280\n% geometry 1280x720\n% end\n",
         (1280, 720)),
        ("% format EVT3; height = 720; width = 1280\n", (1280, 720)),
        ("% evt 3.0\n% geometry 640x480\n", (640, 480)),
        ("% Date 2020-09-14\n% evt 3.0\n% integrator_name Prophesee\n% sensor_generation 3.1\n", None),
    ],
)  # fmt: skip
def test_headers_of_all_ages(path: Path, lines: str, sensor: tuple[int, int] | None) -> None:
    path.write_bytes(lines.encode() + WORDS_3)
    if sensor is None:
        with pytest.raises(UserError, match=r"--data\.sensor WIDTHxHEIGHT"):
            read(path, Asked())
    assert read(path, Asked(sensor=sensor or (640, 480))).sensor == (sensor or (640, 480))


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("", "no line '% format' or '% evt'"),
        ("% integrator_name Prophesee\n", "no line '% format' or '% evt'"),
        ("% evt 4.0\n", "'4.0', and EVT2, EVT21 or EVT3"),
        ("% format HISTO3D;height=320;width=320\n", "encoded as 'HISTO3D'"),
        ("% evt 2.0\n% format EVT3\n", "says both EVT3 and evt 2.0"),
        ("% evt 3.0\n% endianness big\n", "the order 'big'"),
        ("% evt 3.0\n% endianness legacy\n", "the legacy order, which none have"),
        ("% evt 2.1\n", "neither its header nor its first words"),
        ("% evt 3.0\n% geometry 640\n", "WIDTHxHEIGHT"),
        ("% evt 3.0\n% geometry 0x480\n", "cannot have 0 x 480 pixels"),
        ("% evt 3.0\n% geometry 640x480\n% format EVT3;width=1280;height=720\n", "1280 x 720 and 640 x 480"),
        ("% format EVT3;width=-1;height=720\n", "'-1' as width"),
        (f"% format EVT3;width={'9' * 5000};height=720\n", "as width"),
        ("% evt 3.0\n% date", "header never ends"),
        (f"% evt 3.0\n% {'x' * 70_000}\n", "header never ends"),
    ],
)
def test_headers_that_are_refused(path: Path, lines: str, said: str) -> None:
    path.write_bytes(lines.encode() + (b"" if lines.endswith("date") else WORDS_3))
    with pytest.raises(UserError, match="not a usable Prophesee RAW recording") as refused:
        read(path, Asked())
    assert said in str(refused.value)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("write", [event_files.evt2, event_files.evt21, event_files.evt3, event_files.dat])
def test_an_event_takes_13_bytes(path: Path, write: Callable[[Path, Stream], None]) -> None:
    path = path.with_suffix(".dat" if write is event_files.dat else ".raw")
    events = event_files.drawn(200_000, (1280, 720))
    write(path, events)
    read(path, Asked())  # compiles
    tracemalloc.start()
    found = read(path, Asked())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found) == 200_000
    assert peak < 13 * 200_000 + 500_000  # and some room for a header, and pieces that are looked at


# --- DAT


def dat(path: Path, head: str, events: list[tuple[int, int]], kind: int = 12, size: int = 8) -> Stream:
    place = path.with_suffix(".dat")
    place.write_bytes(head.encode() + bytes([kind, size]) + np.array(events, "<u4").tobytes())
    return read(place, Asked(sensor=(512, 256)))


SECOND, FIRST = 1 << 28 | 200 << 14 | 300, 1 << 17 | 200 << 9 | 300


@pytest.mark.parametrize(
    ("head", "word"),
    [
        ("% Data file containing Event2D events.\n% Version 2\n", SECOND),
        ("% Data file containing CD events\n% Version 1\n", FIRST),
        ("% Data file containing CD events\n", SECOND),
        ("% Data file containing CD events\n", FIRST),
        ("% Version 2\n% Width 512\n% Height 256\n", SECOND),
    ],
)
@pytest.mark.parametrize("kind", [0, 12])
def test_events_of_dat(path: Path, head: str, word: int, kind: int) -> None:
    assert rows(dat(path, head, [(7, word), (9, 2)], kind)) == [(7, 300, 200, 1), (9, 2, 0, 0)]


def test_laps_of_dat(path: Path) -> None:
    found = dat(path, "% Version 2\n", [(2**32 - 5, 0), (2**32 - 1, 0), (3, 0), (2**32 - 2, 0), (4, 0)])
    assert found.t.tolist() == [0, 3, 4, 8, 9]
    assert found.disordered == 1


@pytest.mark.parametrize(
    ("head", "more", "said"),
    [
        ("", {}, "no header"),
        ("% Version 3\n", {}, "version 3"),
        ("% Version two\n", {}, "'two' as version"),
        ("% Version 2\n", {"kind": 14}, "external triggers"),
        ("% Version 2\n", {"kind": 77}, "events of the type 77"),
        ("% Version 2\n", {"size": 16}, "16 bytes"),
        ("% Version 2\n% Width 10\n% Height 10\n", {}, "512x256"),
    ],
)
def test_dat_that_is_refused(path: Path, head: str, more: dict[str, int], said: str) -> None:
    with pytest.raises(UserError, match="not a usable Prophesee DAT recording") as refused:
        dat(path, head, [(1, 0)], **more)
    assert said in str(refused.value)


def test_polarities_that_are_none(path: Path) -> None:
    with pytest.raises(UserError, match="one is 3"):
        dat(path, "% Version 2\n", [(1, 0), (2, 3 << 28), (3, 1 << 28)])


# --- other people's writers


@pytest.mark.parametrize("form", ["evt2", "evt3", "dat1", "dat2"])
def test_what_faery_writes(tmp_path: Path, form: str) -> None:
    faery = pytest.importorskip("faery", reason="needs faery: pip install faery")
    events = event_files.drawn(2_000, (304, 240), gap=900)
    path = tmp_path / f"recording{'.dat' if form.startswith('dat') else '.raw'}"
    columns = np.zeros(len(events), [("t", "<u8"), ("x", "<u2"), ("y", "<u2"), (("p", "on"), "?")])
    for name in "txyp":
        columns[name] = events[name]
    faery.events_stream_from_array(columns, events.sensor).to_file(path, version=form)
    found = read(path, Asked(sensor=events.sensor))
    for name in "txyp":
        assert np.array_equal(found[name], events[name])


@pytest.mark.parametrize("form", ["evt2", "dat"])
def test_what_expelliarmus_writes(tmp_path: Path, form: str) -> None:
    expelliarmus = pytest.importorskip("expelliarmus", reason="needs expelliarmus: pip install expelliarmus")
    events = event_files.drawn(2_000, (640, 480))
    path = tmp_path / f"recording{'.dat' if form == 'dat' else '.raw'}"
    columns = np.zeros(len(events), [("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("p", "u1")])
    for name in "txyp":
        columns[name] = events[name]
    expelliarmus.Wizard(encoding=form).save(path, columns)
    found = read(path, Asked(sensor=events.sensor))
    for name in "txyp":
        assert np.array_equal(found[name], events[name])
