"""Small copies of public data sets: other people's readers find in them what was put in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import pytest
import tonic
from spikingjelly.datasets import utils as spikingjelly_readers
from spikingjelly.datasets.asl_dvs import ASLDVS as SpikingJellyASLDVS
from spikingjelly.datasets.cifar10_dvs import _load_origin_data

from snnprune.data.events import reading
from snnprune.data.events.stream import Asked
from support import public_sets
from support.event_tables import clock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.public_sets import Written


def tonics(name: str, root: Path, **options: Any) -> Any:
    """Tonic's class over a folder, told that the few recordings there are all of them."""
    kind = getattr(tonic.datasets, name)
    with mock.patch.object(kind, "_check_exists", return_value=True):
        return kind(save_to=str(root), **options)


def by_path(found: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield the path, the events and the label of all recordings of a Tonic class, in order of the path."""
    for place in np.argsort(found.data):
        events, label = found[place]
        yield found.data[place], events, label


def assert_equal(found: Any, written: Written, *names: str) -> None:
    """Compare columns with what was put in."""
    for name in names or "txyp":
        wanted = clock(written.events) if name == "t" else written.events[name]
        assert np.array_equal(np.ravel(found[name]), wanted), (written.path, name)


def in_order(written: list[Written]) -> list[Written]:
    return sorted(written, key=lambda one: (str(one.path), one.place))


def test_cifar10_dvs_as_tonic_has_it(tmp_path: Path) -> None:
    pytest.importorskip("aedat", reason="needs aedat: pip install aedat")
    written = in_order(public_sets.cifar10_dvs(tmp_path))
    found = list(by_path(tonics("CIFAR10DVS", tmp_path)))
    assert len(found) == len(written) == 40
    for (path, events, label), one in zip(found, written, strict=True):
        assert (path, label) == (str(one.path), public_sets.CIFAR10_DVS.index(one.word))
        assert_equal(events, one)


@pytest.mark.parametrize("form", ["aedat", "aedat4"])
def test_cifar10_dvs_is_read_by_the_package(form: str, tmp_path: Path) -> None:
    for one in public_sets.cifar10_dvs(tmp_path, form=form, numbers=(7,)):
        found = reading.read(one.path, Asked())
        assert found.first == one.events.first
        assert found.sensor == (128, 128)
        for name in "txyp":
            assert np.array_equal(found[name], one.events[name])


def test_spikingjelly_swaps_the_axes_of_cifar10_dvs(tmp_path: Path) -> None:
    for one in public_sets.cifar10_dvs(tmp_path, form="aedat", numbers=(7,)):
        found = _load_origin_data(one.path)
        assert_equal(found, one, "t", "p")
        assert np.array_equal(found["x"], one.events.y)
        assert np.array_equal(found["y"], one.events.x)


def test_n_caltech101(tmp_path: Path) -> None:
    written = in_order(public_sets.n_caltech101(tmp_path))
    assert len(set(public_sets.N_CALTECH101)) == 101
    found = list(by_path(tonics("NCALTECH101", tmp_path)))
    assert len(found) == len(written) == 202
    for (path, events, label), one in zip(found, written, strict=True):
        assert (path, label) == (str(one.path), one.word)
        assert_equal(events, one, "t", "p")
        for name in "xy":  # which Tonic lets begin at 0
            assert np.array_equal(events[name], one.events[name] - one.events[name].min())
        assert_equal(spikingjelly_readers.load_ATIS_bin(path), one)


@pytest.mark.parametrize("within", [False, True])
def test_n_cars(within: bool, tmp_path: Path) -> None:
    expelliarmus = pytest.importorskip("expelliarmus")
    written = public_sets.n_cars(tmp_path, within=within)
    assert len({one.path for one in written}) == 8
    for one in written:
        assert one.path.match(f"n-cars_{one.part}/{f'{one.part}/' * within}{one.word}/obj_*_td.dat")
        assert_equal(expelliarmus.Wizard(encoding="dat").read(str(one.path)), one)
        found = reading.read(one.path, Asked(sensor=(120, 100)))
        assert all(np.array_equal(found[name], one.events[name]) for name in "txyp")


@pytest.mark.parametrize("dtype", [np.float64, np.int32])
def test_asl_dvs(dtype: type, tmp_path: Path) -> None:
    written = in_order(public_sets.asl_dvs(tmp_path, dtype=dtype, each=1))
    found = {path: (events, label) for path, events, label in by_path(tonics("ASLDVS", tmp_path))}
    assert len(found) == 24
    for one in written:
        events, label = found[str(one.path)]
        assert label == "abcdefghijklmnopqrstuvwxyz".index(one.word)  # j is left out of the letters only
        assert events.shape == (len(one.events), 1)
        assert_equal(events, one)


def test_spikingjelly_mirrors_asl_dvs(tmp_path: Path) -> None:
    public_sets.asl_dvs(tmp_path / "extract", each=1)
    (tmp_path / "npz").mkdir()
    SpikingJellyASLDVS.create_raw_from_extracted(tmp_path / "extract" / "ASLDVS", tmp_path / "npz")
    one = public_sets.asl_dvs(tmp_path / "again", each=1)[0]
    with np.load(tmp_path / "npz" / one.word / f"{one.path.stem}.npz") as found:
        assert_equal(found, one, "t", "y", "p")
        assert np.array_equal(found["x"], 239 - one.events.x)


def test_dvs_lip(tmp_path: Path) -> None:
    words = tonic.datasets.DVSLip.classes
    written = in_order(public_sets.dvs_lip(tmp_path, words=words))
    for part in ("train", "test"):
        found = list(by_path(tonics("DVSLip", tmp_path, train=part == "train")))
        own = [one for one in written if one.part == part]
        assert len(found) == len(own) == 100
        for (path, events, label), one in zip(found, own, strict=True):
            assert (path, words[label]) == (str(one.path), one.word)
            assert_equal(events, one)


@pytest.mark.parametrize(
    ("name", "parts", "count"),
    [
        ("SHD", {"train": {"train": True}, "test": {"train": False}}, 20),
        ("SSC", {part: {"split": part} for part in ("train", "valid", "test")}, 35),
    ],
)
def test_heidelberg(name: str, parts: dict[str, dict[str, Any]], count: int, tmp_path: Path) -> None:
    written = getattr(public_sets, name.lower())(tmp_path)
    for part, options in parts.items():
        found = tonics(name, tmp_path, **options)
        own = [one for one in written if one.part == part]
        assert len(found) == len(own)
        assert len({one.word for one in own}) == len(found.classes) == count
        for one in own:
            events, label = found[one.place]
            assert found.classes[label].decode() == one.word
            assert_equal(events, one, "t", "x")
            assert (events["p"] == 1).all()
            assert (clock(one.events) >= 0).all()
            # Times of half a second and more lie half a millisecond apart: all that 16 bits can tell.
            late = np.unique(clock(one.events)[clock(one.events) >= 500_000])
            assert (np.diff(late) >= 488).all()


def test_dvs_gesture_as_ibm_has_it(tmp_path: Path) -> None:
    written = public_sets.dvs_gesture(tmp_path)
    for path in sorted({one.path for one in written}):
        whole = spikingjelly_readers.load_aedat_v3(path)
        table = np.loadtxt(f"{str(path)[:-6]}_labels.csv", dtype=np.int64, delimiter=",", skiprows=1)
        own = [one for one in written if one.path == path]
        assert sorted({int(label) for label in table[:, 0]}) == list(range(1, 12))
        for one, (label, begin, end) in zip(own, table, strict=True):
            assert int(one.word) == label
            inside = (whole["t"] >= begin) & (whole["t"] < end)
            assert_equal({name: whole[name][inside] for name in "txyp"}, one)
        assert f"{path.name}\n" in (path.parent / f"trials_to_{own[0].part}.txt").read_text()
