"""Losses, schedules, the task, and the files of a run."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml

from snnprune import data
from snnprune.common import atomic
from snnprune.common.errors import UserError
from snnprune.common.seeds import Stream, derive
from snnprune.config.schema import DataConfig, MethodConfig, RunConfig, TrainConfig
from snnprune.export import evaluation
from snnprune.nn import models
from snnprune.nn.losses import loss_of, squared_error
from snnprune.runs import checkpoint, summary
from snnprune.runs.epochs import COLUMNS
from snnprune.runs.folder import RunFolder
from snnprune.training import assembly, optimiser, run
from snnprune.training.sampler import EpochSampler
from snnprune.training.task import Tally, Task
from support import tiny_run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run with its dense twin: (folder, summary)."""
    out = tmp_path_factory.mktemp("runs") / "stripes"
    return out, run.train(tiny_run.config(twin=True), out)


# --- arithmetic


def test_a_network_is_trained_with_the_loss_that_is_named():
    model = torch.nn.Linear(2, 2)
    assert loss_of("auto", model) is squared_error
    model.loss = "cross-entropy"
    assert loss_of("auto", model) is torch.nn.functional.cross_entropy
    assert loss_of("mse", model) is squared_error
    model.loss = "hinge"
    with pytest.raises(UserError, match="no loss 'hinge': expected one of mse, cross-entropy, softmax-mse"):
        loss_of("auto", model)


def test_squared_error_sums_over_classes_and_averages_over_the_batch():
    rates = torch.tensor([[0.5, 0.0, 0.25], [0.0, 1.0, 0.0]])
    labels = torch.tensor([0, 2])
    # (0.25 + 0 + 0.0625) and (0 + 1 + 1), over two samples
    assert squared_error(rates, labels).item() == pytest.approx((0.3125 + 2.0) / 2)


def test_tally_weighs_a_short_batch_by_its_samples():
    tally = Tally()
    tally.add(torch.tensor(1.0), torch.eye(3), torch.tensor([0, 1, 0]))
    tally.add(torch.tensor(5.0), torch.tensor([[0.0, 1.0]]), torch.tensor([1]))
    assert tally.means() == (2.0, 0.75)


@pytest.mark.parametrize(
    ("settings", "factors"),
    [
        ({"schedule": "constant"}, [1, 1, 1, 1]),
        ({"schedule": "step", "step_epochs": 2, "step_gamma": 0.1}, [1, 1, 0.1, 0.1]),
        ({"schedule": "cosine", "epochs": 4}, [1, 0.5 + math.sqrt(0.125), 0.5, 0.5 - math.sqrt(0.125)]),
        ({"schedule": "cosine", "epochs": 4, "warmup_epochs": 2}, [1 / 3, 2 / 3, 1, 0.5]),
    ],
)
def test_schedule(settings, factors):
    config = TrainConfig(**settings)
    assert [optimiser.factor(epoch, config) for epoch in range(4)] == pytest.approx(factors)


@pytest.mark.parametrize(
    ("name", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)]
)
def test_optimiser(name, kind):
    built = optimiser.build(
        [torch.nn.Parameter(torch.ones(1))], TrainConfig(optimizer=name, weight_decay=0.1)
    )
    assert type(built) is kind
    assert built.defaults["weight_decay"] == 0.1


# --- randomness


def test_order_is_a_function_of_seed_and_epoch():
    sampler, other = EpochSampler(20, seed=3), EpochSampler(20, seed=3)
    first = list(sampler)
    sampler.set_epoch(5)
    other.set_epoch(5)
    assert list(sampler) == list(sampler) == list(other)
    assert list(sampler) != first
    assert sorted(sampler) == list(range(20))
    assert list(EpochSampler(20, seed=4)) != first


def test_no_two_purposes_share_a_seed():
    seeds = {
        derive(seed, stream, *at)
        for seed in (0, 1)
        for stream in Stream
        for at in [(), (0,), (1,), (0, 1), (1, 0)]
    }
    assert len(seeds) == 2 * len(Stream) * 5


