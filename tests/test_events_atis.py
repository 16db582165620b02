"""Files of N-MNIST and N-Caltech101: bytes by hand, Tonic's own decoder, and real recordings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import tonic

from snnprune import data
from snnprune.common.errors import UserError
from snnprune.data.events.reading import read
from snnprune.data.events.stream import Asked
from support import event_files

if TYPE_CHECKING:
    from pathlib import Path

SENSOR = Asked(sensor=(34, 34))
DTYPE = np.dtype([("x", int), ("y", int), ("t", int), ("p", int)])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "00001.bin"


def test_five_bytes_an_event(path: Path) -> None:
    path.write_bytes(bytes([3, 4, 0x80, 1, 2, 33, 0, 0x7F, 255, 255]))
    found = read(path, SENSOR)
    assert [found[name].tolist() for name in "xyp"] == [[3, 33], [4, 0], [True, False]]
    assert (found.t + found.first).tolist() == [258, 2**23 - 1]


def test_a_mark_of_the_clock_adds_8192_to_all_that_follows(path: Path) -> None:
    mark = bytes([0, 240, 0, 0, 0])
    path.write_bytes(bytes([1, 1, 0, 0, 7]) + mark + bytes([2, 2, 0, 0, 8]) + mark + bytes([3, 3, 0, 0, 9]))
    found = read(path, SENSOR)
    assert (found.t + found.first).tolist() == [7, 8192 + 8, 2 * 8192 + 9]
    assert found.x.tolist() == [1, 2, 3]


def test_the_sensor_is_asked_for(path: Path) -> None:
    path.write_bytes(bytes(5))
    with pytest.raises(UserError, match=r"--data\.sensor WIDTHxHEIGHT"):
        read(path, Asked())


@pytest.mark.parametrize("content", [b"", b"abcd", bytes([0, 240, 0, 0, 0])])
def test_a_file_without_events_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"it has no events|it is empty"):
        read(path, SENSOR)


def test_a_file_that_ends_within_an_event(path: Path) -> None:
    path.write_bytes(bytes(5) + b"abc")
    assert read(path, SENSOR).remarks == ("ends within an event, of which 3 bytes were left out",)


def test_tonic_reads_the_same(path: Path) -> None:
    events = event_files.drawn(3_000, (240, 180), gap=20_000)
    event_files.atis_bin(path, events)
    theirs = tonic.io.read_mnist_file(str(path), DTYPE)
    found = read(path, Asked(sensor=events.sensor))
    assert np.array_equal(found.t + found.first, theirs["t"])
    for name in "xyp":
        assert np.array_equal(found[name], theirs[name])


@pytest.mark.data
def test_real_recordings(real_data: Path) -> None:
    folder = data.where("nmnist", real_data)
    if folder is None:
        pytest.skip(f"no N-MNIST in {real_data}")
    for recording in sorted(folder.glob("Train/*/*.bin"))[:100]:
        found, theirs = read(recording, SENSOR), tonic.io.read_mnist_file(str(recording), DTYPE)
        assert np.array_equal(found.t + found.first, theirs["t"])
        for name in "xyp":
            assert np.array_equal(found[name], theirs[name])
