"""A killed run, continued, ends where the uninterrupted one ends."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
from typing import TYPE_CHECKING

import pytest
import torch

from snnprune.training import run
from snnprune.training.task import Task
from support import tiny_run
from support.processes import alone

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FC1 = "model.fc1.weight"  # 24 x 160 until it is cut


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of an uninterrupted run."""
    return tiny_run.finished(tmp_path_factory.mktemp("whole") / "run", epochs=5)


def doomed(out: Path, epoch: int, batch: int) -> None:
    tiny_run.kill_in(epoch, batch)
    run.train(tiny_run.config(), out, page=False)


def killed(out: Path, epoch: int, batch: int) -> Path:
    """Train in a process of its own, which is killed in the middle of ``epoch``."""
    assert alone(doomed, out, epoch, batch) == -signal.SIGKILL
    return out


def numbers(out: Path) -> tuple[dict, list[dict]]:
    """Return summary and metrics without their times."""
    summary = json.loads((out / "summary.json").read_text())
    with (out / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    del summary["machine"]
    for entry in (summary, *rows):
        del entry["seconds"]
    del summary["git_commit"]  # that of the session that ended the run
    return summary, rows


def same(a, b, path=""):
    """Assert that nested values are equal bit for bit, but for times."""
    if isinstance(a, dict):
        assert a.keys() == b.keys(), path
        for key in a.keys() - {"seconds"}:
            same(a[key], b[key], f"{path}/{key}")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), path
        for i, pair in enumerate(zip(a, b, strict=True)):
            same(*pair, f"{path}/{i}")
    elif isinstance(a, torch.Tensor):
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True, msg=path)
    else:
        assert a == b, path


@pytest.mark.parametrize(("epoch", "batch"), [(0, 2), (2, 3), (3, 1)])
def test_killed_in_an_epoch(whole, tmp_path, epoch, batch):
    """The network is cut at the start of epoch 2: the checkpoints are from before, before, and after that."""
    out = killed(tmp_path / "run", epoch, batch)
    assert not (out / "summary.json").exists()
    assert (out / "checkpoints" / "last.ckpt").exists() == (epoch > 0)
    if epoch:
        saved = torch.load(out / "checkpoints" / "last.ckpt", weights_only=True)
        assert (saved["state_dict"][FC1].numel() < 24 * 160) == (epoch > 2)
    run.resume(out, page=False)
    assert numbers(out) == numbers(whole)
    assert numbers(out)[0]["pruning_rate"] > 0.3
    a, b = (torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True) for folder in (whole, out))
    same(a, b)
    for name in ("dynamics.safetensors", "example.safetensors"):
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name


def test_train_into_the_folder_of_an_unfinished_run_continues_it(whole, tmp_path, monkeypatch):
    out = tmp_path / "run"
    step = Task.training_step
    seen = []

    def interrupted(self, batch, batch_idx):
        seen.append(self.current_epoch)
        if self.current_epoch == 2 and seen.count(2) == 3:
            raise RuntimeError("the power went")
        return step(self, batch, batch_idx)

    monkeypatch.setattr(Task, "training_step", interrupted)
    with pytest.raises(RuntimeError, match="the power went"):
        run.train(tiny_run.config(), out, page=False)
    seen.append(2)  # past the third batch: nothing interrupts the second session
    run.train(tiny_run.config(), out, page=False)
    assert numbers(out) == numbers(whole)
    assert 0 not in seen[seen.index(2) :]


def test_killed_after_the_last_checkpoint(whole, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    for name in ("summary.json", "metrics.csv"):
        (out / name).unlink()
    run.resume(out)
    assert numbers(out) == numbers(whole)
    assert (out / "curves.png").exists()


def test_a_run_without_its_checkpoints_says_that_it_begins_anew(whole, tmp_path, capsys):
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    shutil.rmtree(out / "checkpoints")
    (out / "summary.json").unlink()
    run.resume(out, page=False)
    assert "has no checkpoint: the run begins anew" in " ".join(capsys.readouterr().out.split())
    assert numbers(out) == numbers(whole)


@pytest.fixture
def heeding_ctrl_c() -> Iterator[None]:
    """A shell starts what it puts in the background deaf to Ctrl-C, these tests too."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeding_ctrl_c")
def test_ctrl_c_says_how_to_go_on(whole, tmp_path, monkeypatch, capsys):
    out = tmp_path / "run"
    step = Task.training_step

    def interrupted(self, batch, batch_idx):
        if (self.current_epoch, batch_idx) == (1, 1):
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(Task, "training_step", interrupted)
        with pytest.raises(SystemExit) as stop:
            run.train(tiny_run.config(), out, page=False)
    assert stop.value.code == 130
    assert f"snnprune train --resume {out}" in capsys.readouterr().out.replace("\n", "")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    run.resume(out, page=False)
    assert numbers(out) == numbers(whole)
