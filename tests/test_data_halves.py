"""A data set of which only the test set, or only the training set, is on disk."""

from __future__ import annotations

import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from snnprune import cli, data
from snnprune.common.errors import UserError
from snnprune.config.schema import DataConfig, MethodConfig, ModelConfig, RunConfig, TrainConfig
from snnprune.export import latency
from snnprune.runs.folder import RunFolder
from snnprune.training import run
from support import tiny_run
from support.pictures import write_archives, write_binary, write_folders
from support.recordings import write_dvs_gesture, write_idx, write_mnist, write_nmnist, write_poker_dvs

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDERS: dict[str, tuple[str, Callable[[Path], Path], str, str]] = {
    "nmnist": ("nmnist", write_nmnist, "NMNIST/Train", "NMNIST/Test"),
    "dvs-gesture": (
        "dvs-gesture",
        write_dvs_gesture,
        "DVSGesture/ibmGestureTrain",
        "DVSGesture/ibmGestureTest",
    ),
    "poker-dvs": ("poker-dvs", write_poker_dvs, "POKERDVS/pips_train", "POKERDVS/pips_test"),
    "mnist": ("mnist", write_mnist, "MNIST/raw/train-images-idx3-ubyte", "MNIST/raw/t10k-images-idx3-ubyte"),
    "mnist labels": (
        "mnist",
        write_mnist,
        "MNIST/raw/train-labels-idx1-ubyte",
        "MNIST/raw/t10k-labels-idx1-ubyte",
    ),
    "cifar10 binary": (
        "cifar10",
        lambda root: write_binary(root / "cifar-10-batches-bin").parent,
        "cifar-10-batches-bin/data_batch_1.bin",
        "cifar-10-batches-bin/test_batch.bin",
    ),
    "cifar10 archives": (
        "cifar10",
        lambda root: write_archives(root / "cifar10-jpg").parent,
        "cifar10-jpg/train.tar.gz",
        "cifar10-jpg/test.tar.gz",
    ),
    "cifar10 folders": (
        "cifar10",
        lambda root: write_folders(root / "cifar10").parent,
        "cifar10/train",
        "cifar10/test",
    ),
}
"""Name of the data set, what writes it, and the first thing that is missing without a half."""


def config(name: str, root: Path, **changes: Any) -> DataConfig:
    return DataConfig(name=name, root=str(root), cache=str(root / "cache"), time_steps=4, **changes)


def take_away(path: Path) -> None:
    """Remove a half of a data set: a folder, a file, or a file and those that count on from it."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        for one in path.parent.glob(path.name.replace("_1.", "_*.")):
            one.unlink()


def everything(frames: data.FrameSet) -> tuple[torch.Tensor, torch.Tensor]:
    return frames.__getitems__(range(len(frames)))


@pytest.mark.parametrize("case", FOLDERS)
def test_the_test_set_is_read_without_the_training_set(case: str, tmp_path: Path) -> None:
    name, write, train, _ = FOLDERS[case]
    root = write(tmp_path)
    whole = data.load(config(name, root))
    assert data.halves(name, root) == ("train", "test")
    take_away(root / train)
    asked = config(name, root, samples=10_000)  # of the training samples
    found = data.read(asked, needed=("test",))
    for mine, wanted in zip(everything(found.test), everything(whole.test), strict=True):
        assert torch.equal(mine, wanted)
    assert (found.classes, found.shape, found.events) == (whole.classes, whole.shape, whole.events)
    assert (len(found.train), len(found.validation)) == (0, 0)
    assert found.train.shape == whole.train.shape
    assert data.halves(name, root) == ("test",)
    assert data.where(name, root) is not None
    for reads in (data.load, data.read, data.look, data.prepare):
        with pytest.raises(UserError, match="expected the training") as caught:
            reads(config(name, root))
        assert f"in {root / train}, which is not there: get it from http" in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("case", FOLDERS)
def test_without_the_test_set_nothing_is_read(case: str, tmp_path: Path) -> None:
    name, write, _, test = FOLDERS[case]
    root = write(tmp_path)
    take_away(root / test)
    assert data.halves(name, root) == ("train",)
    for reads in (data.load, data.look, lambda asked: data.read(asked, needed=("test",))):
        with pytest.raises(UserError, match="expected the test") as caught:
            reads(config(name, root))
        assert f"in {root / test}, which is not there" in str(caught.value)


def test_a_damaged_training_set_does_not_matter_to_the_test_set(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    (tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte").write_bytes(b"\0")
    assert len(data.read(config("mnist", tmp_path), needed=("test",)).test) == 20
    with pytest.raises(UserError, match="the training files of MNIST"):
        data.load(config("mnist", tmp_path))


def test_a_class_without_a_recording_keeps_its_name_and_label(tmp_path: Path) -> None:
    write_nmnist(tmp_path)
    shutil.rmtree(tmp_path / "NMNIST" / "Train")
    shutil.rmtree(tmp_path / "NMNIST" / "Test" / "3")
    with pytest.raises(UserError, match="no recording of class '3'"):
        data.read(config("nmnist", tmp_path), needed=("test",))
    found = data.read(config("nmnist", tmp_path, skip_corrupt=True), needed=("test",))
    assert found.classes == tuple("0123456789")
    assert np.unique(found.test.labels).tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    few = data.read(config("nmnist", tmp_path, skip_corrupt=True, classes="4,3"), needed=("test",))
    assert (few.classes, np.unique(few.test.labels).tolist()) == (("4", "3"), [0])


def test_an_empty_test_set_is_said(tmp_path: Path) -> None:
    write_nmnist(tmp_path, test=0)
    (tmp_path / "NMNIST" / "Test").mkdir()
    shutil.rmtree(tmp_path / "NMNIST" / "Train")
    with pytest.raises(UserError, match=r"no recording of class '0' in .*Test"):
        data.read(config("nmnist", tmp_path, skip_corrupt=True), needed=("test",))


def test_a_whole_data_set_comes_before_half_of_one(tmp_path: Path) -> None:
    write_nmnist(tmp_path)
    shutil.rmtree(tmp_path / "NMNIST" / "Train")
    assert data.where("nmnist", tmp_path) == tmp_path / "NMNIST"
    write_nmnist(tmp_path / "deeper", test=1)
    assert data.where("nmnist", tmp_path) == tmp_path / "deeper" / "NMNIST"
    assert len(data.read(config("nmnist", tmp_path), needed=("test",)).test) == 10


class Whole(tiny_run.Source):
    """A data set of one's own that has no halves."""


