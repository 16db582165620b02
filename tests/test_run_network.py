"""The network that a run leaves behind: model.safetensors and model.json."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch

import snnprune
from snnprune.common.errors import CompactionError
from snnprune.common.seeds import Stream
from snnprune.export import evaluation
from snnprune.nn import models
from snnprune.nn.fused import LIFNode
from snnprune.pruning import Method
from snnprune.runs import checkpoint
from snnprune.training import assembly, fit, run
from support import tiny_run

if TYPE_CHECKING:
    from pathlib import Path

    from snnprune.config.schema import RunConfig


def built(config: RunConfig) -> torch.nn.Module:
    splits = tiny_run.splits()
    return models.build(config.model, splits.shape, len(splits.classes))


def read(out: Path, config: RunConfig) -> torch.nn.Module:
    return snnprune.load(out / "model", lambda: built(config)).eval()


@pytest.mark.parametrize("model", ["conv-snn", "mlp-ann"])
def test_the_network_is_small_and_answers_as_the_trained_one(tmp_path: Path, model: str) -> None:
    config = tiny_run.config(model=model)
    config = replace(config, method=replace(config.method, compact_every=None))
    summary = run.train(config, tmp_path, page=False)
    small = read(tmp_path, config)
    task = assembly.task(config, tiny_run.splits())
    task.load_state_dict(checkpoint.load(tmp_path / "checkpoints" / "last.ckpt")["state_dict"])
    frames, _ = next(iter(assembly.loader(tiny_run.splits().test, config)))
    frames = task.encode(frames, Stream.TEST, 0)
    report = snnprune.verify(task.model, small, frames)
    assert report.share <= 1e-5
    assert report.difference < 1e-5
    convolutions = [m.weight.numel() for m in small.modules() if hasattr(m, "weight")]
    assert sum(convolutions) < summary["weights_dense"]


def test_a_run_that_is_cut_while_it_trains_ends_with_the_same_numbers(tmp_path: Path) -> None:
    config = tiny_run.config()
    whole = replace(config, method=replace(config.method, compact_every=None))
    masked, live = (
        run.train(whole, tmp_path / "masked", page=False),
        run.train(config, tmp_path / "live", page=False),
    )
    keys = ("weights_dense", "weights_left", "macs_left", "neurons_left", "pruning_rate")
    assert [masked[key] for key in keys] == [live[key] for key in keys]
    assert live["accuracy"] == masked["accuracy"] == evaluation.evaluate(tmp_path / "live")["accuracy"]
    trained = checkpoint.load(tmp_path / "live" / "checkpoints" / "last.ckpt")["state_dict"]
    assert trained["model.fc1.weight"].shape != built(config).fc1.weight.shape  # type: ignore[union-attr]


def test_a_method_that_wakes_the_dead_is_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_run.config().method
    example = torch.zeros(1)
    assert assembly.pruning(config, example, 0).compact_every == 1
    monkeypatch.setattr(Method, "permanent", False)
    assert assembly.pruning(config, example, 0).compact_every is None


@pytest.mark.parametrize("accelerate", [True, False])
def test_neurons_are_fused_where_asked_and_saved_as_what_they_were(tmp_path: Path, accelerate: bool) -> None:
    config = tiny_run.config(epochs=2)
    config = replace(config, model=replace(config.model, accelerate=accelerate))
    task = assembly.task(config, tiny_run.splits())
    assert isinstance(task.model.conv1_lif, LIFNode) == accelerate  # type: ignore[union-attr]
    assert task.model.state_dict().keys() == built(config).state_dict().keys()
    run.train(config, tmp_path, page=False)
    assert all(
        type(one) is type(other)
        for one, other in zip(read(tmp_path, config).modules(), built(config).modules(), strict=True)
    )


def test_fused_neurons_train_as_those_of_spikingjelly(tmp_path: Path) -> None:
    config = tiny_run.config(epochs=1)
    plain = replace(config, model=replace(config.model, accelerate=False))
    fused, slow = (
        run.train(config, tmp_path / "fused", page=False),
        run.train(plain, tmp_path / "slow", page=False),
    )
    one, other = (
        checkpoint.load(tmp_path / name / "checkpoints" / "last.ckpt")["state_dict"]
        for name in ("fused", "slow")
    )
    for name, weights in one.items():
        assert torch.allclose(weights, other[name], atol=1e-5), name
    assert fused["accuracy"] == slow["accuracy"]


def test_a_run_killed_before_its_summary_writes_the_same_network(tmp_path: Path) -> None:
    config = tiny_run.config()
    run.train(config, tmp_path, page=False)
    names = ("model.safetensors", "model.json")
    before = [(tmp_path / name).read_bytes() for name in names]
    for name in (*names, "summary.json"):
        (tmp_path / name).unlink()
    run.resume(tmp_path, page=False)
    assert [(tmp_path / name).read_bytes() for name in names] == before


def test_a_network_that_cannot_be_cut_is_saved_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise CompactionError("population 0 cannot be compacted")

    monkeypatch.setattr(fit, "compact", refuse)
    config = tiny_run.config()
    summary = run.train(replace(config, train=replace(config.train, epochs=2)), tmp_path, page=False)
    assert "holds the masked network in full size" in " ".join(capsys.readouterr().out.split())
    weights = sum(m.weight.numel() for m in read(tmp_path, config).modules() if hasattr(m, "weight"))
    assert weights == summary["weights_dense"]
