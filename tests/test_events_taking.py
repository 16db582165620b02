"""Columns pass the gate in one pass or one by one: the same comes out, and it is what comes out by hand."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snnprune.common.errors import UserError
from snnprune.data.events import gate, reading, taking
from snnprune.data.events.gate import LONGEST, TO_MICROSECONDS, admitted
from snnprune.data.events.stream import Asked, Raw, Stream
from support import event_files, event_tables

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

SENSOR = (40, 30)

Numbers = list[int]


class Expected(NamedTuple):
    """What is behind the gate."""

    t: Numbers
    x: Numbers
    y: Numbers
    p: list[bool]
    first: int
    disordered: int


def by_hand(raw: Raw) -> Expected | None:
    """Let whole numbers pass the gate, with Python's own; None where they are refused."""
    bytes_of_truth = raw.p.view(np.uint8) if raw.p.dtype == np.bool_ else raw.p
    t, x, y, p = (list(map(int, values)) for values in (raw.t, raw.x, raw.y, bytes_of_truth))
    by, over = TO_MICROSECONDS[raw.unit or "us"]
    if raw.lap is not None:
        steps = [after - before for before, after in pairwise(t)]
        for at, step in enumerate(steps, 1):
            t[at] = t[at - 1] + step + raw.lap * ((step <= -(raw.lap // 2)) - (step > raw.lap // 2))
    lowest = min(t)
    if (max(t) - lowest) * by // over >= LONGEST:
        return None
    since = [(time - lowest) * by // over for time in t]
    inside = all(0 <= column < SENSOR[0] and 0 <= row < SENSOR[1] for column, row in zip(x, y, strict=True))
    if not inside or not (set(p) <= {0, 1} or set(p) <= {-1, 1}):
        return None
    falls = [before - after for before, after in pairwise(since)]
    if any(after < before for before, after in pairwise(t)):
        at = falls.index(max(falls))
        narrow = raw.t.dtype.itemsize < 4
        fall = int(raw.t[at]) - int(raw.t[at + 1]) if narrow else falls[at]
        if fall >= (np.iinfo(raw.t.dtype).max // 2 if narrow else gate.RESTART):
            return None
    order = sorted(range(len(t)), key=since.__getitem__)
    late = sum(time < max(since[: at + 1]) for at, time in enumerate(since))
    columns = ([column[at] for at in order] for column in (since, x, y, [value == 1 for value in p]))
    return Expected(*columns, (lowest + raw.zero) * by // over, late)


def some(draw: st.DrawFn, many: int, kind: str, usual: st.SearchStrategy[int]) -> Numbers:
    """Draw numbers that are mostly usual, and now and then any that the type can hold."""
    ends = np.iinfo(kind)
    fitting = usual.filter(lambda value: ends.min <= value <= ends.max)
    found = draw(st.lists(fitting, min_size=many, max_size=many))
    for at in draw(st.one_of(st.just([]), st.lists(st.integers(0, many - 1), max_size=2))):
        found[at] = draw(st.one_of(st.integers(-2, 2), st.integers(ends.min, ends.max)).filter(
            lambda value: ends.min <= value <= ends.max
        ))  # fmt: skip
    return found


def laid_out(columns: dict[str, npt.NDArray[Any]], how: str) -> dict[str, npt.NDArray[Any]]:
    """Return columns as they lie in a file's table: each alone, or between those of other events."""
    if how == "alone":
        return columns
    table = np.empty(len(columns["t"]), [("odd", "u1"), *((name, columns[name].dtype) for name in "pxyt")])
    for name, values in columns.items():
        table[name] = values
    return {name: table[name] for name in "txyp"}


@st.composite
def recordings(
    draw: st.DrawFn, times: tuple[str, ...], places: tuple[str, ...], signs: tuple[str, ...]
) -> Raw:
    """Draw whole numbers in columns of these types: mostly plain, or wrong somewhere."""
    many = draw(st.integers(1, 12))
    kind = draw(st.sampled_from(times))
    ends = np.iinfo(kind)
    start = draw(st.one_of(st.integers(0, 100), st.integers(ends.min, ends.max)))
    usual = st.one_of(
        st.integers(0, 9), st.integers(-9, 99), st.integers(0, 2**46), st.integers(-(2**24), 2**24)
    )
    gaps = some(draw, many, "i8", draw(st.sampled_from([st.integers(0, 9), usual])))
    size = ends.dtype.itemsize
    t = [value % 2 ** (8 * size) for value in np.cumsum([start, *gaps[1:]], dtype=object)]
    columns = {
        "t": np.array(t, f"u{size}").view(kind),
        **{
            name: np.array(some(draw, many, own, st.integers(0, wide - 1)), own)
            for name, own, wide in zip(
                "xy", (draw(st.sampled_from(places)) for _ in "xy"), SENSOR, strict=True
            )
        },
    }
    sign = draw(st.sampled_from(signs))
    own = "u1" if sign == "?" else sign
    off = draw(st.sampled_from([0, -1] if sign[0] == "i" else [0]))
    columns["p"] = np.array(some(draw, many, own, st.sampled_from([off, 1])), own).view(sign)
    lap = draw(st.sampled_from([None, None, 100, 2**16, 2**32])) if size < 8 else None
    return Raw(
        **laid_out(columns, draw(st.sampled_from(["alone", "between others"]))),
        unit=draw(st.sampled_from([None, "us", "ns", "ms", "s"])),
        sensor=SENSOR,
        lap=lap,
        zero=draw(st.sampled_from([0, 1_000])),
    )


def passed(raw: Raw, few: int, patched: pytest.MonkeyPatch) -> Stream | str:
    """Return what is behind the gate, or why it is refused."""
    patched.setattr(gate, "FEW", few)
    try:
        return admitted(raw, Asked())
    except ValueError as error:
        return str(error)


def agree(
    times: tuple[str, ...], places: tuple[str, ...], signs: tuple[str, ...], examples: int
) -> tuple[int, int, int]:
    """Compare the ways; return how many recordings were plain, passed one by one, and were refused."""
    seen = {"plain": 0, "other": 0, "refused": 0}

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(recordings(times, places, signs), st.sampled_from([1, 3, taking.PIECE]), st.sampled_from([1, 3]))
    def each(raw: Raw, piece: int, threads: int) -> None:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(taking, "PIECE", piece)
            patched.setattr("snnprune.common.threads.WORTH", 1)
            patched.setattr(torch, "get_num_threads", lambda: threads)
            one, other = passed(raw, 0, patched), passed(raw, 1 << 40, patched)
            plain = taking.taken(raw, SENSOR) is not None
        expected = by_hand(raw)
        if isinstance(one, str) or isinstance(other, str) or expected is None:
            assert (one, expected) == (other, None)
            seen["refused"] += 1
            return
        for found in (one, other):
            assert [found[name].tolist() for name in "txyp"] == list(expected[:4])
            assert [found[name].dtype.str[1:] for name in "txyp"] == ["i8", "u2", "u2", "b1"]
            assert all(found[name].flags.c_contiguous and found[name].flags.aligned for name in "txyp")
            assert (found.first, found.disordered, found.sensor) == (*expected[4:], SENSOR)
        seen["plain" if plain else "other"] += 1

    each()
    return seen["plain"], seen["other"], seen["refused"]


def test_any_columns_pass_as_they_would_one_by_one() -> None:
    found = agree(("<i8", "<u8", "<u4"), ("<u2", "<i8"), ("<i2", "?", "|u1"), 1_000)
    assert min(found) > 15, found


@pytest.mark.slow
def test_columns_of_every_type_do() -> None:
    whole = tuple(f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8))
    found = agree(whole, whole, ("?", *whole), 5_000)
    assert min(found) > 75, found


@pytest.mark.parametrize(
    "t",
    [
        np.array([2**63 - 1, -(2**63)]),  # the difference comes round to 1
        np.array([2**64 - 1, 0], np.uint64),
        np.array([0, 2**44, 0]),
        np.cumsum(np.full(40, 2**45 - 1, object)).astype(np.int64),
        np.arange(2**19 + 9, dtype=np.uint64) * np.uint64(2**45 - 1),  # short steps, all the way round
        (np.arange(2**19 + 9, dtype=np.uint64) * np.uint64(2**45 - 1)).view(np.int64),
    ],
)
def test_times_that_come_round_are_not_taken(t: npt.NDArray[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    rest = [np.zeros(len(t), np.uint16)] * 3
    raw = Raw(t, *rest, sensor=SENSOR)
    refused = passed(raw, 0, monkeypatch)
    assert isinstance(refused, str)
    assert refused == passed(raw, 1 << 40, monkeypatch)


def test_bytes_of_truth_values_are_0_and_1(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = Raw(
        np.arange(5, 8), *[np.zeros(3, np.uint16)] * 2, np.array([0, 2, 1], "u1").view("?"), sensor=SENSOR
    )
    for few in (0, 1 << 40):
        assert "one is 2" in str(passed(raw, few, monkeypatch))


@pytest.mark.parametrize("few", [0, 1 << 40])
def test_what_is_behind_the_gate_is_no_map_of_the_file(
    few: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "FEW", few)
    path = tmp_path / "a.npy"
    np.save(path, np.asfortranarray(np.repeat(np.array([0, 1, 1])[:, None], 4, 1)))
    found = reading.read(path, Asked(SENSOR, columns=("t", "x", "y", "p")))
    content = bytearray(path.read_bytes())
    content[-96:] = bytes(96)
    with path.open("r+b") as file:
        file.write(content)
    assert [found[name].tolist() for name in "txyp"] == [[0, 1, 1]] * 3 + [[False, True, True]]


def test_a_long_recording_is_read_as_it_was_written(tmp_path: Path) -> None:
    events = event_files.drawn(gate.FEW + 7, (320, 240), gap=4)
    path = tmp_path / "a.npy"
    event_tables.npy_structured(path, events)
    found = reading.read(path, Asked((320, 240)))
    assert all(np.array_equal(found[name], events[name]) for name in "txyp")
    table = np.load(path)
    table["y"][-1] = 240
    np.save(path, table)
    with pytest.raises(UserError, match="y must be from 0 to 239, and runs from 0 to 240"):
        reading.read(path, Asked((320, 240)))
