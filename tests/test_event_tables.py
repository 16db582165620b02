"""Event files that are tables: golden files, what each refuses, and what any list of events becomes."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snnprune.common.errors import UserError
from snnprune.data.events import reading
from snnprune.data.events.stream import Asked, Stream
from support import event_tables

GOLDEN = Path(__file__).parent / "golden" / "events"
SENSOR = Asked(sensor=(346, 260))
TXYP = replace(SENSOR, columns=("t", "x", "y", "p"))

WRITTEN = {
    "txyp_header.csv": SENSOR,
    "xytp_spaces.txt": replace(SENSOR, columns=("x", "y", "t", "p")),
    "seconds_signed.csv": replace(TXYP, unit="s"),
    "structured_unix.npy": SENSOR,
    "columns_signed.npz": SENSOR,
    "table_txyp.npy": TXYP,
    "offset.h5": SENSOR,
    "compound.h5": SENSOR,
    "events.es": Asked(),
    "events.aedat4": Asked(),
}
"""What has to be said of each golden file."""

ANY_STREAM = st.integers(0, 40).flatmap(
    lambda many: st.builds(
        lambda t, x, y, p, first: Stream(
            np.sort(np.array(t, np.int64)) - min(t, default=0),
            np.array(x, np.uint16),
            np.array(y, np.uint16),
            np.array(p, np.bool_),
            (346, 260),
            first,
        ),
        st.lists(st.integers(0, 2**31 - 1), min_size=many, max_size=many),
        st.lists(st.integers(0, 345), min_size=many, max_size=many),
        st.lists(st.integers(0, 259), min_size=many, max_size=many),
        st.lists(st.booleans(), min_size=many, max_size=many),
        st.integers(0, 2**44),
    )
)
QUICK = settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))

ENCODED = {
    "csv": (".csv", SENSOR),
    "text": (".txt", Asked()),
    "npy_structured": (".npy", SENSOR),
    "npy_table": (".npy", TXYP),
    "npz": (".npz", SENSOR),
    "h5_group": (".h5", Asked()),
    "h5_compound": (".hdf5", Asked()),
}
"""Encoders of `support.event_tables`, the ending of their files, and what has to be said of these."""


def same(found: Stream, expected: Stream | np.ndarray) -> None:
    for name in "txyp":
        assert np.array_equal(found[name], expected[name]), name


def refused(path: Path, asked: Asked, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        reading.read(path, asked)
    assert str(caught.value).startswith(f"{path} is not a usable ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", WRITTEN)
def test_a_golden_file_is_read_in_count_order_and_time(name: str) -> None:
    found = reading.read(GOLDEN / name, WRITTEN[name])
    same(found, np.load(GOLDEN / f"{name}.truth.npy"))
    assert (len(found), found.sensor, found.disordered, found.remarks) == (1500, (346, 260), 0, ())


def test_events_out_of_order_are_sorted_stably_and_counted() -> None:
    table = np.load(GOLDEN / "disordered.npy")
    found = reading.read(GOLDEN / "disordered.npy", TXYP)
    expected = table[np.argsort(table[:, 0], kind="stable")]
    assert np.array_equal(
        np.stack([found[name] for name in "txyp"], axis=1), expected - [table[:, 0].min(), 0, 0, 0]
    )
    assert found.disordered == int((table[:, 0] < np.maximum.accumulate(table[:, 0])).sum()) == 37
    truth = np.load(GOLDEN / "disordered.npy.truth.npy")
    assert sorted(truth.tolist()) == sorted(zip(*(found[name].tolist() for name in "txyp"), strict=True))


@pytest.mark.parametrize(
    ("name", "asked", "said"),
    [
        ("txyp_header.csv", Asked(), r"--data\.sensor WIDTHxHEIGHT"),
        ("xytp_spaces.txt", SENSOR, r"4 columns have no names: say what they hold with --data\.columns"),
        ("xytp_spaces.txt", TXYP, "y must be from 0 to 259.* the order of the columns"),
        ("seconds_signed.csv", TXYP, r"floats without a unit: give --data\.time_unit"),
        ("seconds_signed.csv", replace(SENSOR, unit="s"), r"--data\.columns"),
        ("table_txyp.npy", SENSOR, r"4 columns have no names: say what they hold with --data\.columns"),
        ("table_txyp.npy", replace(SENSOR, columns=("t", "x", "y")), "must name t, x, y and p once each"),
        ("table_txyp.npy", replace(SENSOR, columns=("t", "x", "y", "p", "-")), "names 5: t,x,y,p,-"),
        ("columns_signed.npz", Asked(), r"--data\.sensor"),
        ("compound.h5", Asked(), r"--data\.sensor"),
        ("offset.h5", replace(SENSOR, stream="right"), "no stream of events called 'right'.* one of events"),
        ("events.aedat4", replace(SENSOR, stream="7"), "no stream of events called '7'"),
        ("events.es", Asked(sensor=(240, 180)), "header says that the sensor has 346 x 260"),
    ],
)
def test_what_is_not_said_is_asked_for(name: str, asked: Asked, said: str) -> None:
    refused(GOLDEN / name, asked, said)


@pytest.mark.parametrize("name", ENCODED)
def test_any_list_of_events_comes_back(name: str, tmp_path: Path) -> None:
    ending, asked = ENCODED[name]
    path = tmp_path / f"a{ending}"

    @QUICK
    @given(ANY_STREAM)
    def check(events: Stream) -> None:
        getattr(event_tables, name)(path, events)
        if not len(events):
            with pytest.raises(UserError):
                reading.read(path, asked)
            return
        found = reading.read(path, asked)
        same(found, events)
        assert (found.sensor, found.first, found.remarks) == (events.sensor, events.first, ())

    check()


# --- text

LINES = [(1_700_000_000_000_000_123, 3, 4, 1), (1_700_000_000_000_000_999, 5, 6, 0)]


def written(tmp_path: Path, content: str | bytes, ending: str = ".txt") -> Path:
    path = tmp_path / f"a{ending}"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "content",
    [
        "3,5,7,1\n4,6,8,0\n",
        "3, 5, 7, 1\n4, 6, 8, 0",
        "3;5;7;1\r\n4;6;8;0\r\n",
        "3\t5\t7\t1\r4\t6\t8\t0\r",
        "  3   5 7 +1\n\n\n4 6 8 -1\n",
        "# made by hand\n3 5 7 1\n# another\n4 6 8 0\n",
        "% made by hand\n3 5 7 1\n% another\n4 6 8 0\n",
        "3 5 7 True\n4 6 8 False\n",
        "3 5 7 1\n4 6.0 8 0\n",
        "3.000000000000000000e+00 5.0e0 7e0 1.0\n4.000000000000000000e+00 6. 8.0 .0\n",
        b"\xef\xbb\xbf3 5 7 1\n4 6 8 0\n",
    ],
)
def test_a_text_in_many_ways(content: str | bytes, tmp_path: Path) -> None:
    found = reading.read(written(tmp_path, content), Asked((10, 10), "ms", ("t", "x", "y", "p")))
    assert [found[name].tolist() for name in "txyp"] == [[0, 1000], [5, 6], [7, 8], [True, False]]
    assert found.first == 3000


@pytest.mark.parametrize(
    "content",
    [
        "p,y,x,timestamp\n1,4,3,7\n0,6,5,8\n",
        '"polarity";"y";"x";"ts"\n1;4;3;7\n0;6;5;8\n',
        "# pol y x t\n1 4 3 7\n0 6 5 8\n",
        "%geometry:346,260\n% p,y,x,t\n1,4,3,7\n0,6,5,8\n",
        "P Y X T\n1 4 3 7\n0 6 5 8\n",
    ],
)
def test_names_say_which_column_is_which(content: str, tmp_path: Path) -> None:
    found = reading.read(written(tmp_path, content), SENSOR)
    assert [found[name].tolist() for name in "txyp"] == [[0, 1], [3, 5], [4, 6], [True, False]]


def test_a_column_may_be_left_out(tmp_path: Path) -> None:
    path = written(tmp_path, "a,7,3,b c,4,1\nd,8,5,,6,0\n")
    found = reading.read(path, replace(SENSOR, columns=("-", "t", "x", "-", "y", "p")))
    assert [found[name].tolist() for name in "txyp"] == [[0, 1], [3, 5], [4, 6], [True, False]]


def test_names_that_are_not_known_are_told_by_the_user(tmp_path: Path) -> None:
    path = written(tmp_path, "when,column,row,sign\n7,3,4,1\n8,5,6,0\n", ".csv")
    refused(path, SENSOR, r"are called when, column, row, sign: say what they hold with --data\.columns")
    assert reading.read(path, TXYP).x.tolist() == [3, 5]


def test_whole_numbers_of_64_bits_do_not_pass_through_floats(tmp_path: Path) -> None:
    path = written(tmp_path, "".join("{} {} {} {}\n".format(*line) for line in LINES))
    found = reading.read(path, replace(TXYP, unit="ns"))
    assert found.first == LINES[0][0] // 1000
    assert found.t.tolist() == [0, 0]
    assert reading.read(path, TXYP).t.tolist() == [0, 876]


def test_the_first_line_of_the_rpg_is_the_sensor(tmp_path: Path) -> None:
    path = written(tmp_path, "346 260\n0.003811 96 133 0\n0.003820 20 4 1\n")
    found = reading.read(path, Asked())
    assert (found.sensor, found.first) == ((346, 260), 3811)
    assert [found[name].tolist() for name in "txyp"] == [[0, 9], [96, 20], [133, 4], [False, True]]
    assert reading.read(path, Asked(unit="us")).first == 3811  # the file knows it better
    whole = written(tmp_path, "346 260\n3811 96 133 0\n")
    refused(whole, Asked(), r"4 columns have no names: say what they hold with --data\.columns")
    assert reading.read(whole, Asked(columns=("t", "x", "y", "p"))).sensor == (346, 260)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("1 2 3 1\n2 3 4 1\nx 3 4 1\n", "line 3 has 'x' where a number"),
        ("# c\n\n1 2 3 1\n\n2 3 4\n", "line 5 has 3 columns, and the first one 4"),
        ("1 2 3 1\n2 3 4 1 5\n", "line 2 has 5 columns, and the first one 4"),
        ("1,5 2 3 1\n2,5 3 4 1\n", "line 1 mixes commas and other separators"),
        ("1,5;2;3;1\n", "line 1 mixes commas and other separators"),
        ("1;2;3;1\n2,5;2;3;1\n", "line 2 has '2,5' where a number"),
        ("1,2,3,1,5\n", "5 columns, and --data.columns names 4"),
        (
            "99999999999999999999 2 3 1\n",
            "no event: could not convert string '99999999999999999999' to int64",
        ),
        ("1 2 3 1\n1 nan 3 1\n", "line 2 has 'nan' where a number"),
        ("1 2.5 3 1\n", "x must be whole numbers"),
        ("1 2 3 true\n1 2 3 truer\n", "words beside true and false"),
        ("", "no line of numbers"),
        ("# nothing\n", "no line of numbers"),
        ("t,x,y,p\n", "no line of numbers"),
        ("t,x,y,p\n1,2,3\n", "3 columns, and 4 names"),
        ("t,x,y,p,on\n1,2,3,1,1\n", "both p and on could be its column p"),
        ("\0" * 70_000, "no line of numbers"),
        ("t x y p\n" + "a" * 70_000, "no line of numbers"),
    ],
)
def test_a_text_that_is_refused(content: str, said: str, tmp_path: Path) -> None:
    refused(written(tmp_path, content), TXYP, said)


# --- arrays


@pytest.mark.parametrize(
    "names",
    [
        ("t", "x", "y", "p"),
        ("x", "y", "ts", "polarity"),
        ("on", "timestamp", "y", "x"),
        ("Time", "X", "Y", "Pol"),
    ],
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_structured_array_of_any_names(names: tuple[str, ...], order: str, tmp_path: Path) -> None:
    meaning = {"x": "x", "y": "y", "p": "p", "o": "p", "t": "t"}
    values = {"t": [7, 9], "x": [1, 2], "y": [3, 4], "p": [1, 0]}
    table = np.zeros(2, [(name, f"{order}i4") for name in (*names, "extra")])
    for name in names:
        table[name] = values[meaning[name[0].lower()]]
    np.save(tmp_path / "a.npy", table)
    np.savez(tmp_path / "a.npz", events=table, other=np.zeros(3))
    for path in (tmp_path / "a.npy", tmp_path / "a.npz"):
        found = reading.read(path, SENSOR)
        assert [found[name].tolist() for name in "txyp"] == [[0, 2], [1, 2], [3, 4], [True, False]]


def test_several_arrays_are_never_picked_silently(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    left = np.array([[1, 2, 3, 1]])
    np.savez(path, left=left, right=np.array([[6, 2, 3, 1]]), labels=np.arange(3))
    refused(path, TXYP, r"several streams of events: give one of left, right as --data\.stream")
    refused(path, replace(TXYP, stream="labels"), "no stream of events called 'labels'")
    assert reading.read(path, replace(TXYP, stream="right")).first == 6


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, ("/nowhere/at/all",)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((4, 9)), "column for each event: transpose it"),
        (np.zeros(9), r"shape \[9\], expected a structured array or a table"),
        (np.zeros((3, 3)), "3 columns, and --data.columns names 4"),
        (np.zeros((0, 4)), "no events"),
        (np.zeros((2, 4), complex), "array of complex128"),
        (np.array([["a", "b", "c", "d"]]), "array of <U1"),
        (np.array([Bomb()], object), "Python objects"),
        (np.zeros((2, 2), [(name, "i4") for name in "txyp"]), r"shape \[2, 2\], expected one dimension"),
        (np.zeros(2, [("t", "i4", 3), ("x", "i4"), ("y", "i4"), ("p", "i4")]), "one number for each event"),
        (np.zeros(2, [(name, "M8[us]" if name == "t" else "i4") for name in "txyp"]), "no number"),
    ],
)
def test_an_array_that_is_refused(array: np.ndarray, said: str, tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, array, allow_pickle=True)
    refused(path, TXYP, said)


def test_columns_of_an_archive(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    columns = {name: np.zeros(3, int) for name in "txyp"}
    np.savez(path, **columns | {"x": np.zeros(2, int)})
    refused(path, SENSOR, "different lengths")
    np.savez(path, **columns | {"x": np.array([Bomb()] * 3, object)})
    refused(path, SENSOR, "holds Python objects, which are never loaded")
    np.savez(path, **columns | {"x": np.zeros((3, 2))})
    refused(path, SENSOR, "one number for each event")
    np.savez(path, a=np.zeros(3))
    refused(path, SENSOR, "no events: its arrays are a")


def test_an_array_never_takes_what_its_header_claims(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, events=np.zeros((2, 4)))
    with zipfile.ZipFile(path) as archive:
        content = archive.read("events.npy")
    claimed = content.replace(b"(2, 4), }" + b" " * 11, b"(200000000000, 4), }")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("events.npy", claimed)
    refused(path, TXYP, "has 64 bytes, and its header says 6400000000000")
    (tmp_path / "a.npy").write_bytes(claimed)
    refused(tmp_path / "a.npy", TXYP, "cut short or damaged")
