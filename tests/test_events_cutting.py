"""From one recording to samples: windows, intervals and bins, by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snnprune.common.errors import UserError
from snnprune.config.check import check_data
from snnprune.config.schema import DataConfig
from snnprune.data.events.cutting import samples
from snnprune.data.events.layouts import Recording
from snnprune.data.events.stream import Stream

SENSOR = (4, 4)
FILE = Path("a.npy")


def stream(times: list[int], first: int = 0, x: list[int] | None = None) -> Stream:
    """Events at the given microseconds, all ON, in the top row."""
    places = np.zeros(len(times), np.uint16)
    columns = places if x is None else np.array(x, np.uint16)
    return Stream(np.array(times, np.int64), columns, places, np.ones(len(times), np.bool_), SENSOR, first)


def cut(
    recorded: Stream, start: int | None = None, end: int | None = None, **asked: Any
) -> tuple[list[list[int]], list[str]]:
    """Events in each frame of each sample, and what is remarked."""
    found = samples(recorded, Recording(FILE, 0, start=start, end=end), DataConfig(**asked))
    frames = [frame.reshape(len(frame), -1).sum(1).tolist() for frame in found.frames]
    return frames, found.remarks


def test_a_whole_recording_is_one_sample() -> None:
    # the span 0 .. 10 of 11 microseconds: frames [0, 5.5) and [5.5, 11)
    assert cut(stream([0, 1, 5, 6, 10]), time_steps=2) == ([[3, 2]], [])


def test_windows_without_and_with_overlap() -> None:
    recorded = stream([0, 90, 100, 199, 200, 299])
    assert cut(recorded, time_steps=2, window="100us")[0] == [[1, 1], [1, 1], [1, 1]]
    assert cut(recorded, time_steps=1, window="200us", stride="100us")[0] == [[4], [4]]


def test_a_last_window_that_is_nearly_full_is_one() -> None:
    assert len(cut(stream([0, 100, 199, 291]), time_steps=1, window="100us")[0]) == 3
    assert len(cut(stream([0, 100, 199, 280]), time_steps=1, window="100us")[0]) == 2


def test_a_recording_shorter_than_a_window_is_one_sample_and_said() -> None:
    frames, (remark,) = cut(stream([0, 10, 20]), time_steps=4, window="100us")
    assert frames == [[3, 0, 0, 0]]
    assert remark.startswith("lasts 21 us, less than data.window 100us")


def test_windows_of_an_interval_do_not_leave_it() -> None:
    recorded = stream(list(range(0, 1000, 10)), first=5_000)
    frames, remarks = cut(recorded, 5_100, 5_350, time_steps=1, window="100us")
    assert (frames, remarks) == ([[10], [10]], [])  # 5,300 to 5,350 is no whole window


def test_an_interval_is_divided_as_it_is_given() -> None:
    recorded = stream([0, 10, 90, 100], first=1_000)
    assert cut(recorded, 1_000, 1_100, time_steps=10)[0] == [[1, 1, 0, 0, 0, 0, 0, 0, 0, 1]]
    assert cut(recorded, 1_005, None, time_steps=1)[0] == [[3]]
    assert cut(recorded, None, 1_005, time_steps=1)[0] == [[1]]


@pytest.mark.parametrize(
    ("start", "end"), [(0, 100), (1_101, None), (None, 1_000), (10**30, None), (None, -(10**30))]
)
def test_an_interval_without_events_names_the_clock(start: int | None, end: int | None) -> None:
    with pytest.raises(ValueError, match="clock, which runs from 1000 to 1100"):
        cut(stream([0, 100], first=1_000), start, end)


def test_frames_of_fixed_length() -> None:
    frames, (remark,) = cut(stream([0, 9, 10, 25, 99]), time_steps=3, bin="10us")
    assert frames == [[2, 1, 1]]
    assert remark.startswith("lasts 100 us, and 3 frames of 10us show the first 30")
    assert cut(stream([0, 9]), time_steps=3, bin="10us") == ([[2, 0, 0]], [])


def test_silent_windows_are_left_out_and_counted() -> None:
    frames, (remark,) = cut(stream([0, 10, 310, 399]), time_steps=1, window="100us")
    assert frames == [[2], [2]]
    assert remark == "has 2 windows without events, which were left out"


def test_full_cells_are_counted() -> None:
    frames, (remark,) = cut(stream([0] * 300), time_steps=1)
    assert frames == [[255]]
    assert remark.startswith("has 1 counts of 255 or more")


def test_hot_pixels_are_removed_where_asked_for() -> None:
    recorded = stream([*range(100), 100], x=[3] * 100 + [0])
    assert cut(recorded, time_steps=1)[0] == [[101]]
    frames, (remark,) = cut(recorded, time_steps=1, hot_pixels="remove")
    assert frames == [[1]]
    assert remark == "has 1 hot pixel (x 3, y 0), whose events were left out"


def test_nothing_is_left_of_a_crop() -> None:
    with pytest.raises(ValueError, match="no events of the polarity and the part"):
        cut(stream([0, 1]), crop="2x2")


def test_a_sample_has_bounds() -> None:
    recorded = Stream(*(stream([0, 1])[name] for name in "txyp"), (65_536, 65_536))
    with pytest.raises(UserError, match=r"pool its pixels with --data\.size"):
        cut(recorded)


def test_tonics_rule_refuses_what_it_would_lose() -> None:
    with pytest.raises(ValueError, match="spans 5 microseconds"):
        cut(stream([0, 5]), time_steps=10, binning="tonic")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"stride": "1ms"}, "there is no data.window"),
        ({"bin": "1ms", "binning": "count"}, "leave one of them out"),
        ({"bin": "1ms", "window": "15ms"}, "give data.time_steps 15"),
        ({"bin": "2ms", "window": "15ms"}, "leave data.bin out"),
        ({"size": "3x2", "crop": "4x4"}, "must divide"),
        ({"group": "person("}, "must be a regular expression"),
    ],
)
def test_settings_that_do_not_go_together(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        check_data(DataConfig(**asked))
