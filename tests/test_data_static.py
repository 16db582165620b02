"""Still images: MNIST's files, CIFAR-10 in three forms, and their encoding."""

from __future__ import annotations

import io
import pickle
import re
from typing import TYPE_CHECKING

import pytest
import torch
from PIL import Image

from snnprune import data
from snnprune.common.errors import UserError
from snnprune.config.schema import DataConfig
from support.pictures import picture, pictures, write_archives, write_binary, write_folders
from support.recordings import write_mnist

if TYPE_CHECKING:
    from pathlib import Path


def config(name: str, root: Path, **changes: object) -> DataConfig:
    return DataConfig(name=name, root=str(root), cache=str(root / "cache"), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "folder"), [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST")])
def test_mnist(name: str, folder: str, tmp_path: Path) -> None:
    write_mnist(tmp_path, name=folder)
    for root in (tmp_path, tmp_path / folder):
        splits = data.load(config(name, root))
        assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [30, 10, 20]
        assert splits.shape == (1, 28, 28)
        assert not splits.events
        images, labels = splits.test.__getitems__([3, 14])
        assert images.shape == (2, 1, 28, 28)
        assert labels.tolist() == [3, 4]
        assert images[0, 0, 10].eq(200).all()
        assert images.sum() == 2 * 28 * 200


def test_one_is_not_taken_for_the_other(tmp_path: Path) -> None:
    write_mnist(tmp_path, name="FashionMNIST")
    assert data.where("mnist", tmp_path / "FashionMNIST") is None
    with pytest.raises(UserError, match=r"MNIST is expected in .*MNIST/raw"):
        data.load(config("mnist", tmp_path))


@pytest.mark.parametrize("part", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_files_cut_short(part: str, tmp_path: Path) -> None:
    write_mnist(tmp_path)
    path = tmp_path / "MNIST" / "raw" / part
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(UserError, match=re.escape(str(path.parent))) as caught:
        data.load(config("mnist", tmp_path))
    assert "\n" not in str(caught.value)


FORMS = {"cifar10-jpg": write_archives, "cifar10": write_folders, "cifar-10-batches-bin": write_binary}


@pytest.mark.parametrize("form", FORMS)
def test_cifar10_in_every_form(form: str, tmp_path: Path) -> None:
    folder = FORMS[form](tmp_path / form)
    assert data.where("cifar10", tmp_path) == data.where("cifar10", folder) == folder
    splits = data.load(config("cifar10", tmp_path))
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [20, 10, 30]
    assert splits.shape == (3, 32, 32)
    images, labels = splits.test.__getitems__(list(range(30)))
    assert labels.tolist() == [label for label in range(10) for _ in range(3)]
    for i in range(30):
        assert images[i, :, 10].eq(20 * (i // 3)).all()
        assert images[i, :, i % 3].eq(255).all()


def test_cifar10_pickles_are_not_opened(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "data_batch_1").write_bytes(pickle.dumps({}))
    with pytest.raises(UserError, match=r"CIFAR-10 \(binary version\) is expected in"):
        data.load(config("cifar10", tmp_path))


@pytest.mark.parametrize("content", [b"", b"no image", picture(0, 0)[:60]])
def test_a_broken_picture_is_named_or_left_out(content: bytes, tmp_path: Path) -> None:
    write_archives(tmp_path / "cifar10-jpg", {"cat/0001.png": content})
    with pytest.raises(UserError, match=r"train.tar.gz: train/cat/0001.png is not a usable image"):
        data.load(config("cifar10", tmp_path))
    with pytest.warns(UserWarning, match="1 could not be read"):
        splits = data.load(config("cifar10", tmp_path, skip_corrupt=True))
    assert len(splits.train) + len(splits.validation) == 29


def test_a_picture_of_another_size(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.new("RGB", (64, 32)).save(file, "PNG")
    write_archives(tmp_path / "cifar10-jpg", {"cat/0001.png": file.getvalue()})
    with pytest.raises(UserError, match="64 x 32 pixels, not 32 x 32"):
        data.load(config("cifar10", tmp_path))


def test_an_archive_cut_short(tmp_path: Path) -> None:
    path = write_archives(tmp_path / "cifar10-jpg") / "train.tar.gz"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match=r"train.tar.gz cannot be read to its end"):
        data.load(config("cifar10", tmp_path))


def test_a_class_without_pictures(tmp_path: Path) -> None:
    changes = dict.fromkeys(name for name in pictures() if name.startswith("ship"))
    write_archives(tmp_path / "cifar10-jpg", changes)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="no image of class 'ship'"):
        data.load(config("cifar10", tmp_path))


def test_a_binary_batch_cut_short(tmp_path: Path) -> None:
    path = write_binary(tmp_path / "cifar-10-batches-bin") / "data_batch_2.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match="not a complete batch of CIFAR-10"):
        data.load(config("cifar10", tmp_path))


IMAGES = torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(1, 1, 1, 3)


def test_direct_encoding_shows_the_image_at_every_step_without_copies() -> None:
    shown = data.encode(IMAGES, DataConfig(time_steps=4))
    assert shown.shape == (4, 1, 1, 1, 3)
    assert shown.dtype == torch.float32
    assert torch.equal(shown[3].flatten(), torch.tensor([0.0, 0.2, 1.0]))
    assert shown.stride(0) == 0


def test_poisson_encoding_fires_as_often_as_the_pixel_is_bright() -> None:
    settings = DataConfig(time_steps=20_000, encoding="poisson")
    spikes = data.encode(IMAGES, settings, torch.Generator().manual_seed(0))
    assert set(spikes.unique().tolist()) == {0.0, 1.0}
    rates = spikes.mean(dim=0).flatten()
    assert rates[0] == 0
    assert rates[2] == 1
    assert rates[1] == pytest.approx(0.2, abs=0.01)
    again = data.encode(IMAGES, settings, torch.Generator().manual_seed(0))
    assert torch.equal(spikes, again)


def test_recordings_come_time_first() -> None:
    x = torch.arange(2 * 3 * 2 * 1 * 2, dtype=torch.uint8).reshape(2, 3, 2, 1, 2)
    shown = data.encode(x, DataConfig(time_steps=3))
    assert shown.shape == (3, 2, 2, 1, 2)
    assert shown.is_contiguous()
    assert torch.equal(shown[2, 1], x[1, 2].float())


def test_networks_without_time_see_one_image() -> None:
    x = torch.tensor([200, 200, 50], dtype=torch.uint8).reshape(1, 3, 1, 1, 1).repeat(2, 1, 2, 1, 2)
    seen = data.encode(x, DataConfig(), time=False)
    assert seen.shape == (2, 2, 1, 2)
    assert seen.eq(150).all()  # whatever T is; as uint8 their sum would be 194
    assert torch.equal(data.encode(IMAGES, DataConfig(), time=False).flatten(), torch.tensor([0.0, 0.2, 1.0]))