def test_poisson_noise_depends_on_epoch_and_batch_only():
    config = replace(tiny_run.config(), data=DataConfig(encoding="poisson", time_steps=3))
    task = assembly.task(config, tiny_run.splits())
    images = torch.full((4, 1, 5, 5), 128, dtype=torch.uint8)
    torch.manual_seed(1)
    first = task.encode(images, Stream.TRAIN, 2, 7)
    torch.manual_seed(2)
    assert torch.equal(first, task.encode(images, Stream.TRAIN, 2, 7))
    assert not torch.equal(first, task.encode(images, Stream.TRAIN, 2, 8))


# --- the files of a run


def test_metrics_have_a_row_per_epoch_and_no_invented_columns(finished):
    out, _ = finished
    with (out / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(COLUMNS)
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4, 5]
    pruned = [float(row["pruned_synapses"]) for row in rows]
    assert pruned == sorted(pruned)
    assert pruned[-1] > 0.3
    assert int(rows[0]["weights"]) == 9582  # 2*15*9 + 15*40*9 + 160*24 + 24*3


def test_summary_says_what_was_asked_and_what_was_reached(finished):
    out, returned = finished
    read = json.loads((out / "summary.json").read_text())
    assert (out / "summary.json").read_text() == returned.json()
    assert read["target"] == 0.5
    assert read["pruning_rate"] == pytest.approx(1 - read["weights_left"] / read["weights_dense"])
    assert sum(layer["left"] for layer in read["layers"].values()) == read["weights_left"]
    assert read["neurons_left"]["out"] == [3, 3]
    assert set(read["versions"]) >= {"python", "torch", "spikingjelly", "lightning", "tonic", "snnprune"}
    assert 1 <= read["best_epoch"] <= 5
    assert "validation" in read["measured_on"]["best_epoch"]
    assert "test set" in read["measured_on"]["accuracy"]


