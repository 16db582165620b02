"""From the pixels of a sensor to those of a frame, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from snnprune.config.schema import DataConfig
from snnprune.data.events.grid import grid
from snnprune.data.events.stream import Stream


def stream(*events: tuple[int, int, int], sensor: tuple[int, int] = (10, 6)) -> Stream:
    """Events (x, y, p), one a microsecond."""
    x, y, p = (np.array(column) for column in zip(*events, strict=True))
    return Stream(np.arange(len(x)), x.astype(np.uint16), y.astype(np.uint16), p == 1, sensor)


def rows(found: Stream) -> list[tuple[int, int, int, int]]:
    return [
        (int(t), int(x), int(y), int(p)) for t, x, y, p in zip(*(found[name] for name in "txyp"), strict=True)
    ]


EVENTS = stream((0, 0, 1), (3, 1, 0), (4, 2, 1), (6, 4, 0), (9, 5, 1))


def test_nothing_asked_for_changes_nothing() -> None:
    shown = grid(DataConfig(), (10, 6))
    assert shown.shape == (2, 6, 10)
    assert rows(shown.onto(EVENTS)) == rows(EVENTS)


def test_neighbours_are_pooled() -> None:
    # 10 x 6 pixels by 5 x 3
    shown = grid(DataConfig(size="2x2"), (10, 6))
    assert shown.shape == (2, 2, 2)
    assert rows(shown.onto(EVENTS)) == [(0, 0, 0, 1), (1, 0, 0, 0), (2, 0, 0, 1), (3, 1, 1, 0), (4, 1, 1, 1)]


def test_the_centre_is_cropped_and_then_pooled() -> None:
    # columns 2 .. 7 and rows 1 .. 4 are kept: 6 x 4, pooled by 2 x 2
    shown = grid(DataConfig(crop="6x4", size="3x2"), (10, 6))
    assert rows(shown.onto(EVENTS)) == [(1, 0, 0, 0), (2, 1, 0, 1), (3, 2, 1, 0)]


def test_an_odd_rest_is_cropped_more_on_the_right() -> None:
    shown = grid(DataConfig(crop="7x6"), (10, 6))
    assert [place[1] for place in rows(shown.onto(EVENTS))] == [2, 3, 5]


def test_polarities() -> None:
    merged, on = (grid(DataConfig(polarity=kind), (10, 6)) for kind in ("merged", "on"))  # type: ignore[arg-type]
    assert merged.shape == on.shape == (1, 6, 10)
    assert [event[3] for event in rows(merged.onto(EVENTS))] == [0] * 5
    assert [event[:3] for event in rows(on.onto(EVENTS))] == [(0, 0, 0), (2, 4, 2), (4, 9, 5)]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"crop": "11x6"}, "cannot be cropped to 11x6"),
        ({"size": "20x12"}, "is smaller than --data.size 20x12"),
        ({"size": "4x3"}, r"--data.crop 8x6, which is pooled 2 x 2"),
        ({"size": "4x4"}, r"--data.crop 4x4, which is pooled 1 x 1"),
    ],
)
def test_what_cannot_be_had_names_a_way(asked: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        grid(DataConfig(**asked), (10, 6))  # type: ignore[arg-type]


def test_the_way_that_is_named_works() -> None:
    assert grid(DataConfig(size="4x3", crop="8x6"), (10, 6)).shape == (2, 3, 4)
    assert grid(DataConfig(size="64x64", crop="256x256"), (346, 260)).shape == (2, 64, 64)
    assert grid(DataConfig(size="64x36"), (1280, 720)).shape == (2, 36, 64)
