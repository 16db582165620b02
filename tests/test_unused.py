"""What is said of settings that nothing reads, and of a target that was missed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from snnprune import cli
from snnprune.bench.grid import grid, unused_in_bench
from snnprune.config.check import options_of_run
from snnprune.config.names import DATASETS, MODELS, TRAITS
from snnprune.config.pace import out_of_step
from snnprune.config.reading import KEYS
from snnprune.config.schema import DataConfig, MethodConfig, ModelConfig, RunConfig, TrainConfig
from snnprune.config.unused import TABLE, unused
from snnprune.nn import models
from snnprune.pruning import oversights
from snnprune.training import run
from snnprune.training.table import shortfall
from support import records, tiny_run

if TYPE_CHECKING:
    from pathlib import Path


ANN = RunConfig(data=DataConfig("mnist"), model=ModelConfig("mlp-ann"))


@pytest.mark.parametrize(
    ("key", "config", "reason"),
    [
        ("method.target", RunConfig(method=MethodConfig("dense")), "method 'dense' has no target"),
        ("method.structured", RunConfig(method=MethodConfig("dense")), "method 'dense' has no structured"),
        *(
            (f"method.{name}", RunConfig(method=MethodConfig("bsp", **{name: 0.5})), "'bsp' has no targets")
            for name in MethodConfig.__dataclass_fields__
            if name.startswith("target_")
        ),
        ("data.encoding", RunConfig(data=DataConfig("nmnist")), "nmnist holds recordings"),
        ("data.encoding", RunConfig(data=DataConfig("digits-events")), "digits-events holds recordings"),
        ("data.root", RunConfig(), "digits-events comes with the package"),
        ("data.download", RunConfig(), "digits-events comes with the package"),
        ("data.validation", RunConfig(), "digits-events has a validation set of its own"),
        ("data.skip_corrupt", RunConfig(), "digits-events is not read from a file for each sample"),
        ("data.cache", RunConfig(data=DataConfig("mnist")), "mnist is read into memory"),
        ("model.activation", RunConfig(), "conv-snn spikes"),
        ("method.structured", RunConfig(method=MethodConfig(target=None)), "method.target is null"),
        ("method.structured", RunConfig(method=MethodConfig("magnitude")), "method.options.unit both"),
        ("method.structured", RunConfig(method=MethodConfig("weight-trace")), "method.options.unit both"),
        (
            "method.structured",
            RunConfig(method=MethodConfig(options={"synapses": False})),
            "'dpap' is not to prune both",
        ),
        (
            "method.target",
            RunConfig(method=MethodConfig(options={"target_macs": 0.5})),
            "target_macs is used in its place",
        ),
        ("method.options", RunConfig(method=MethodConfig(options={"epsilon": 1.0})), "in place of epsilon"),
        ("method.compact_every", RunConfig(method=MethodConfig("dense")), "prunes nothing"),
        ("train.twin", RunConfig(method=MethodConfig("dense")), "trains the unpruned network itself"),
        ("train.step_epochs", RunConfig(train=TrainConfig(schedule="step")), "before the first step"),
        ("data.binning", RunConfig(data=DataConfig("mnist")), "mnist holds still images"),
        ("data.binning", RunConfig(data=DataConfig("cifar10")), "cifar10 holds still images"),
        ("data.encoding", ANN, "mlp-ann has no time steps"),
        ("data.time_steps", ANN, "mlp-ann has no time steps"),
        ("model.detach_reset", ANN, "mlp-ann has no time steps"),
        ("model.accelerate", RunConfig(model=ModelConfig("lenet-ann")), "lenet-ann has no time steps"),
        ("train.over_time", ANN, "mlp-ann has no time steps"),
        ("train.activity_penalty", ANN, "mlp-ann has no time steps"),
        ("model.neuron", RunConfig(), "it is for recurrent networks, and conv-snn is none"),
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


def test_a_bench_says_what_none_of_its_cells_reads() -> None:
    base = RunConfig()
    chosen = {"method.structured", "method.target", "train.twin", "train.seed", "data.root", "methods"}
    asked = grid(base, "dense,magnitude", "0.4", "3,4")
    said = [
        sentence.partition(" is")[0]
        for sentence in unused_in_bench(base, asked, chosen | {"targets", "seeds"})
    ]
    assert said == ["train.twin", "method.target", "train.seed", "method.structured", "data.root"]
    asked = grid(base, "dense,dpap", seeds=2)  # of two methods one has a use for it
    assert unused_in_bench(base, asked, {"method.structured", "train.seed", "seeds", "methods"}) == []


def test_every_setting_in_the_table_is_a_setting() -> None:
    assert {key for key, _, _ in TABLE} <= KEYS.keys()
    assert {trait for entry in (*DATASETS.values(), *MODELS.values()) for trait in entry.traits or ()} == {
        *TRAITS
    }


@pytest.mark.parametrize("name", DATASETS)
def test_traits_of_a_data_set_are_those_of_the_object(name: str) -> None:
    assert DATASETS[name].has("events") == DATASETS[name].load().events


@pytest.mark.parametrize("name", MODELS)
def test_traits_of_a_model_are_those_of_the_network(name: str) -> None:
    assert MODELS[name].has("time") == models.build(ModelConfig(name, hidden=4), (3, 32, 32), 2).spiking


@pytest.mark.parametrize(("epochs", "said"), [(2, True), (5, False)])
def test_a_run_too_short_for_its_target_says_so(
    epochs: int, said: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run.train(tiny_run.config(epochs=epochs), tmp_path / "run", page=False)
    sentence = (
        "warning: 0.0% of the weights are pruned, not 50.0%: a target takes about 6 epochs, and the run had 2"
    )
    assert (sentence in capsys.readouterr().out) == said


def test_a_target_that_a_long_run_missed_has_another_reason() -> None:
    numbers = records.summary(target=0.6, pruning_rate=0.3, epochs=40)
    assert "30.0% of the weights are pruned, not 60.0%: the method found no more" in str(shortfall(numbers))
    assert shortfall(replace(numbers, pruning_rate=0.598)) is None
    assert shortfall(replace(numbers, target=None)) is None


@pytest.mark.parametrize(
    ("settings", "came"),
    [
        ({}, "frames of no fixed length"),
        ({"bin": "50ms"}, "frames of 50 ms"),
        ({"bin": "1ms"}, "frames of 1 ms"),
        ({"window": "1s"}, "frames of 100 ms"),
        ({"bin": "14ms"}, ""),
        ({"bin": "5ms"}, ""),
        ({"window": "100ms"}, ""),
        ({"name": "mnist"}, ""),
    ],
)
def test_frames_of_a_recurrent_model_last_about_a_step(settings: dict[str, Any], came: str) -> None:
    config = RunConfig(DataConfig(**{"name": "shd"} | settings), ModelConfig("rsnn"))
    said = out_of_step(config)
    assert [came in sentence and "data.bin to 10ms" in sentence for sentence in said] == [True] * bool(came)
    assert out_of_step(replace(config, model=ModelConfig("mlp-snn"))) == []


def test_whole_units_that_come_no_closer_are_the_reason() -> None:
    """Of four heads one or two can go: a quarter or half of the weights, and 0.4 was asked for."""
    said = oversights.shortfall(0.25, 0.4, 10, "", planned=0.25)
    assert "between two numbers of them" in str(said)
    assert "found no more" in str(oversights.shortfall(0.1, 0.4, 10, "", planned=0.25))
    assert "found no more" in str(oversights.shortfall(0.1, 0.4, 10, "", planned=0.4))


@pytest.mark.parametrize(
    ("method", "divides"),
    [
        (MethodConfig("dpap"), True),
        (MethodConfig("dpap", options={"neurons": False}), False),
        (MethodConfig("magnitude"), False),
        (MethodConfig("magnitude", options={"unit": "both"}), True),
        (MethodConfig("l1-filters"), False),
        (MethodConfig("twins"), True),
        (MethodConfig("bsp", target=None), False),
    ],
)
def test_a_method_gets_the_share_of_units_only_if_it_divides(method: MethodConfig, divides: bool) -> None:
    """Its default, too: a method would warn that what nobody set has no effect."""
    assert ("structured" in options_of_run(method)) is divides
