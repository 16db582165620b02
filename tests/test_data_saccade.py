"""The simulated camera: by hand where it can be, and against what it promises."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import load_digits

from snnprune import data
from snnprune.config.schema import DataConfig
from snnprune.data.digits import DIGITS_EVENTS, enlarged
from snnprune.data.saccade import Camera, record

# One saccade one pixel to the right over a 1 x 3 sensor, no optics, no background.
PLAIN = Camera(
    height=1,
    width=3,
    rise=math.log(2) * 0.999,
    fall=math.log(2) * 0.999,
    dark=1 / 7,
    blur=0.0,
    corners=((0.0, 0.0), (1.0, 0.0)),
    saccades=((0, 1000),),
    length=2000,
    samples=1,
    background=0.0,
)
DOT = np.array([[[0, 255, 0]]], np.uint8)


def test_a_dark_dot_by_hand() -> None:
    # The dot moves from pixel 1 to pixel 2. Light falls there from 1 + 1/7 to 1/7, a factor of 8: three
    # halvings, three OFF events; where it left, three ON events. Between two samples the logarithm is taken
    # as linear in place, so they come at 0.333, 0.666 and 0.999 of the way, which the path of least jerk,
    # 10 u^3 - 15 u^4 + 6 u^5, reaches at u = 0.409, 0.590 and 0.952.
    (events,) = record(DOT, PLAIN)
    off, on = events[events["p"] == 0], events[events["p"] == 1]
    assert off["x"].tolist() == [2, 2, 2]
    assert on["x"].tolist() == [1, 1, 1]
    for some in (off, on):
        assert np.abs(some["t"] - [409, 590, 952]).max() <= 1


def test_half_a_step_gives_half_the_events() -> None:
    # Half a pixel: light goes from 8/7 to 1/2 + 1/7 = 9/14, a factor of 16/9 < 2: no event.
    # Where it left: from 1/7 to 9/14, a factor of 4.5: two doublings.
    (events,) = record(DOT, replace(PLAIN, corners=((0.0, 0.0), (0.5, 0.0))))
    assert events["x"].tolist() == [1, 1]
    assert events["p"].tolist() == [1, 1]


def test_the_saccade_starts_and_ends_slowly() -> None:
    # Least jerk: a quarter of the way at u = 0.3594, half at 0.5.
    camera = replace(PLAIN, samples=4, rise=1e-3, fall=1e-3)
    (events,) = record(DOT, camera)
    gone = events[(events["x"] == 2)]["t"]
    light = 8 / 7 * np.exp(-1e-3 * np.arange(1, len(gone) + 1))
    for share, u in ((0.25, 0.3594), (0.5, 0.5), (0.75, 0.6406)):
        assert gone[np.argmin(np.abs(light - (8 / 7 - share)))] == pytest.approx(1000 * u, abs=2)


def test_repeats_itself_and_does_not_depend_on_the_company() -> None:
    images, _ = DIGITS_EVENTS.images()
    alone = list(record(images[:3]))
    for one, other in zip(alone, list(record(images[:40])), strict=False):
        assert np.array_equal(one, other)


def test_events_are_inside_the_sensor_and_in_order() -> None:
    images, _ = DIGITS_EVENTS.images()
    for events in record(images[:20]):
        assert (np.diff(events["t"]) >= 0).all()
        assert events["t"].min() >= 0
        assert events["t"].max() < Camera().length
        for field, size in (("x", 34), ("y", 34), ("p", 2)):
            assert events[field].min() >= 0
            assert events[field].max() < size


def test_a_blank_screen_gives_background_only() -> None:
    blank = np.zeros((50, 28, 28), np.uint8)
    assert all(len(events) == 0 for events in record(blank, Camera(background=0)))
    mean = np.mean([len(events) for events in record(blank, Camera(background=1.0))])
    assert mean == pytest.approx(34 * 34 * 0.31, rel=0.05)


def test_another_seed_gives_another_background() -> None:
    blank = np.zeros((1, 28, 28), np.uint8)
    (one,), (other,) = (record(blank, Camera(background=1.0, seed=seed)) for seed in (0, 1))
    assert not np.array_equal(one, other)


def test_any_size_of_image_and_sensor() -> None:
    images = np.zeros((2, 9, 12), np.uint8)
    images[:, 3:6, 4:8] = 255
    for events in record(images, Camera(height=20, width=25)):
        assert len(events) > 50
        assert events["y"].max() < 20


@pytest.mark.parametrize(
    "images", [np.zeros((28, 28), np.uint8), np.zeros((1, 28, 28)), np.zeros((1, 35, 28), np.uint8)]
)
def test_what_is_no_image_is_refused(images: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expected uint8|do not fit"):
        next(iter(record(images)))


@pytest.mark.parametrize(
    "changes", [{"saccades": ((0, 1),)}, {"length": 1000}, {"rise": 0.0}, {"fall": -1.0}, {"dark": 0.0}]
)
def test_impossible_cameras_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"corners|saccades|threshold"):
        replace(Camera(), **changes)


def test_enlarging_keeps_black_white_and_order() -> None:
    small = np.array([[[0.0, 1.0], [0.0, 1.0]]])
    (large,) = enlarged(small, 6, 8.0)
    assert large.shape == (6, 6)
    assert large[:, 0].tolist() == [0] * 6
    assert large[:, -1].tolist() == [255] * 6
    assert (np.diff(large[0].astype(int)) >= 0).all()


def test_labels_are_read_without_scikit_learn_and_are_its_own() -> None:
    splits = data.load(DataConfig("digits-events"))
    parts = (splits.train, splits.validation, splits.test)
    assert np.concatenate([part.labels for part in parts]).tolist() == load_digits().target.tolist()
    code = (
        "import sys; from snnprune import data, DataConfig;"
        "data.load(DataConfig('digits-events')); print('sklearn.datasets' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == "False"


def test_digits_events_is_divided_as_promised() -> None:
    splits = data.load(DataConfig())
    sets = (splits.train, splits.validation, splits.test)
    assert [len(part) for part in sets] == [1257, 180, 360]
    assert np.array_equal(np.concatenate([part.labels for part in sets]), DIGITS_EVENTS.images()[1])
    recordings = {part[i][0].numpy().tobytes() for part in sets for i in range(len(part))}
    assert len(recordings) == 1797  # no digit is in two sets
    assert splits.shape == (2, 34, 34)
    assert splits.classes == tuple("0123456789")
    frames, label = splits.train[0]
    assert frames.shape == (10, 2, 34, 34)
    assert label == 0
    assert all(set(part.labels) == set(range(10)) for part in sets)


def test_digits_events_is_like_n_mnist() -> None:
    # What docs/data.md measures on 600 real recordings: 4,135 events, half of them ON, three bursts.
    images, _ = DIGITS_EVENTS.images()
    recordings = list(record(images[:200]))
    assert 3500 < np.mean([len(events) for events in recordings]) < 4800
    assert 0.45 < np.mean([events["p"].mean() for events in recordings]) < 0.55
    rate = np.bincount(np.concatenate([events["t"] for events in recordings]) // 5000, minlength=62)
    calm = rate[[0, 1, 20, 21, 42, 43]].max()
    assert all(rate[part].max() > 5 * calm for part in (slice(2, 19), slice(22, 41), slice(45, 61)))
