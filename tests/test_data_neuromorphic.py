"""Recordings on disk: read through Tonic's own classes; what is broken is named."""

from __future__ import annotations

import os
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import numpy as np
import pytest
import tonic
import torch

from snnprune import data
from snnprune.common.errors import UserError
from snnprune.config.schema import DataConfig
from snnprune.data.archives import unpack
from snnprune.data.events.layouts import Recording
from snnprune.data.frames import to_frames
from snnprune.data.neuromorphic import DVS_GESTURE, NMNIST, POKER_DVS, Recordings
from support.recordings import events, moving_bar, write_bin, write_dvs_gesture, write_nmnist, write_poker_dvs

if TYPE_CHECKING:
    from collections.abc import Callable

WRITERS = {"nmnist": write_nmnist, "dvs-gesture": write_dvs_gesture, "poker-dvs": write_poker_dvs}
SOURCES = {"nmnist": NMNIST, "dvs-gesture": DVS_GESTURE, "poker-dvs": POKER_DVS}


def config(name: str, root: Path, **changes: object) -> DataConfig:
    return DataConfig(name=name, root=str(root), cache=str(root / "cache"), time_steps=4, **changes)  # type: ignore[arg-type]


def tonics_own(source: Recordings, root: Path, *, train: bool) -> object:
    """Tonic's class over a folder, told that the few recordings there are all of them."""
    kind = getattr(tonic.datasets, source.tonic)
    with mock.patch.object(kind, "_check_exists", return_value=True):
        return kind(save_to=str(root), train=train)


@pytest.mark.parametrize("name", WRITERS)
def test_reads_what_tonic_reads(name: str, tmp_path: Path) -> None:
    source = SOURCES[name]
    root = WRITERS[name](tmp_path)
    own = tonics_own(source, root, train=False)
    expected = sorted(
        (label, to_frames(recorded, 4, source.sensor).tobytes())
        for recorded, label in (own[i] for i in range(len(own)))
    )
    splits = data.load(config(name, root))
    found = sorted(
        (label, frames.numpy().tobytes())
        for frames, label in (splits.test[i] for i in range(len(splits.test)))
    )
    assert found == expected
    assert splits.events
    assert splits.shape == source.sensor
    assert set(splits.train.labels) == set(range(len(splits.classes)))


def test_events_survive_the_way_to_disk_and_back(tmp_path: Path) -> None:
    recorded = moving_bar(7, 0, side=34)
    write_bin(tmp_path / "Train" / "7" / "1.bin", recorded)
    (recording,) = NMNIST.list(tmp_path, "train")
    read = NMNIST.reader()(recording)
    assert recording.label == 7
    for field in "xyp":
        assert np.array_equal(read[field], recorded[field])
    assert np.array_equal(read["t"], recorded["t"] - recorded["t"][0])


def test_gesture_times_are_milliseconds_on_disk(tmp_path: Path) -> None:
    write_dvs_gesture(tmp_path)
    recording = DVS_GESTURE.list(tmp_path / "DVSGesture", "train")[0]
    read = DVS_GESTURE.reader()(recording)
    times = np.load(recording.path)[:, 3]
    assert read["t"].max() == (times.max() - times.min()) * 1000
    assert read["t"].max() > 5_000_000


@pytest.mark.parametrize("name", WRITERS)
def test_found_from_above_within_and_one_level_up(name: str, tmp_path: Path) -> None:
    root = WRITERS[name](tmp_path / "outer" / "inner")
    folder = root / SOURCES[name].tonic
    for start in (folder, root, root.parent):
        assert data.where(name, start) == folder
    assert data.where(name, tmp_path) is None


def test_the_folder_may_have_any_name(tmp_path: Path) -> None:
    renamed = (write_nmnist(tmp_path) / "NMNIST").rename(tmp_path / "mine")
    assert len(data.load(config("nmnist", renamed)).test) == 20


