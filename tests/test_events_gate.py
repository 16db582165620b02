"""The gate for the events of any file: arithmetic on paper, and what must not pass."""

from dataclasses import replace

import numpy as np
import pytest

from snnprune.data.events import gate
from snnprune.data.events.gate import LONGEST, PIECE, admitted
from snnprune.data.events.stream import Asked, Raw

SENSOR = Asked(sensor=(10, 8))


@pytest.fixture(autouse=True, params=[0, gate.FEW], ids=["at once", "one by one"])
def _ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "FEW", request.param)


def raw(**columns: object) -> Raw:
    own = {"t": [5, 7, 9], "x": [0, 9, 3], "y": [7, 0, 2], "p": [0, 1, 1]} | columns
    arrays = {name: np.asarray(own.pop(name)) for name in "txyp"}
    return Raw(**arrays, **own)


def test_times_begin_at_zero_and_fields_are_what_they_were() -> None:
    found = admitted(raw(remarks=("ends early",)), SENSOR)
    assert [found[name].tolist() for name in "txyp"] == [[0, 2, 4], [0, 9, 3], [7, 0, 2], [False, True, True]]
    assert [found[name].dtype.str[1:] for name in "txyp"] == ["i8", "u2", "u2", "b1"]
    assert found.sensor == (10, 8)
    assert found.remarks == ("ends early",)


@pytest.mark.parametrize(
    "p",
    [
        [False, True, True],
        [0, 1, 1],
        [-1, 1, 1],
        np.array([0.0, 1.0, 1.0]),
        np.array([-1, 1, 1], np.int8),
        np.array([0, 1, 1], np.uint8),
    ],
)
def test_polarities_of_three_kinds_mean_the_same(p: object) -> None:
    assert admitted(raw(p=p), SENSOR).p.tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("unit", "t", "expected"),
    [
        ("s", [0.5, 0.5000022, 1.0], [0, 2, 500_000]),
        ("ms", [1, 2, 5], [0, 1_000, 4_000]),
        ("us", [1, 2, 5], [0, 1, 4]),
        ("ns", [0, 1_999, 2_000], [0, 1, 2]),
        (None, [1, 2, 5], [0, 1, 4]),
    ],
)
def test_units(unit: str | None, t: list[float], expected: list[int]) -> None:
    found = admitted(raw(t=t), replace(SENSOR, unit=unit))
    assert found.t.tolist() == expected
    if unit:
        assert np.array_equal(admitted(raw(t=t, unit=unit), SENSOR).t, found.t)


def test_a_file_knows_its_unit_better() -> None:
    # Formats that say it may stand beside formats that do not.
    asked = replace(SENSOR, unit="s")
    assert admitted(raw(t=[1, 2, 5], unit="us"), asked).t.tolist() == [0, 1, 4]


@pytest.mark.parametrize("dtype", [np.uint64, np.int64, np.uint32, np.int32, np.int16, np.uint8])
def test_times_of_any_width_keep_their_differences(dtype: type) -> None:
    ends = np.iinfo(dtype)
    t = np.array([ends.max - 100, ends.max - 40, ends.max], dtype)
    assert admitted(raw(t=t), SENSOR).t.tolist() == [0, 60, 100]


def test_events_out_of_order_are_sorted_stably_and_counted() -> None:
    found = admitted(raw(t=[5, 9, 5, 9, 7], x=[0, 1, 2, 3, 4], y=[0] * 5, p=[0] * 5), SENSOR)
    assert found.x.tolist() == [0, 2, 4, 1, 3]
    assert found.disordered == 2


def test_laps_of_a_clock_are_undone_also_around_an_event_out_of_order() -> None:
    t = np.array([90, 99, 2, 98, 5, 40, 80, 3], np.uint8)
    found = admitted(raw(t=t, x=[0] * 8, y=[0] * 8, p=[0] * 8, lap=100), SENSOR)
    assert sorted(found.t.tolist()) == [0, 8, 9, 12, 15, 50, 90, 113]
    assert found.disordered == 1


