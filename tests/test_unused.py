"""What is said of settings that nothing reads, and of a target that was missed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from snnprune import cli, data
from snnprune.config.schema import DataConfig, MethodConfig, ModelConfig, RunConfig, TrainConfig
from snnprune.config.unused import unused
from snnprune.training import run
from snnprune.training.table import shortfall
from support import tiny_run

if TYPE_CHECKING:
    from pathlib import Path


ANN = RunConfig(data=DataConfig("mnist"), model=ModelConfig("mlp-ann"))


@pytest.mark.parametrize(
    ("key", "config", "reason"),
    [
        ("method.target", RunConfig(method=MethodConfig("dense")), "method 'dense' has no target"),
        ("method.structured", RunConfig(method=MethodConfig("dense")), "method 'dense' has no structured"),
        ("data.encoding", RunConfig(data=DataConfig("nmnist")), "nmnist holds recordings"),
        ("data.encoding", RunConfig(data=DataConfig("digits-events")), "digits-events holds recordings"),
        ("data.binning", RunConfig(data=DataConfig("mnist")), "mnist holds still images"),
        ("data.binning", RunConfig(data=DataConfig("cifar10")), "cifar10 holds still images"),
        ("data.encoding", ANN, "mlp-ann has no time steps"),
        ("data.time_steps", ANN, "mlp-ann has no time steps"),
        ("model.detach_reset", ANN, "mlp-ann has no time steps"),
        ("model.accelerate", RunConfig(model=ModelConfig("lenet-ann")), "lenet-ann has no time steps"),
        ("train.momentum", RunConfig(), "train.optimizer is adam"),
        ("train.step_epochs", RunConfig(), "train.schedule is constant"),
        ("train.warmup_epochs", RunConfig(train=TrainConfig(schedule="step")), "train.schedule is step"),
    ],
)
def test_a_setting_without_use_is_said_where_it_was_chosen(key: str, config: RunConfig, reason: str) -> None:
    (sentence,) = unused(config, {key, "train.lr"})
    assert sentence.startswith(f"{key} is not used: ")
    assert reason in sentence
    assert unused(config, {"train.lr"}) == []


def test_nothing_is_said_of_settings_with_a_use() -> None:
    chosen = {"method.target", "method.structured", "data.binning", "train.momentum", "train.warmup_epochs"}
    assert unused(RunConfig(train=TrainConfig(optimizer="sgd", schedule="cosine")), chosen) == []
    assert unused(RunConfig(data=DataConfig("mnist")), {"data.encoding", "data.time_steps"}) == []
    recordings = RunConfig(model=ModelConfig("conv-ann"))  # it sees the mean of so many frames
    assert unused(recordings, {"data.time_steps", "model.activation"}) == []
    assert unused(RunConfig(method=MethodConfig("dense", target=None)), {"method.target"}) == []


def test_the_command_line_says_it_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[Any] = []
    monkeypatch.setattr(run, "train", lambda *given: made.append(given))
    file = tmp_path / "run.yaml"
    # The target is the default, so the file did not choose it; the momentum is not, and so the file did.
    file.write_text("method: {target: 0.6}\ntrain: {momentum: 0.5}\n")
    assert (
        cli.main(["train", "--config", str(file), "--method.name", "dense", "--method.structured=0.1"]) == 0
    )
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(" is not used: ")[0] for line in said] == [
        "snnprune: warning: method.structured",
        "snnprune: warning: train.momentum",
    ]
    assert len(made) == 1
    assert cli.main(["train", "--method.name", "dense", "--method.target", "0.6"]) == 0
    assert "method 'dense' has no target" in capsys.readouterr().err
    assert cli.main(["train"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("epochs", "said"), [(2, True), (5, False)])
def test_a_run_too_short_for_its_target_says_so(
    epochs: int,
    said: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(data, "load", tiny_run.splits)
    run.train(tiny_run.config(epochs=epochs), tmp_path / "run")
    sentence = (
        "warning: 0.0% of the weights are pruned, not 50.0%: a target takes about 6 epochs, and the run had 2"
    )
    assert (sentence in capsys.readouterr().out) == said


def test_a_target_that_a_long_run_missed_has_another_reason() -> None:
    numbers = {"target": 0.6, "pruning_rate": 0.3, "epochs": 40}
    assert "30.0% of the weights are pruned, not 60.0%: the method found no more" in str(shortfall(numbers))
    assert shortfall(numbers | {"pruning_rate": 0.598}) is None
    assert shortfall(numbers | {"target": None}) is None
