"""Binning: by hand, and against Tonic's ToFrame."""

from __future__ import annotations

import numpy as np
import pytest
from tonic.transforms import ToFrame

from snnprune.data.frames import edges, to_frames
from support.recordings import events, moving_bar

# Five events on a sensor of 2 x 3 pixels, times 10 .. 19: a span of ten microseconds.
FIVE = events((0, 0, 10, 1), (2, 1, 12, 0), (2, 1, 14, 0), (1, 0, 15, 1), (0, 1, 19, 1))
SENSOR = (2, 2, 3)


def counts(frames: np.ndarray) -> list[int]:
    return frames.reshape(len(frames), -1).sum(1).tolist()


def test_equal_time_by_hand() -> None:
    # bins [10, 15) and [15, 20)
    frames = to_frames(FIVE, 2, SENSOR, "time")
    expected = np.zeros((2, 2, 2, 3), np.uint8)
    expected[0, 1, 0, 0] = 1
    expected[0, 0, 1, 2] = 2
    expected[1, 1, 0, 1] = 1
    expected[1, 1, 1, 0] = 1
    assert frames.dtype == np.uint8
    assert np.array_equal(frames, expected)


def test_equal_count_by_hand() -> None:
    # floor((i - 1) 2 / 5) for i = 1 .. 5: 0 0 0 1 1
    assert edges(FIVE["t"], 2, "count").tolist() == [0, 3, 5]
    assert counts(to_frames(FIVE, 2, SENSOR, "count")) == [3, 2]


def test_tonics_rule_by_hand() -> None:
    # w = floor(9 / 2) = 4: bins [10, 14) and [14, 18); the event at 19 is dropped
    assert counts(to_frames(FIVE, 2, SENSOR, "tonic")) == [2, 2]


@pytest.mark.parametrize("T", [1, 2, 3, 7, 10, 16])
def test_equal_to_tonic(T: int) -> None:
    recorded = moving_bar(3, 0, side=34, n=3001)
    expected = ToFrame(sensor_size=(34, 34, 2), n_time_bins=T)(recorded.copy())
    assert np.array_equal(to_frames(recorded, T, (2, 34, 34), "tonic"), expected)


def test_tonic_loses_the_last_events_and_ours_does_not() -> None:
    recorded = moving_bar(3, 0, side=34, n=3001)
    tonic = to_frames(recorded, 10, (2, 34, 34), "tonic")
    assert tonic.sum() < 3001
    for binning in ("time", "count"):
        assert to_frames(recorded, 10, (2, 34, 34), binning).sum() == 3001


def test_equal_counts_equal_tonics_where_they_divide() -> None:
    recorded = moving_bar(3, 0, side=34, n=3000)
    expected = ToFrame(sensor_size=(34, 34, 2), n_event_bins=10)(recorded.copy())
    assert np.array_equal(to_frames(recorded, 10, (2, 34, 34), "count"), expected)


@pytest.mark.parametrize("binning", ["time", "count", "tonic"])
def test_rules_say_what_the_formulas_say(binning: str) -> None:
    rng = np.random.default_rng(0)
    for n, T in ((1, 1), (1, 5), (5, 7), (100, 9), (1000, 10)):
        time = np.sort(rng.integers(3, 3 + 20 * n, n))
        i, passed, span = np.arange(n), time - time[0], int(time[-1] - time[0])
        width = max(span // T, 1)
        bins = {"time": passed * T // (span + 1), "count": i * T // n, "tonic": passed // width}[binning]
        if binning == "tonic" and span < T:
            with pytest.raises(ValueError, match="take another"):
                edges(time, T, binning)
            continue
        expected = np.bincount(bins[bins < T], minlength=T)
        assert np.diff(edges(time, T, binning)).tolist() == expected.tolist()


def test_a_span_of_its_own_is_divided_in_place_of_the_events() -> None:
    # [9, 15) by 3: two microseconds each, so 10 | 12 | 14; what lies before and after is left out
    assert counts(to_frames(FIVE, 3, SENSOR, "time", (9, 15))) == [1, 1, 1]
    assert counts(to_frames(FIVE, 2, SENSOR, "time", (0, 40))) == [5, 0]


def test_counts_stay_at_255() -> None:
    many = events(*[(1, 1, 5, 0)] * 300)
    assert to_frames(many, 1, (2, 2, 2))[0, 0, 1, 1] == 255


def test_one_event_is_a_recording() -> None:
    assert counts(to_frames(events((0, 0, 7, 0)), 3, SENSOR, "time")) == [1, 0, 0]


@pytest.mark.parametrize("event", [(3, 0, 7, 0), (0, 2, 7, 0), (0, 0, 7, 2), (-1, 0, 7, 0), (0, -1, 7, 0)])
def test_an_event_outside_is_refused(event: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="outside of frames of 3 x 2 pixels"):
        to_frames(events(event), 1, SENSOR)
