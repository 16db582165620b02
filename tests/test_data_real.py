"""Real recordings and images, where SNNPRUNE_DATA names a folder that has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from tonic.transforms import ToFrame

from snnprune import data
from snnprune.config.schema import DataConfig
from snnprune.data import neuromorphic
from snnprune.data.frames import to_frames

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.data


def need(name: str, root: Path) -> Path:
    folder = data.where(name, root)
    if folder is None:
        alike = [path.name for path in root.iterdir() if plain(path.name) == plain(name)]
        assert not alike, f"{root} has {alike}, in which no {name} is found"
        pytest.skip(f"no {name} in {root}")
    return folder


def plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


@pytest.mark.parametrize(
    ("name", "source"), [("nmnist", neuromorphic.NMNIST), ("poker-dvs", neuromorphic.POKER_DVS)]
)
def test_real_recordings_are_binned_as_tonic_bins_them(
    name: str, source: neuromorphic.Recordings, real_data: Path
) -> None:
    folder = need(name, real_data)
    read = source.reader()
    _, height, width = source.sensor
    transform = ToFrame(sensor_size=(width, height, 2), n_time_bins=10)
    for recording in source.list(folder, "test")[::5]:
        events = read(recording)
        expected = transform(events.structured())
        assert np.array_equal(to_frames(events, 10, source.sensor, "tonic"), expected)
        assert to_frames(events, 10, source.sensor, "time").sum(dtype=int) == len(events)


def test_n_mnist_subset(real_data: Path) -> None:
    folder = need("nmnist", real_data)
    for root in (real_data, folder.parent, folder):
        splits = data.load(DataConfig(name="nmnist", root=str(root)))
        assert len(splits.train) + len(splits.validation) == len(list(folder.glob("Train/*/*.bin")))
        assert len(splits.test) == len(list(folder.glob("Test/*/*.bin")))
    frames, _ = splits.train.__getitems__(list(range(len(splits.train))))
    assert 3800 < frames.sum() / len(frames) < 4500


def test_poker_dvs(real_data: Path) -> None:
    need("poker-dvs", real_data)
    splits = data.load(DataConfig(name="poker-dvs", root=str(real_data)))
    assert len(splits.train) + len(splits.validation) == 48
    assert np.bincount(splits.test.labels).tolist() == [5] * 4


@pytest.mark.parametrize(("name", "mean"), [("mnist", 0.1307), ("fashion-mnist", 0.2860)])
def test_grey_images(name: str, mean: float, real_data: Path) -> None:
    need(name, real_data)
    splits = data.load(DataConfig(name=name, root=str(real_data)))
    assert len(splits.train) + len(splits.validation) == 60_000
    assert len(splits.test) == 10_000
    images, _ = splits.train.__getitems__(list(range(10_000)))
    assert images.float().mean() / 255 == pytest.approx(mean, rel=0.02)


@pytest.mark.slow
def test_cifar10_archives(real_data: Path) -> None:
    need("cifar10", real_data)
    splits = data.load(DataConfig(name="cifar10", root=str(real_data)))
    assert len(splits.train) + len(splits.validation) == 50_000
    assert np.bincount(splits.test.labels).tolist() == [1000] * 10
    images, _ = splits.train.__getitems__(list(range(len(splits.train))))
    means = [images[:, channel].float().mean().item() / 255 for channel in range(3)]
    assert means == pytest.approx([0.4913, 0.4821, 0.4465], abs=2e-3)