class Halved(tiny_run.Source):
    """A data set of one's own that can read its test set alone."""

    def load_test(self, config: DataConfig) -> data.Splits:
        self.asked.append(config)
        none = tiny_run.stripes(0, 0)
        return replace(tiny_run.splits(), train=none, validation=none)


WHOLE, HALVED = Whole(), Halved()


def test_a_data_set_of_ones_own_needs_no_halves() -> None:
    own = DataConfig(name="test_data_halves:WHOLE")
    assert len(data.read(own, needed=("test",)).train) == 51
    assert data.halves(own.name, "/nowhere") == ("train", "test")
    apart = DataConfig(name="test_data_halves:HALVED")
    assert len(data.read(apart, needed=("test",)).train) == 0
    assert len(data.read(apart).train) == 51
    assert len(data.read(apart, needed=("test", "train")).train) == 51


def test_only_the_half_that_is_missing_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def fetch(url: str, **_: Any) -> None:
        asked.append(url.rpartition("/")[2])
        raise OSError("no network")

    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", fetch)
    root = write_mnist(tmp_path)
    take_away(root / "MNIST" / "raw" / "train-images-idx3-ubyte")
    assert len(data.read(config("mnist", root, download=True), needed=("test",)).test) == 20
    assert asked == []
    with pytest.raises(UserError, match="no network"):
        data.load(config("mnist", root, download=True))
    assert set(asked) == {"train-images-idx3-ubyte.gz"}


