"""Numbers of recordings, by arithmetic on paper."""

from __future__ import annotations

import numpy as np
import pytest

from snnprune.common.console import lasting
from snnprune.data.events.statistics import (
    BINS,
    Course,
    course,
    far,
    measured,
    pooled,
    rates,
    spread,
    strip,
)
from snnprune.data.events.stream import Stream


def stream(
    t: list[int], x: list[int], y: list[int], p: list[int], sensor: tuple[int, int] = (4, 3)
) -> Stream:
    places = np.array(x, np.uint16), np.array(y, np.uint16)
    return Stream(np.array(t), *places, np.array(p, bool), sensor, disordered=2, remarks=("ends early",))


def test_numbers_of_a_recording() -> None:
    numbers, frame = measured(stream([0, 100_000, 500_000], [0, 3, 3], [0, 2, 2], [1, 0, 1]))
    assert (numbers.events, numbers.on, numbers.span, numbers.sensor) == (3, 2, 500_000, (4, 3))
    assert numbers.rate == 6.0
    assert numbers.share == 2 / 3
    assert (numbers.disordered, numbers.remarks, numbers.hot) == (2, ("ends early",), ())
    assert np.argwhere(frame[1]).tolist() == [[0, 0], [2, 3]]
    assert np.argwhere(frame[0]).tolist() == [[2, 3]]


def test_events_of_one_time_have_no_rate() -> None:
    assert measured(stream([0, 0], [0, 1], [0, 1], [0, 1]))[0].rate is None


def test_a_hot_pixel_is_named_by_column_and_row() -> None:
    assert measured(stream(list(range(60)), [3] * 60, [1] * 60, [0] * 60))[0].hot == ((3, 1),)


@pytest.mark.parametrize(
    ("last", "width"), [(0, 1), (127, 1), (128, 2), (255, 2), (256, 4), (1_000_000, 8192), (2**41, 2**35)]
)
def test_a_course_has_the_shortest_spans_that_hold_the_recording(last: int, width: int) -> None:
    found = course(np.array([0, last // 2, last]))
    assert found.width == width
    assert found.counts.shape == (BINS,)
    expected = np.bincount([0, last // 2 // width, last // width], minlength=BINS)
    assert found.counts.tolist() == expected.tolist()


def test_a_course_begins_with_the_first_event() -> None:
    assert np.array_equal(course(np.array([5, 7, 99])).counts, course(np.array([1005, 1007, 1099])).counts)


def test_rates_of_recordings_of_different_lengths() -> None:
    short, long = course(np.array([0, 1, 2, 3])), course(np.array([0, 2, 150, 200]))
    assert (short.width, long.width) == (1, 2)
    found = rates([short, long], most=4)
    # Spans of 64 us hold 4, 0, 0, 0 events of one, and 2, 0, 1, 1 of the other.
    assert np.allclose(found.times, [32e-6, 96e-6, 160e-6, 224e-6])
    assert np.allclose(found.mean * 64e-6, [3, 0, 0.5, 0.5])
    assert np.allclose(found.low * 64e-6, [2.2, 0, 0.1, 0.1])
    assert np.allclose(found.high * 64e-6, [3.8, 0, 0.9, 0.9])


def test_rates_beside_a_recording_that_is_far_longer() -> None:
    tiny = Course(1, np.ones(BINS, np.int32))
    found = rates([tiny, course(np.array([0, 2**30]))])
    assert (found.mean * (found.times[1] - found.times[0])).sum() * 2 == pytest.approx(BINS + 2)


def test_pooling_is_the_mean_of_squares_also_at_the_edge() -> None:
    frames = np.arange(15).reshape(1, 3, 5)
    assert pooled(frames, 5).tolist() == frames.tolist()
    assert pooled(frames, 3).tolist() == [[[3, 5, 6.5], [10.5, 12.5, 14]]]
    assert pooled(np.ones((2, 720, 1280), np.int64)).shape == (2, 72, 128)
    assert (pooled(np.ones((2, 260, 346), np.int64)) == 1).all()


def test_a_film_strip_is_cut_in_equal_spans() -> None:
    frames = strip(stream([0, 9, 10, 39], [0, 1, 2, 3], [0, 0, 0, 2], [1, 1, 0, 1]), 4)
    assert frames.shape == (4, 2, 3, 4)
    assert [np.argwhere(frame).tolist() for frame in frames] == [
        [[1, 0, 0], [1, 0, 1]],
        [[0, 0, 2]],
        [],
        [[1, 2, 3]],
    ]


def test_far_is_ten_times_the_median_or_a_tenth_of_it() -> None:
    assert list(far([10, 10, 10, 100, 1])) == [False] * 5
    assert list(far([10, 10, 10, 101, 0.9, 0])) == [False, False, False, True, True, True]
    assert list(far([1, 1000])) == [False, False]
    assert list(far([0, 0, 5])) == [False, False, False]


def test_spread() -> None:
    assert spread([]) is None
    found = spread([3, 1, 2, 10])
    assert found is not None
    assert (found.median, found.low, found.high) == (2.5, 1, 10)


@pytest.mark.parametrize(
    ("microseconds", "expected"),
    [
        (0, "0 us"),
        (999, "999 us"),
        (999.7, "1 ms"),
        (306_400, "306 ms"),
        (999_700, "1 s"),
        (4_250_000, "4.25 s"),
        (200e6, "3:20 min"),
        (3_661e6, "1:01:01 h"),
    ],
)
def test_lengths_of_time_in_words(microseconds: float, expected: str) -> None:
    assert lasting(microseconds) == expected