def test_best_epoch_is_chosen_on_validation_only(finished):
    out, read = finished
    with (out / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    best = max(rows, key=lambda row: float(row["val_accuracy"]))
    assert read["best_epoch"] == int(best["epoch"])
    assert read["accuracy_at_best"] == float(best["test_accuracy"])
    assert read["accuracy"] == float(rows[-1]["test_accuracy"])


def test_the_twin_is_an_ordinary_run_with_the_same_start(finished):
    out, pruned = finished
    dense = json.loads((out / "dense" / "summary.json").read_text())
    assert (dense["method"], dense["pruning_rate"], dense["target"]) == ("dense", 0.0, None)
    assert dense["weights_left"] == dense["weights_dense"] == pruned["weights_dense"]
    first = [
        (folder / "metrics.csv").read_text().splitlines()[1].split(",")[1] for folder in (out, out / "dense")
    ]
    assert first[0] == first[1]  # the same weights and order until the first decision


def test_files(finished):
    out, _ = finished
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert list((out / "tensorboard").glob("events.out.tfevents.*"))
    assert not [path for path in out.rglob("*") if path.name.endswith(".tmp")]
    config = yaml.safe_load((out / "config.yaml").read_text())
    assert config["train"]["lr"] == 2e-3
    assert RunFolder(out).read_config() == tiny_run.config(twin=True)


def test_saved_network_is_dead_where_it_was_pruned(tmp_path):
    config = tiny_run.config()
    read = run.train(replace(config, method=replace(config.method, compact_every=None)), tmp_path, page=False)
    saved = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    masks = saved["callbacks"]["PruningCallback"]["pruner"]["masks"]
    dead = ~masks["units"]["conv2"]
    assert dead.any()
    weights = saved["state_dict"]
    assert not weights["model.conv2.weight"][dead].any()
    assert not weights["model.conv2.bias"][dead].any()
    left = sum(int(weights[f"model.{name}.weight"].count_nonzero()) for name in read["layers"])
    assert left <= read["weights_left"]
    for moments in saved["optimizer_states"][0]["state"].values():
        if moments["exp_avg"].shape == weights["model.conv2.weight"].shape:
            assert not moments["exp_avg"][dead].any()
            assert not moments["exp_avg_sq"][dead].any()


def test_evaluation_finds_the_accuracy_of_the_summary(finished, capsys):
    out, read = finished
    result = evaluation.evaluate(out)
    assert result["accuracy"] == read["accuracy"]
    assert (result["epoch"], result["samples"], result["split"]) == (5, 21, "test")
    assert f"test accuracy {read['accuracy']:.2%} on 21 samples" in capsys.readouterr().out


def test_a_finished_run_is_shown_again_and_not_trained(finished, capsys, monkeypatch):
    out, read = finished
    monkeypatch.setattr(Task, "training_step", None)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.*") if path.name != ".lock"}
    assert run.train(tiny_run.config(twin=True), out) == read
    assert before == {path: path.stat().st_mtime_ns for path in before}
    shown = capsys.readouterr().out
    assert "nothing to train" in shown
    assert "dense" in shown
    assert "50.0% asked" in shown
    assert "summary.json" in shown


@pytest.mark.parametrize("model", ["conv-snn", "mlp-snn", "mlp-ann"])
@pytest.mark.parametrize("loss", ["mse", "cross-entropy"])
def test_models_and_losses(model, loss, tmp_path, capsys):
    """And what is printed meanwhile: no warning, a line per epoch where there is no terminal."""
    read = run.train(tiny_run.config(model=model, loss=loss, epochs=2), tmp_path / "run", page=False)
    assert read["model"] == model
    assert 0 <= read["accuracy"] <= 1
    said = capsys.readouterr().out.splitlines()
    lines = [line for line in said if "epoch " in line and "pruned" in line]
    assert len(lines) == 2
    assert lines[1].startswith("dpap  epoch 2/2  loss ")
    assert lines[1].endswith("left 0:00")
    assert not [line for line in said if "silent" in line]


@pytest.mark.parametrize("encoding", ["direct", "poisson"])
def test_still_images_repeat_bit_for_bit(encoding, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    labels = np.arange(24, dtype=np.int64) % 3
    images = data.FrameSet(rng.integers(0, 256, (24, 1, 8, 8), dtype=np.uint8), labels)
    parts = {"train": images, "validation": images, "test": images}
    monkeypatch.setattr(tiny_run.STRIPES, "changed", parts | {"shape": (1, 8, 8), "events": False})
    config = replace(
        tiny_run.config(epochs=2), data=DataConfig(tiny_run.DATA, time_steps=3, encoding=encoding)
    )
    read = [run.train(config, tmp_path / name, page=False) for name in "ab"]
    assert read[0] == replace(read[1], seconds=read[0].seconds, machine=read[0].machine)
    assert evaluation.evaluate(tmp_path / "a")["accuracy"] == read[0]["accuracy"]


def test_stripes_are_learnt(tmp_path):
    read = run.train(tiny_run.config("dense", "mlp-ann", epochs=8, lr=1e-2), tmp_path / "run", page=False)
    assert read["accuracy"] > 0.9


def test_silent_layers_are_reported_in_a_line_each(tmp_path, capsys):
    dark = data.FrameSet(np.zeros((12, 4, 2, 8, 8), np.uint8), np.arange(12) % 3)
    splits = replace(tiny_run.splits(), train=dark, validation=dark, test=dark)
    run.train(tiny_run.config("dense", epochs=1), tmp_path / "run", splits=splits, page=False)
    warnings = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning: ")]
    assert [line.split()[2:5] for line in warnings] == [
        [f"{n}_lif", "is", "silent"] for n in ("conv1", "conv2", "fc1", "out")
    ]


# --- what a user may do wrong


def test_another_configuration_names_the_key(finished):
    out, _ = finished
    with pytest.raises(UserError, match=r"train\.lr is 0\.002 there and 0\.5 here"):
        run.train(tiny_run.config(twin=True, lr=0.5), out)


def test_a_folder_in_use(tmp_path):
    with RunFolder(tmp_path / "run"), pytest.raises(UserError, match="in use by another process"):
        run.train(tiny_run.config(), tmp_path / "run")


def test_a_folder_that_is_no_run(tmp_path):
    (tmp_path / "thesis.tex").write_text("dear reader")
    with pytest.raises(UserError, match=r"holds 'thesis\.tex' and no config\.yaml"):
        run.train(tiny_run.config(), tmp_path)
    for command in (run.resume, evaluation.evaluate):
        with pytest.raises(UserError, match="is not a run"):
            command(tmp_path)
    with pytest.raises(UserError, match="is not a run"):
        run.resume(tmp_path / "missing")
    assert not (tmp_path / "missing").exists()


def test_an_unwritable_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write in the run folder"):
        run.train(tiny_run.config(), tmp_path / "file" / "run")


def test_a_broken_configuration_file(tmp_path):
    (tmp_path / "config.yaml").write_text("data: {nam: x}\nmodel: {}\nmethod: {}\ntrain: {}\n")
    with pytest.raises(UserError, match=r"unknown key 'data\.nam'"):
        run.resume(tmp_path)


def test_a_run_without_a_checkpoint(tmp_path):
    with RunFolder(tmp_path) as folder:
        folder.claim(tiny_run.config())
    with pytest.raises(UserError, match="no checkpoint yet"):
        evaluation.evaluate(tmp_path)


def test_a_broken_checkpoint(tmp_path):
    (tmp_path / "last.ckpt").write_bytes(b"PK\x03\x04 half a file")
    with pytest.raises(UserError, match="cannot read the checkpoint"):
        checkpoint.load(tmp_path / "last.ckpt")


def test_a_checkpoint_with_code_in_it_is_refused(tmp_path):
    torch.save({"state_dict": RunConfig()}, tmp_path / "last.ckpt")
    with pytest.raises(UserError, match="cannot read the checkpoint"):
        checkpoint.load(tmp_path / "last.ckpt")


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("train", "epochs", 0),
        ("train", "batch_size", 0),
        ("train", "lr", 0.0),
        ("train", "lr", float("nan")),
        ("train", "threads", 0),
        ("train", "seed", -1),
        ("method", "target", 1.0),
        ("method", "structured", 1.5),
        ("method", "name", "dpa"),
    ],
)
def test_settings_out_of_range(part, key, value, tmp_path):
    config = tiny_run.config()
    config = replace(config, **{part: replace(getattr(config, part), **{key: value})})
    with pytest.raises(UserError):
        run.train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_empty_validation_set(tmp_path):
    empty = data.FrameSet(np.zeros((0, 4, 2, 8, 8), np.uint8), np.zeros(0, np.int64))
    splits = replace(tiny_run.splits(), validation=empty)
    with pytest.raises(UserError, match=f"in the validation set of '{tiny_run.DATA}', and it is empty"):
        run.train(tiny_run.config(), tmp_path / "run", splits=splits)