def test_order_does_not_depend_on_the_file_system(tmp_path: Path) -> None:
    write_nmnist(tmp_path)
    listed = [str(recording.path) for recording in NMNIST.list(tmp_path / "NMNIST", "train")]
    assert listed == sorted(listed)
    first = data.load(config("nmnist", tmp_path))
    with mock.patch.object(
        Path, "glob", lambda self, pattern, _glob=Path.glob: sorted(_glob(self, pattern), reverse=True)
    ):
        again = data.load(config("nmnist", tmp_path))
    everyone = range(len(first.train))
    assert torch.equal(first.train.__getitems__(everyone)[0], again.train.__getitems__(everyone)[0])
    assert np.array_equal(first.train.labels, again.train.labels)


def test_a_changed_file_is_binned_again(tmp_path: Path) -> None:
    write_nmnist(tmp_path)
    before = data.load(config("nmnist", tmp_path)).test[0][0]
    file = NMNIST.list(tmp_path / "NMNIST", "test")[0].path
    write_bin(file, moving_bar(9, 9, side=34))
    os.utime(file, ns=(1, 1))
    assert not np.array_equal(before, data.load(config("nmnist", tmp_path)).test[0][0])


def damaged(tmp_path: Path, name: str) -> Path:
    WRITERS[name](tmp_path)
    source = SOURCES[name]
    return source.list(tmp_path / source.tonic, "train")[0].path


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def scrambled(path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).integers(0, 256, 1000).astype(np.uint8).tobytes())


def out_of_the_sensor(path: Path) -> None:
    if path.suffix == ".bin":
        write_bin(path, events((34, 0, 1, 0)))
    else:
        rows = np.load(path)
        rows[0] = 200
        np.save(path, rows)


def without_events(path: Path) -> None:
    if path.suffix == ".bin":
        path.write_bytes(b"")
    else:
        np.save(path, np.load(path)[:0])


def pickled(path: Path) -> None:
    np.save(path.with_suffix(".npy"), np.array([{}], dtype=object), allow_pickle=True)
    path.with_suffix(".npy").replace(path)


def leading_nowhere(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.parent / "nowhere")


DAMAGES = (empty, cut, scrambled, out_of_the_sensor, without_events, pickled, leading_nowhere)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", WRITERS)
def test_a_broken_recording_is_named_or_left_out(name: str, damage: object, tmp_path: Path) -> None:
    path = damaged(tmp_path, name)
    damage(path)  # type: ignore[operator]
    with pytest.raises(UserError, match=re.escape(str(path))) as caught:
        data.load(config(name, tmp_path))
    assert "skip_corrupt" in str(caught.value)
    assert "\n" not in str(caught.value)
    for _ in range(2):  # the second time from the cache: still said
        with pytest.warns(UserWarning, match=f"1 could not be read and was left out: {re.escape(str(path))}"):
            splits = data.load(config(name, tmp_path, skip_corrupt=True))
    assert splits.skipped == (str(path),)
    with pytest.warns(UserWarning, match="1 could"):
        assert "1 unreadable" in data.prepare(config(name, tmp_path, skip_corrupt=True))


def gestures(tmp_path: Path, change: Callable[[np.ndarray], np.ndarray]) -> tuple[Path, np.ndarray]:
    """A table of DVS-Gesture, changed, and what it was: columns x, y, p and t in milliseconds."""
    path = damaged(tmp_path, "dvs-gesture")
    before = np.load(path)
    np.save(path, change(before.copy()))
    return path, before


def test_signed_polarities_of_a_table_are_on_and_off(tmp_path: Path) -> None:
    path, before = gestures(tmp_path, lambda rows: rows * [1, 1, 2, 1] - [0, 0, 1, 0])
    read = DVS_GESTURE.reader()(Recording(path, 0))
    assert set(np.load(path)[:, 2]) == {-1, 1}
    assert np.array_equal(read.p, before[:, 2] == 1)  # Tonic's cast makes all of them ON