@pytest.mark.parametrize("many", [1, 2, PIECE, PIECE + 1, 3 * PIECE + 5])
def test_order_and_laps_are_seen_wherever_pieces_end(many: int) -> None:
    rest = {name: np.zeros(many, np.uint8) for name in "xyp"}
    t = np.arange(many)
    for at in {0, 1, PIECE - 1, PIECE, PIECE + 1, many - 2} & set(range(many - 1)):
        turned = t.copy()
        turned[[at, at + 1]] = turned[[at + 1, at]]
        found = admitted(raw(t=turned, **rest), SENSOR)
        assert found.disordered == 1
        assert np.array_equal(found.t, t)
        wrapped = (t + 2**16 - 1 - at).astype(np.uint16)
        assert np.array_equal(admitted(raw(t=wrapped, lap=2**16, **rest), SENSOR).t, t)


def test_what_the_reader_has_subtracted_is_part_of_the_clock() -> None:
    assert admitted(raw(zero=1_000), SENSOR).first == 1_005
    assert admitted(raw(zero=1_000, unit="ms"), SENSOR).first == 1_005_000


def test_gaps_of_exactly_half_a_lap_go_on() -> None:
    t = np.array([1, 50, 0, 50, 0], np.uint8)
    found = admitted(raw(t=t, x=[0] * 5, y=[0] * 5, p=[0] * 5, lap=100), SENSOR)
    assert (found.t.tolist(), found.disordered) == ([0, 49, 99, 149, 199], 0)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"t": [], "x": [], "y": [], "p": []}, "no events"),
        ({"t": [1, 2]}, "different lengths"),
        ({"t": [0.5, 1.0, 2.0]}, "floats without a unit"),
        ({"t": [0.5, np.nan, 2.0], "unit": "s"}, "not finite"),
        ({"t": [0, 1, LONGEST]}, "span more than"),
        ({"t": [0.0, 1.0, 1e30], "unit": "s"}, "span more than"),
        ({"t": ["a", "b", "c"]}, "no number"),
        ({"p": [0, 1, 2]}, "one is 2"),
        ({"p": [-1, 0, 1]}, "polarities must be"),
        ({"p": [0.5, 1, 1]}, "polarities must be"),
        ({"p": ["on", "off", "on"]}, "no number"),
        ({"x": [0, 10, 3]}, "x must be from 0 to 9, and runs from 0 to 10"),
        ({"y": [-1, 0, 1]}, "y must be from 0 to 7, and runs from -1 to 1"),
        ({"x": [0, 1, 65_536 + 2]}, "x must be"),
        ({"x": [0, 1.5, 2]}, "whole numbers"),
        ({"x": [0, np.inf, 2]}, "whole numbers"),
        ({"sensor": (11, 8)}, "--data.sensor 10x8"),
    ],
)
def test_what_does_not_pass(columns: dict[str, object], said: str) -> None:
    asked = replace(SENSOR, unit=columns.pop("_unit", None))
    with pytest.raises(ValueError, match=said):
        admitted(raw(**columns), asked)


def test_the_sensor_is_never_guessed() -> None:
    with pytest.raises(ValueError, match=r"--data\.sensor WIDTHxHEIGHT"):
        admitted(raw(), Asked())
    assert admitted(raw(sensor=(12, 9)), Asked()).sensor == (12, 9)


@pytest.mark.parametrize(
    ("t", "at"),
    [
        (np.array([2**32 - 5, 2**32 - 1, 3, 9], np.uint32), 2),
        (np.array([30_000, 32_767, -32_768, -30_000], np.int16), 2),
        (np.array([0, 250, 4, 9], np.uint8), 2),
        (np.array([1_000, 20_000_000, 0, 5]), 2),
        (np.array([0.001, 20.0, 0.0, 0.1]), 2),
    ],
)
def test_a_clock_that_begins_again_is_not_sorted(t: np.ndarray, at: int) -> None:
    given = {"unit": "s"} if t.dtype.kind == "f" else {}
    with pytest.raises(ValueError, match=f"behind event {at}, as where a clock begins again"):
        admitted(raw(t=t, x=[0] * 4, y=[0] * 4, p=[0] * 4, **given), SENSOR)