def test_a_loss_that_is_not_finite_stops_with_a_sentence(tmp_path):
    with pytest.raises(UserError, match=r"the loss became (nan|inf) in epoch 1, batch \d.*--train\.lr"):
        run.train(tiny_run.config("dense", "mlp-ann", lr=1e30, schedule="constant"), tmp_path / "run")


def test_weights_that_are_not_finite_stop_a_spiking_network_too(tmp_path, monkeypatch):
    build = models.build

    def broken(*args):
        model = build(*args)
        with torch.no_grad():
            model.fc1.weight[0, 0] = torch.nan
        return model

    monkeypatch.setattr(models, "build", broken)
    with pytest.raises(UserError, match="not a number"):
        run.train(tiny_run.config("dense"), tmp_path / "run")


# --- small parts


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "metrics.csv"
    atomic.write_text(path, "old")

    def fail(file):
        file.write(b"ne")
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match="No space left on device"):
        atomic.write(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_commit_is_a_hash_or_nothing():
    commit = summary.git_commit()
    assert commit is None or len(commit) == 40


def test_methods_get_the_options_they_know():
    def given(method: MethodConfig) -> dict[str, object]:
        options = assembly.pruning(method, torch.zeros(1), 0).options
        return {name: value for name, value in options.items() if value is not None}

    assert given(MethodConfig("dpap", 0.3, 0.2, {"tau": 0.4})) == {
        "target": 0.3,
        "structured": 0.2,
        "tau": 0.4,
    }
    assert given(MethodConfig("dpap", target_synops=0.9)) == {
        "target_synops": 0.9,
        "structured": MethodConfig.structured,
    }
    assert given(MethodConfig("dense")) == {}
