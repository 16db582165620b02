"""Public sets of events: small copies in their own forms on disk become frames; nothing is lost or turned."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from snnprune import data
from snnprune.common.errors import UserError
from snnprune.config.names import DATASETS
from snnprune.config.schema import DataConfig
from snnprune.data.events.published import DVS_LIP, Published
from snnprune.data.events.sources import found
from snnprune.data.frames import to_frames
from support import public_sets

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from snnprune.data.splits import Splits
    from support.public_sets import Written

WORDS = ("accused", "action", "young")

WRITERS: dict[str, tuple[str, Callable[[Path], list[Written]]]] = {
    "aedat4": ("cifar10-dvs", lambda root: public_sets.cifar10_dvs(root, form="aedat4")),
    "aedat": ("cifar10-dvs", lambda root: public_sets.cifar10_dvs(root, form="aedat")),
    "n-caltech101": ("n-caltech101", public_sets.n_caltech101),
    "n-cars": ("n-cars", public_sets.n_cars),
    "n-cars-within": ("n-cars", lambda root: public_sets.n_cars(root, within=True)),
    "asl-dvs": ("asl-dvs", public_sets.asl_dvs),
    "asl-dvs-int": ("asl-dvs", lambda root: public_sets.asl_dvs(root, dtype=np.int32)),
    "dvs-lip": ("dvs-lip", lambda root: public_sets.dvs_lip(root, words=WORDS)),
    "shd": ("shd", public_sets.shd),
    "ssc": ("ssc", public_sets.ssc),
}

SHAPES = {
    "cifar10-dvs": (2, 128, 128),
    "n-caltech101": (2, 180, 240),
    "n-cars": (2, 100, 120),
    "asl-dvs": (2, 180, 240),
    "dvs-lip": (2, 128, 128),
    "shd": (1, 1, 700),
    "ssc": (1, 1, 700),
}


def asked(name: str, root: Path, **changes: Any) -> DataConfig:
    given: dict[str, Any] = {"time_steps": 3, "validation": 0.0, "skip_corrupt": name == "dvs-lip"} | changes
    return DataConfig(name, root=str(root), cache=str(root / "cache"), **given)


def frames_of(splits: Splits, *parts: str) -> Counter[tuple[str, bytes]]:
    """Label and frames of each sample."""
    return Counter(
        (splits.classes[label], frames.numpy().tobytes())
        for part in parts
        for frames, label in (getattr(splits, part)[i] for i in range(len(getattr(splits, part))))
    )


def expected(written: list[Written], shape: tuple[int, int, int]) -> Counter[tuple[str, bytes]]:
    def frames(one: Written) -> bytes:
        events = one.events if shape[0] == 2 else replace(one.events, p=np.zeros(len(one.events), bool))
        return to_frames(events, 3, shape).tobytes()

    return Counter((one.word, frames(one)) for one in written)


@pytest.mark.parametrize("form", WRITERS)
def test_what_was_put_in_comes_out(form: str, tmp_path: Path) -> None:
    name, write = WRITERS[form]
    written = write(tmp_path)
    assert data.where(name, tmp_path) is not None
    splits = data.load(asked(name, tmp_path))
    assert splits.shape == SHAPES[name]
    assert not splits.skipped
    assert frames_of(splits, "train", "validation", "test") == expected(written, splits.shape)
    of_test = [one for one in written if one.part == "test"]
    if of_test:
        assert frames_of(splits, "test") == expected(of_test, splits.shape)
        alone = data.read(asked(name, tmp_path), needed=("test",))
        assert frames_of(alone, "test") == frames_of(splits, "test")
        assert len(alone.train) == 0


def test_sets_without_official_parts_are_divided_by_class(tmp_path: Path) -> None:
    public_sets.n_caltech101(tmp_path, each=5)
    splits = data.load(asked("n-caltech101", tmp_path))
    assert np.bincount(splits.test.labels).tolist() == [1] * 101  # a fifth
    more = data.load(asked("n-caltech101", tmp_path, test=0.4, validation=0.2))
    assert np.bincount(more.test.labels).tolist() == [2] * 101
    assert np.bincount(more.validation.labels).tolist() == [1] * 101


@pytest.mark.parametrize("name", SHAPES)
def test_what_is_not_there_is_said_with_where_to_get_it(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="get it from https://"):
        data.look(asked(name, tmp_path))
    with pytest.raises(UserError, match="get it from https://"):
        data.load(asked(name, tmp_path))


@pytest.mark.parametrize("name", [name for name in SHAPES if name not in ("shd", "ssc")])
def test_a_class_without_recordings_is_named(name: str, tmp_path: Path) -> None:
    source: Published = DATASETS[name].load()
    folder = (
        tmp_path / source.names[0] / (source.parts["train"][0] if source.parts else "") / source.classes[1]
    )
    folder.mkdir(parents=True)
    if source.parts:
        (tmp_path / source.names[0] / source.parts["test"][0] / source.classes[1]).mkdir(parents=True)
    with pytest.raises(UserError, match=f"no recording of class '{source.classes[0]}'"):
        data.load(asked(name, tmp_path, skip_corrupt=False))


def test_a_damaged_recording_is_named(tmp_path: Path) -> None:
    path = public_sets.asl_dvs(tmp_path)[0].path
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match=rf"{path.name} is not a usable ASL-DVS recording"):
        data.load(asked("asl-dvs", tmp_path))


@pytest.mark.parametrize("damage", ["cut", "text", "labels"])
def test_a_damaged_file_of_sounds_is_named(damage: str, tmp_path: Path) -> None:
    import h5py

    path = public_sets.shd(tmp_path)[0].path
    if damage == "labels":
        with h5py.File(path, "r+") as file:
            file["labels"][0] = 20
    else:
        path.write_bytes(path.read_bytes()[:3000] if damage == "cut" else b"hello")
    with pytest.raises(UserError, match=rf"{path.name} is no file of SHD"):
        data.load(asked("shd", tmp_path))


@pytest.mark.parametrize("form", [form for form in WRITERS if form not in ("dvs-lip", "shd", "ssc")])
def test_a_look_before_training_finds_every_recording(form: str, tmp_path: Path) -> None:
    name, write = WRITERS[form]
    written = write(tmp_path)
    folder = data.where(name, tmp_path)
    assert folder is not None
    looked = found(folder, DataConfig())
    assert looked.title == DATASETS[name].load().title
    assert {one.path for one in looked.listing.recordings} == {one.path for one in written}
    read = {one.path: one.events for one in written}
    for recording in looked.listing.recordings[:3]:
        assert np.array_equal(looked.read(recording).x, read[recording.path].x)


def test_words_are_those_of_the_folders(tmp_path: Path) -> None:
    assert len(DVS_LIP.classes) == 100
    assert list(DVS_LIP.classes) == sorted(DVS_LIP.classes)
