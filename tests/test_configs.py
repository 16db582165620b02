"""Every configuration file loads, and names what there is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import yaml

from snnprune import cli, data
from snnprune.common.seeds import Stream
from snnprune.config.names import DATASETS
from snnprune.config.reading import SECTIONS
from snnprune.config.schema import RunConfig
from snnprune.pruning import Pruner
from snnprune.training import assembly, optimiser
from snnprune.training.local import LocalTask
from support.reported import REPORTED

if TYPE_CHECKING:
    from torch import Tensor

    from snnprune.training.task import Task

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "configs"
BENCHES = sorted((FOLDER / "bench").glob("*.yaml"))
FILES = sorted(file for file in FOLDER.rglob("*.yaml") if file not in BENCHES)


def resolved(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert cli.main(["train", *arguments, "--print_config"]) == 0
    read: dict[str, Any] = yaml.safe_load(capsys.readouterr().out)
    return read


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(FOLDER)))
def test_it_loads_and_its_folder_is_its_data_set(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = resolved(capsys, "--config", str(file))
    assert config["data"]["name"] == file.parent.name
    assert config["data"]["name"] in DATASETS
    assert f"{file.stem}-".startswith(f"{config['method']['name']}-")
    written = yaml.safe_load(file.read_text())
    for section, values in written.items():
        for key, value in values.items():
            wanted = float(value) if key == "lr" else value
            assert config[section][key] == (pytest.approx(wanted) if isinstance(wanted, float) else wanted)


SHAPES = {
    "digits-events": (2, 24, 24),
    "synthetic-spoken-digits": (1, 1, 70),
    "nmnist": (2, 34, 34),
    "dvs-gesture": (2, 128, 128),
    "cifar10-dvs": (2, 64, 64),
    "n-caltech101": (2, 45, 60),
    "n-cars": (2, 50, 60),
    "asl-dvs": (2, 45, 60),
    "dvs-lip": (2, 48, 48),
    "shd": (1, 1, 140),
    "ssc": (1, 1, 140),
    "mnist": (1, 28, 28),
    "fashion-mnist": (1, 28, 28),
    "cifar10": (3, 32, 32),
}


def noise(config: RunConfig) -> data.Splits:
    """Two samples of noise in the shape of the data set."""
    shape = SHAPES[config.data.name]
    events = DATASETS[config.data.name].load().events
    kinds = 11 if config.data.name == "dvs-gesture" else 10
    size = (2, config.data.time_steps, *shape) if events else (2, *shape)
    frames = np.random.default_rng(0).integers(0, 3 if events else 256, size).astype(np.uint8)
    pair = data.FrameSet(frames, np.array([0, 1], dtype=np.int64))
    return data.Splits(pair, pair, pair, tuple(map(str, range(kinds))), shape, events)


def learnt(task: Task, pruner: Pruner, x: Tensor, labels: Tensor) -> Tensor:
    """Train a step, and return the loss."""
    if isinstance(task, LocalTask):
        with task.rule.watching() as seen:
            loss = task.loss(task(x), labels)
        task.network.learn(task.rule, seen, labels, lambda _: None, torch.Generator().manual_seed(0))
        pruner.step()
        return loss
    optimizer = optimiser.build(task.parameters(), task.run_config.train)
    loss = task.loss(task(x), labels)
    loss.backward()
    optimizer.step()
    pruner.step(optimizer)
    return loss


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(FOLDER)))
def test_its_network_learns_a_step_and_its_method_decides(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    read = resolved(capsys, "--config", str(file), "--train.device", "cpu")
    config = RunConfig(**{name: kind(**read[name]) for name, kind in SECTIONS.items()})
    splits = noise(config)
    task = assembly.task(config, splits)
    frames, labels = splits.train.__getitems__([0, 1])
    x = task.encode(frames, Stream.TRAIN, 0, 0)
    callback = assembly.pruning(config.method, x, config.train.seed)
    with Pruner(task.model, x, callback.method, epochs=config.train.epochs, **callback.options) as pruner:
        before = [p.detach().clone() for p in task.parameters()]
        loss = learnt(task, pruner, x, labels)
        pruner.end_epoch({"val_accuracy": 0.5})
        assert bool(torch.isfinite(loss))
        assert any(not torch.equal(a, b) for a, b in zip(before, task.parameters(), strict=True))
        assert 0 <= pruner.rates().synapses < 1


def test_there_is_one_for_every_row_of_the_dpap_paper(capsys: pytest.CaptureFixture[str]) -> None:
    found = [resolved(capsys, "--config", str(file)) for file in FILES if file.stem.startswith("dpap")]
    tasks = {(config["data"]["name"], config["model"]["name"]) for config in found}
    assert tasks >= REPORTED.keys()


def test_dense_differs_from_dpap_in_the_method_alone(capsys: pytest.CaptureFixture[str]) -> None:
    dpap, dense = (
        resolved(capsys, "--config", str(FOLDER / "nmnist" / name)) for name in ("dpap.yaml", "dense.yaml")
    )
    assert {key for key in dpap if dpap[key] != dense[key]} == {"method"}


def test_the_demo_is_what_the_defaults_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert resolved(capsys, "--config", str(FOLDER / "digits-events" / "dpap.yaml")) == resolved(capsys)
    assert RunConfig().data.name == "digits-events"
