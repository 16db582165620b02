"""Runs that are moved about, or looked at from another folder; and a twin that is not finished."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from snnprune.export import evaluation
from snnprune.runs.folder import RunFolder
from snnprune.training import run
from snnprune.training.task import Task
from support import tiny_run

if TYPE_CHECKING:
    from pathlib import Path


def test_paths_of_a_run_hold_in_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = tiny_run.config(epochs=1)
    config = replace(config, data=replace(config.data, root="sets", cache="~/frames"))
    monkeypatch.setenv("HOME", "/home/somebody")
    run.train(config, tmp_path / "run", page=False)
    kept = RunFolder(tmp_path / "run").read_config().data
    assert (kept.root, kept.cache) == (str(tmp_path / "sets"), "/home/somebody/frames")
    tiny_run.STRIPES.asked.clear()
    run.train(config, tmp_path / "run", page=False)  # the same run: a relative path is no other configuration
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    evaluation.evaluate(tmp_path / "run")
    evaluation.evaluate(tmp_path / "run", {"root": "/moved"})
    assert [config.root for config in tiny_run.STRIPES.asked] == [str(tmp_path / "sets"), "/moved"]


def test_a_start_that_is_relative_is_kept_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert tiny_run.config(init="old").located().train.init == str(tmp_path / "old")
    assert tiny_run.config().located() == tiny_run.config()


def test_resuming_a_finished_run_finishes_its_twin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    run.train(tiny_run.config(epochs=2, twin=True), out)
    whole = (out / "dense" / "model.safetensors").read_bytes()
    curves = (out / "curves.png").read_bytes()
    shutil.rmtree(out / "dense")
    (out / "curves.png").unlink()
    step = Task.training_step

    def interrupted(self: Task, *given: Any) -> Any:
        if self.current_epoch == 1:
            raise RuntimeError("the power went")
        return step(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(Task, "training_step", interrupted)
        with pytest.raises(RuntimeError, match="the power went"):
            run.resume(out)
    assert not (out / "curves.png").exists()
    capsys.readouterr()
    run.resume(out)
    said = capsys.readouterr().out
    assert said.splitlines()[0] == f"{out} is finished: nothing to train"
    assert "dense  epoch 2/2" in said
    assert "dense  epoch 1/2" not in said
    assert (out / "dense" / "model.safetensors").read_bytes() == whole
    assert (out / "curves.png").read_bytes() == curves
