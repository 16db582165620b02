"""Hot pixels: what the rule finds, and what it leaves alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from snnprune.common.errors import UserError
from snnprune.data.events import counts as counting
from snnprune.data.events.counts import per_pixel
from snnprune.data.events.hot import FACTOR, LEAST, hot, hot_in
from snnprune.data.events.stream import Stream
from snnprune.data.neuromorphic import NMNIST, POKER_DVS
from snnprune.data.saccade import Camera, record

if TYPE_CHECKING:
    from pathlib import Path

    from snnprune.data.neuromorphic import Recordings


def stream(x: object, y: object, p: object, sensor: tuple[int, int]) -> Stream:
    columns = np.asarray(x, np.uint16), np.asarray(y, np.uint16), np.asarray(p, bool)
    return Stream(np.arange(len(columns[0])), *columns, sensor)


def with_stuck(events: Stream, x: int, y: int, many: int) -> Stream:
    return stream(
        np.concatenate([events.x, np.full(many, x)]),
        np.concatenate([events.y, np.full(many, y)]),
        np.concatenate([events.p, np.zeros(many)]),
        events.sensor,
    )


def test_events_are_counted_by_polarity_row_and_column() -> None:
    found = per_pixel(stream([0, 3, 3, 3], [1, 0, 0, 0], [1, 0, 0, 1], (4, 2)))
    assert found.tolist() == [[[0, 0, 0, 2], [0, 0, 0, 0]], [[0, 0, 0, 1], [1, 0, 0, 0]]]


def test_counting_in_chunks_is_counting(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    events = stream(rng.integers(0, 7, 1000), rng.integers(0, 5, 1000), rng.integers(0, 2, 1000), (7, 5))
    whole = per_pixel(events)
    monkeypatch.setattr(counting, "CHUNK", 64)
    assert np.array_equal(per_pixel(events), whole)
    assert whole.sum() == 1000


def test_a_sensor_beyond_any_camera_is_refused_before_anything_is_allocated() -> None:
    with pytest.raises(UserError, match="65536 x 65536"):
        hot(stream([0], [0], [0], (65_536, 65_536)))


@pytest.mark.parametrize(
    ("count", "neighbours", "expected"),
    [
        (LEAST, [0, 0, 0], True),
        (LEAST - 1, [0, 0, 0], False),
        (10 * FACTOR, [9, 9, 9], False),
        (10 * FACTOR + 1, [9, 9, 9], True),
        (10 * FACTOR + 1, [9, 9, 9, 10], True),
        (10 * FACTOR + 1, [10, 10, 10], False),
        (1000, [1000, 1000, 0], True),
        (1000, [1000, 1000, 1000], False),
    ],
)
def test_the_rule(count: int, neighbours: list[int], expected: bool) -> None:
    counts = np.zeros((9, 11), np.int64)
    counts[4, 5] = count
    for place, neighbour in zip([(2, 3), (6, 7), (4, 4), (3, 5)], neighbours, strict=False):
        counts[place] = neighbour
    counts[1, 5] = counts[4, 8] = 10_000  # three rows or columns away: not around it
    assert hot_in(counts)[4, 5] == expected


@pytest.mark.parametrize(("y", "x"), [(0, 0), (0, 10), (8, 0), (8, 10), (0, 5), (4, 10)])
def test_corners_and_edges_are_found_and_hold_none_of_an_even_scene(y: int, x: int) -> None:
    counts = np.full((9, 11), 60, np.int64)
    assert not hot_in(counts).any()
    counts[y, x] = 1000
    assert np.argwhere(hot_in(counts)).tolist() == [[y, x]]


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1)])
def test_a_sensor_with_nothing_to_compare_with_has_no_hot_pixel(shape: tuple[int, int]) -> None:
    assert not hot_in(np.full(shape, 1000) * np.arange(1, 1 + shape[0] * shape[1]).reshape(shape)).any()


@pytest.mark.parametrize("size", [34, 346])
def test_a_stuck_pixel_is_found_in_what_a_camera_sees_and_nothing_else_is(size: int) -> None:
    rng = np.random.default_rng(1)
    image = np.zeros((20, 20), np.uint8)
    image[4:16, 5:8] = image[4:7, 5:16] = 255
    for events in record(
        np.kron(image[None], np.ones((1, size // 34, size // 34), np.uint8)), Camera(size, size)
    ):
        seen = stream(events["x"], events["y"], events["p"], (size, size))
        assert not hot(seen).any()
        x, y = (int(each) for each in rng.integers(0, size, 2))
        assert np.argwhere(hot(with_stuck(seen, x, y, 1000))).tolist() == [[y, x]]


def test_noise_at_any_rate_has_no_hot_pixel() -> None:
    rng = np.random.default_rng(2)
    for rate in (0.01, 0.3, 3.0, 30.0, 300.0):
        assert not hot_in(rng.poisson(rate, (180, 240))).any()


@pytest.mark.data
@pytest.mark.parametrize("source", [NMNIST, POKER_DVS])
def test_real_recordings_have_none_until_one_is_put_in(source: Recordings, real_data: Path) -> None:
    folder = source.found(real_data)
    if folder is None:
        pytest.skip(f"no {source.title} in {real_data}")
    read = source.reader()
    recordings = [each for part in ("train", "test") for each in source.list(folder, part)]
    for number, recording in enumerate(recordings[::3]):
        events = read(recording)
        assert not hot(events).any()
        x, y = number % events.sensor[0], number * 7 % events.sensor[1]
        assert np.argwhere(hot(with_stuck(events, x, y, 500))).tolist() == [[y, x]]