def far(rows: np.ndarray) -> np.ndarray:
    rows[5, 0] += 65_536  # which a cast to 16 bits makes a place within the sensor
    return rows


def wrapped(rows: np.ndarray) -> np.ndarray:
    rows[:, 3] += 33_000 - rows[-1, 3]
    return rows.astype(np.int16)


@pytest.mark.parametrize(
    ("change", "said"), [(far, "x must be from 0 to 127"), (wrapped, "as where a clock begins again")]
)
def test_what_casts_would_hide_is_refused(
    change: Callable[[np.ndarray], np.ndarray], said: str, tmp_path: Path
) -> None:
    path, _ = gestures(tmp_path, change)
    with pytest.raises(UserError, match=said):
        DVS_GESTURE.reader()(Recording(path, 0))


@pytest.mark.parametrize("name", WRITERS)
def test_a_missing_class_is_named_or_done_without(name: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path)
    source = SOURCES[name]
    folder = tmp_path / source.tonic / source.train
    for path in folder.glob(source.pattern.format(word=source.words[3])):
        path.unlink()
    with pytest.raises(
        UserError, match=f"no recording of class '{source.classes[3]}' in {re.escape(str(folder))}"
    ):
        data.load(config(name, tmp_path))
    assert 3 not in data.load(config(name, tmp_path, skip_corrupt=True)).train.labels


@pytest.mark.parametrize("name", WRITERS)
def test_missing_data_says_where_and_whence(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = SOURCES[name]
    with pytest.raises(
        UserError, match=re.escape(f"{tmp_path / source.tonic / source.train}, and is not there")
    ) as caught:
        data.load(config(name, tmp_path))
    assert source.home in str(caught.value)
    monkeypatch.delenv("SNNPRUNE_DATA", raising=False)
    with pytest.raises(UserError, match=r"pass --data\.root FOLDER or set SNNPRUNE_DATA"):
        data.load(DataConfig(name=name))
    monkeypatch.setenv("SNNPRUNE_DATA", str(WRITERS[name](tmp_path)))
    assert data.where(name) == tmp_path / source.tonic


def test_missing_test_folder(tmp_path: Path) -> None:
    (write_nmnist(tmp_path) / "NMNIST" / "Test").rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="expected the test recordings in"):
        data.load(config("nmnist", tmp_path))


def test_download_when_asked_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_nmnist(tmp_path / "source") / "NMNIST"
    asked = []

    def download(url: str, root: str, filename: str, md5: str) -> None:
        asked.append(filename)
        folder = {"train.zip": "Train", "test.zip": "Test"}[filename]
        with zipfile.ZipFile(Path(root) / filename, "w") as archive:
            for path in sorted((source / folder).rglob("*.bin")):
                archive.write(path, path.relative_to(source))

    monkeypatch.setattr("tonic.download_utils.download_url", download)
    target = tmp_path / "target"
    with pytest.raises(UserError):
        data.load(config("nmnist", target))
    assert asked == []
    assert len(data.load(config("nmnist", target, download=True)).test) == 20
    assert asked == ["train.zip", "test.zip"]


def test_download_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("tonic.download_utils.download_url", fail)
    with pytest.raises(UserError, match=r"N-MNIST could not be fetched.*no network"):
        data.load(config("nmnist", tmp_path, download=True))


def test_poker_cannot_be_fetched(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Tonic has no address"):
        data.load(config("poker-dvs", tmp_path, download=True))


@pytest.mark.parametrize("name", ["../outside", "/outside", "a/../../outside"])
def test_archives_write_nothing_outside_their_folder(name: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr(name, "x")
    with pytest.raises(ValueError, match="leads out of its folder"):
        unpack(tmp_path / "evil.zip", tmp_path / "deep" / "folder")
    assert not list(tmp_path.rglob("outside"))