@pytest.mark.parametrize(("gone", "expected"), [("Train", "train.zip"), ("Test", "test.zip")])
def test_only_the_half_of_the_recordings_that_is_missing_is_fetched(
    gone: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_nmnist(tmp_path)
    away = (tmp_path / "NMNIST" / gone).rename(tmp_path / "away")
    asked: list[tuple[str, str]] = []

    def fetch(url: str, root: str, filename: str, md5: str) -> None:
        asked.append((root, filename))
        with zipfile.ZipFile(Path(root) / filename, "w") as archive:
            for path in away.rglob("*.bin"):
                archive.write(path, Path(gone) / path.relative_to(away))

    monkeypatch.setattr("tonic.download_utils.download_url", fetch)
    assert len(data.load(config("nmnist", tmp_path, download=True)).test) == 20
    assert asked == [(str(tmp_path / "NMNIST"), expected)]


@pytest.fixture
def few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a measurement of time be short."""
    monkeypatch.setattr(latency, "ROUNDS", 2)


@pytest.mark.usefixtures("few_rounds")
@pytest.mark.parametrize(
    ("case", "to"), [("nmnist", "safetensors"), ("mnist", "onnx"), ("cifar10 binary", "safetensors")]
)
def test_a_run_is_measured_exported_and_reported_with_the_test_set_alone(
    case: str, to: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, write, train, _ = FOLDERS[case]
    root = write(tmp_path / "data")
    out = trained(tmp_path / "run", config(name, root, samples=10))
    take_away(root / train)
    assert cli.main(["eval", str(out), "--out", str(tmp_path / "result.json")]) == 0
    result, summary = (
        json.loads(path.read_text()) for path in (tmp_path / "result.json", RunFolder(out).summary)
    )
    assert (result["accuracy"], result["dataset"]) == (summary["accuracy"], name)
    assert cli.main(["export", str(out), "--to", to]) == 0
    assert "0 answers differ" in capsys.readouterr().out
    assert cli.main(["eval", str(out / "export" / f"model.{to}"), "--data.root", str(root)]) == 0
    if case == "mnist":  # the page is drawn from the files of the run alone
        shutil.rmtree(root)
        assert cli.main(["report", str(out)]) == 0


@pytest.mark.parametrize("case", FOLDERS)
def test_training_says_what_is_missing(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name, write, train, _ = FOLDERS[case]
    root = write(tmp_path / "data")
    take_away(root / train)
    for command in ("train", "bench"):
        asked = [command, "--data.name", name, "--data.root", str(root), "--out", str(tmp_path / "run")]
        assert cli.main(asked) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert f"in {root / train}, which is not there" in error
        assert not (tmp_path / "run").exists()


def trained(out: Path, of: DataConfig) -> Path:
    """Train a run of one epoch, and return its folder."""
    asked = RunConfig(
        data=of,
        model=ModelConfig(name="mlp-ann", hidden=8),
        method=MethodConfig(name="magnitude", target=0.5),
        train=TrainConfig(epochs=1, batch_size=10, device="cpu", threads=1, twin=False),
    )
    run.train(asked, out, page=False)
    return out


@pytest.mark.usefixtures("few_rounds")
def test_other_data_are_not_looked_for_in_the_folder_of_the_runs_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SNNPRUNE_DATA", raising=False)
    for folder, count in (("own", 10), ("named", 20), ("given", 30)):
        write_mnist(tmp_path / folder, name="FashionMNIST", test=count)
    write_mnist(tmp_path / "own", test=40)
    out = trained(tmp_path / "run", config("mnist", tmp_path / "own"))
    assert RunFolder(out).read_config().data.root == str(tmp_path / "own")

    def samples(*options: str) -> int:
        result = tmp_path / "result.json"
        assert cli.main(["eval", str(out), *options, "--out", str(result)]) == 0
        found: int = json.loads(result.read_text())["samples"]
        return found

    other = ("--data.name", "fashion-mnist")
    assert cli.main(["eval", str(out), *other]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "Fashion-MNIST needs a folder: pass --data.root FOLDER or set SNNPRUNE_DATA" in said
    monkeypatch.setenv("SNNPRUNE_DATA", str(tmp_path / "nowhere"))
    assert samples() == samples("--data.name", "mnist") == 40
    assert cli.main(["eval", str(out), *other]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert (
        f"{tmp_path}/nowhere/FashionMNIST/raw (SNNPRUNE_DATA names {tmp_path}/nowhere), and there is" in said
    )
    monkeypatch.setenv("SNNPRUNE_DATA", str(tmp_path / "named"))
    assert samples(*other) == 20
    assert samples(*other, "--data.root", str(tmp_path / "given")) == 30
    out /= "model.safetensors"  # of which the configuration of the run is read as well
    assert (samples(), samples(*other)) == (40, 20)


def test_the_list_says_which_half_is_on_disk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_nmnist(tmp_path)
    write_idx(tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte", np.zeros((1, 28, 28)))
    write_idx(tmp_path / "MNIST" / "raw" / "train-labels-idx1-ubyte", np.zeros(1))
    shutil.rmtree(tmp_path / "NMNIST" / "Train")
    assert cli.main(["list", "datasets", "--data.root", str(tmp_path)]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert any(" nmnist " in row and "test only" in row for row in rows)
    assert any(" mnist " in row and "train only" in row for row in rows)
    assert any(" poker-dvs " in row and " no " in row for row in rows)
    assert cli.main(["list", "dataset", "nmnist", "--data.root", str(tmp_path)]) == 0
    assert f"on disk: {tmp_path / 'NMNIST'} (test only)" in capsys.readouterr().out
