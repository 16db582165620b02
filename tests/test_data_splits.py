"""Names, settings, division into sets, and what is imported when."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from snnprune import data
from snnprune.common.errors import UserError
from snnprune.common.seeds import Stream
from snnprune.config.names import DATASETS
from snnprune.config.schema import DataConfig
from snnprune.data.dividing import divide, divide_groups
from support.recordings import write_nmnist

if TYPE_CHECKING:
    from pathlib import Path


def test_the_share_set_aside_by_hand() -> None:
    labels = np.array([0, 1, 0, 1, 0, 0, 1, 1])
    train, validation = divide(labels, 0.5)
    # class 0 at 0 2 4 5: the second and the fourth; class 1 at 1 3 6 7: likewise
    assert validation.tolist() == [2, 3, 5, 7]
    assert train.tolist() == [0, 1, 4, 6]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.3, 0.9, 0.999])
def test_every_class_is_on_both_sides(share: float) -> None:
    labels = np.random.default_rng(0).integers(0, 10, 500)
    train, validation = divide(labels, share)
    assert np.array_equal(np.sort(np.concatenate([train, validation])), np.arange(500))
    for label in range(10):
        aside, all_of_it = (labels[validation] == label).sum(), (labels == label).sum()
        assert abs(aside - share * all_of_it) <= 1
        assert aside < all_of_it
        assert (aside > 0) == (share > 0)


def test_a_class_of_one_stays_in_training() -> None:
    train, validation = divide(np.array([0, 1, 1]), 0.5)
    assert train.tolist() == [0, 1]
    assert validation.tolist() == [2]


def test_whole_groups_are_set_aside() -> None:
    # one class a group: the groups of class 0 are a b c, those of class 1 are d e f; the second of each goes
    labels = np.array([0, 0, 1, 0, 1, 1, 0, 1])
    groups = ["a", "b", "d", "a", "e", "e", "c", "f"]
    kept, aside = divide_groups(labels, groups, 0.34, "data.test")
    assert {groups[i] for i in aside} == {"b", "e"}
    assert not {groups[i] for i in aside} & {groups[i] for i in kept}


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.75])
def test_people_of_all_classes_are_on_one_side_each(share: float) -> None:
    labels = np.arange(240) % 6
    groups = [f"person{i // 12}" for i in range(240)]  # twenty people, two recordings of each class
    kept, aside = divide_groups(labels, groups, share, "data.test")
    assert not {groups[i] for i in aside} & {groups[i] for i in kept}
    assert np.bincount(labels[aside]).tolist() == [round(40 * share)] * 6


def test_groups_that_cannot_be_divided() -> None:
    with pytest.raises(UserError, match=r"data\.test 0\.2 sets whole .*, and all .* one, 'a'"):
        divide_groups(np.array([0, 1]), ["a", "a"], 0.2, "data.test")
    with pytest.raises(UserError, match="each class has one alone"):
        divide_groups(np.array([0, 1]), ["a", "b"], 0.2, "data.test")
    with pytest.raises(UserError, match="would set all recordings of a class aside"):
        divide_groups(np.array([0, 1, 0, 1, 1, 2]), ["a", "a", "b", "b", "b", "c"], 0.9, "data.test")


def test_no_sample_is_in_two_sets(tmp_path: Path) -> None:
    write_nmnist(tmp_path, train=5)
    splits = data.load(DataConfig(name="nmnist", root=str(tmp_path), cache=str(tmp_path), validation=0.2))
    seen = [splits.train[i][0] for i in range(len(splits.train))]
    kept = [splits.validation[i][0] for i in range(len(splits.validation))]
    assert not {frames.numpy().tobytes() for frames in seen} & {frames.numpy().tobytes() for frames in kept}
    assert len({frames.numpy().tobytes() for frames in seen + kept}) == 50
    assert len(splits.train) == 40
    assert np.bincount(splits.validation.labels).tolist() == [1] * 10


def test_a_loader_gets_ready_batches(tmp_path: Path) -> None:
    write_nmnist(tmp_path)
    train = data.load(DataConfig(name="nmnist", root=str(tmp_path), cache=str(tmp_path))).train
    for workers in (0, 1):
        loader = DataLoader(train, batch_size=7, collate_fn=data.as_is, num_workers=workers)
        batches = list(loader)
        assert batches[0][0].shape == (7, 10, 2, 34, 34)
        assert torch.equal(torch.cat([labels for _, labels in batches]), torch.from_numpy(train.labels))
        one, label = train[8]
        assert torch.equal(batches[1][0][1], one)
        assert batches[1][1][1] == label
    batches[0][0].zero_()  # a batch is the reader's own: writing to it changes nothing on disk
    assert train[0][0].sum() > 0


def test_all_names_load_and_have_a_place() -> None:
    for name in DATASETS:
        assert data.where(name, "/nonexistent") is None or DATASETS[name].has("embedded")


def test_an_unknown_name_gets_a_hint() -> None:
    with pytest.raises(UserError, match="did you mean 'nmnist'"):
        data.load(DataConfig(name="nminst"))


@pytest.mark.parametrize("changes", [{"time_steps": 0}, {"validation": 1.0}, {"validation": -0.1}])
def test_impossible_settings(changes: dict[str, float]) -> None:
    with pytest.raises(UserError, match=r"data\.(time_steps|validation)"):
        data.load(DataConfig(**changes))  # type: ignore[arg-type]


def test_a_cache_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot be written .*: pass --data.cache FOLDER"):
        data.load(DataConfig(cache=str(tmp_path / "file" / "cache")))


def test_the_cache_goes_where_caches_go(own_cache: Path) -> None:
    data.load(DataConfig())
    assert list((own_cache / "snnprune").glob("digits-events-T10-time-*.frames"))


def test_asking_where_imports_nothing_heavy() -> None:
    code = (
        "import sys; from snnprune import data; from snnprune.config.names import DATASETS;"
        "[data.where(name, '/nonexistent') for name in DATASETS];"
        "heavy = {'torch', 'tonic', 'torchvision', 'sklearn', 'matplotlib', 'lightning'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_reading_from_the_cache_needs_no_tonic(tmp_path: Path) -> None:
    write_nmnist(tmp_path)
    code = (
        "import sys; from snnprune import data; from snnprune.config.schema import DataConfig;"
        f"data.load(DataConfig(name='nmnist', root={str(tmp_path)!r}, cache={str(tmp_path)!r}));"
        "print('tonic' in sys.modules)"
    )
    outputs = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        for _ in range(2)
    ]
    assert outputs == ["True", "False"]


def handmade(*sizes: int) -> data.Splits:
    """Three sets of so many images of one pixel, which count up."""
    sets = [data.FrameSet(np.arange(n, dtype=np.uint8).reshape(n, 1, 1, 1), np.arange(n)) for n in sizes]
    return data.Splits(*sets, classes=tuple("abcdefg"), shape=(1, 1, 1), events=False)


def test_a_set_in_batches_is_the_set_in_order() -> None:
    batches = list(handmade(7, 0, 0).train.batches(3))
    assert [len(labels) for _, labels in batches] == [3, 3, 1]
    assert torch.cat([frames for frames, _ in batches]).flatten().tolist() == list(range(7))
    assert list(handmade(0, 0, 0).train.batches(3)) == []


@pytest.mark.parametrize("name", ["train", "validation", "test"])
def test_a_set_that_is_needed_holds_samples(name: str) -> None:
    given = handmade(*(0 if name == empty else 2 for empty in ("train", "validation", "test")))
    config = DataConfig(name="of my own")
    with pytest.raises(UserError, match=f"in the {name} set of 'of my own', and it is empty"):
        data.read(config, given)
    others = [other for other in ("train", "validation", "test") if other != name]
    assert data.read(config, given, needed=others) is given


def test_noise_depends_on_the_seed_and_the_place_alone() -> None:
    config = DataConfig(time_steps=50, encoding="poisson")
    images = torch.full((2, 1, 1, 1), 128, dtype=torch.uint8)
    encoder = data.Encoder(config, seed=3, time=True)
    assert encoder(images, Stream.TEST, 1).shape == (50, 2, 1, 1, 1)
    assert torch.equal(encoder(images, Stream.TEST, 1), encoder(images, Stream.TEST, 1))
    for seed, stream, place in ((4, Stream.TEST, 1), (3, Stream.TRAIN, 1), (3, Stream.TEST, 2)):
        other = data.Encoder(config, seed, time=True)(images, stream, place)
        assert not torch.equal(encoder(images, Stream.TEST, 1), other)
