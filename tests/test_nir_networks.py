"""Networks of NIR files that others wrote: measured, trained and pruned here, and written back."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import nir
import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional

from snnprune import cli, training
from snnprune.common.errors import UserError
from snnprune.config.names import NIR_MODEL
from snnprune.config.schema import ModelConfig, RunConfig
from snnprune.export import evaluation, exporting, nir_file, nir_model
from snnprune.training import run
from support import tiny_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SHAPE, CLASSES = (2, tiny_run.SIZE, tiny_run.SIZE), tiny_run.CLASSES


def lif(*shape: int) -> nir.LIF:
    """Neurons of two time steps, whose input is added as it is."""
    return nir.LIF(np.full(shape, 2e-4), np.full(shape, 2.0), np.zeros(shape), np.full(shape, 0.5))


def affine(inputs: int, units: int, seed: int) -> nir.Affine:
    random = np.random.default_rng(seed)
    weight = random.normal(size=(units, inputs)) * (2 / inputs) ** 0.5
    return nir.Affine(weight.astype(np.float32), np.full(units, 0.1, np.float32))


def written(path: Path, nodes: dict[str, Any], edges: list[tuple[str, str]] | None = None) -> Path:
    names = list(nodes)
    chain = list(itertools.pairwise(names)) if edges is None else edges
    nir.write(str(path), nir.NIRGraph(nodes, chain))
    return path


def flat(path: Path) -> Path:
    """A network of one hidden layer, which reads a frame as one row of numbers."""
    size = int(np.prod(SHAPE))
    return written(path, {
        "input": nir.Input(np.array([size])), "fc1": affine(size, 12, 0), "hidden.lif": lif(12),
        "fc2": affine(12, CLASSES, 1), "loss": lif(CLASSES), "output": nir.Output(np.array([CLASSES])),
    })  # fmt: skip


def residual(path: Path) -> Path:
    """Convolutions with a shortcut of spikes, a sum pool, and a readout that leaks."""
    weight = np.random.default_rng(2).normal(size=(4, 2, 3, 3)).astype(np.float32) * 0.5
    again = np.random.default_rng(3).normal(size=(4, 4, 3, 3)).astype(np.float32) * 0.3

    def conv(weight: np.ndarray[Any, Any]) -> nir.Conv2d:
        return nir.Conv2d((8, 8), weight, 1, 1, 1, 1, np.zeros(4, np.float32))

    two = np.array([2, 2])
    nodes = {
        "input": nir.Input(np.array(SHAPE)), "a": conv(weight), "sa": lif(4, 8, 8), "b": conv(again),
        "sb": lif(4, 8, 8), "pool": nir.SumPool2d(two, two, np.array([0, 0])),
        "flat": nir.Flatten({"input": np.array([4, 4, 4])}, -3, -1), "fc": affine(64, CLASSES, 4),
        "li": nir.LI(np.full(CLASSES, 4e-4), np.ones(CLASSES), np.zeros(CLASSES)),
        "output": nir.Output(np.array([CLASSES])),
    }  # fmt: skip
    edges = [("input", "a"), ("a", "sa"), ("sa", "b"), ("b", "sb"), ("sb", "pool"), ("sa", "pool"),
             ("pool", "flat"), ("flat", "fc"), ("fc", "li"), ("li", "output")]  # fmt: skip
    return written(path, nodes, edges)


def configured(file: Path, **train: Any) -> RunConfig:
    config = tiny_run.config("dpap", **train)
    return replace(config, model=ModelConfig(NIR_MODEL, file=str(file)))


@pytest.mark.parametrize(("made", "loss"), [(flat, "mse"), (residual, "cross-entropy")])
def test_it_answers_as_the_network_that_is_read(
    made: Callable[[Path], Path], loss: str, tmp_path: Path
) -> None:
    file = made(tmp_path / "net.nir")
    frames = tiny_run.stripes(6, 0).__getitems__(range(6))[0].transpose(0, 1).float()
    model = nir_model.network(ModelConfig(NIR_MODEL, file=str(file)), SHAPE, CLASSES).eval()
    read, _ = nir_file.read(file)
    expected = read(frames.flatten(2) if made is flat else frames)[0]
    with torch.no_grad():
        for _ in range(2):
            functional.reset_net(model)
            assert torch.equal(model(frames), expected)
    assert expected.count_nonzero() > 10
    assert model.loss == loss


@pytest.mark.parametrize("made", [flat, residual])
def test_it_is_pruned_and_written_back(made: Callable[[Path], Path], tmp_path: Path) -> None:
    file = made(tmp_path / "net.nir")
    config = configured(file, epochs=9)
    before = nir_file.read(file)[0]
    summary = run.train(config, tmp_path / "run", page=False)
    assert summary["pruning_rate"] > 0.2
    found = exporting.export(tmp_path / "run", "nir")
    assert found["round_trip"]["spike_flips"] == found["round_trip"]["answers_differ"] == 0
    small = nir.read(found["file"])
    weights = [int(np.count_nonzero(n.weight)) for n in small.nodes.values() if hasattr(n, "weight")]
    assert sum(weights) == summary["weights_left"]
    assert sum(weights) < sum(p.numel() for p in before.parameters() if p.ndim > 1)
    run_again = evaluation.evaluate(tmp_path / "run")
    assert run_again["accuracy"] == summary["accuracy"]
    assert evaluation.evaluate(tmp_path / "run" / "model.safetensors")["accuracy"] == summary["accuracy"]


def test_a_file_of_others_is_measured_on_the_data_that_are_named(tmp_path: Path) -> None:
    file = flat(tmp_path / "net.nir")
    with pytest.raises(UserError, match=r"does not say which data its network reads: give --data\.name"):
        evaluation.evaluate(file)
    data = {"name": tiny_run.DATA, "time_steps": tiny_run.STEPS}
    found = evaluation.evaluate(file, data)
    half = evaluation.evaluate(file, data, dt=0.5e-4)  # two time steps are four: a smaller leak
    assert found["samples"] == 21
    assert found["operations"]["synops"] != half["operations"]["synops"]
    with pytest.raises(UserError, match="--nir-dt is the time step of a NIR file"):
        evaluation.evaluate(tmp_path, dt=1.0)


def test_frames_and_classes_have_to_fit(tmp_path: Path) -> None:
    config = ModelConfig(NIR_MODEL, file=str(flat(tmp_path / "net.nir")))
    for shape, classes in (((2, 9, 9), CLASSES), (SHAPE, 4)):
        with pytest.raises(UserError, match=r"reads \(128,\) and answers \(3,\), and the data have frames"):
            nir_model.network(config, shape, classes)
    with pytest.raises(UserError, match=r"model\.file is missing: .*--init FILE\.nir"):
        nir_model.network(ModelConfig(NIR_MODEL), SHAPE, CLASSES)


def test_what_cannot_be_understood_is_named_by_node(tmp_path: Path) -> None:
    file = written(tmp_path / "net.nir", {
        "input": nir.Input(np.array([3])), "late": nir.Delay(np.ones(3)), "fc": affine(3, 3, 0),
        "above": nir.Threshold(np.ones(3)), "output": nir.Output(np.array([3])),
    })  # fmt: skip
    with pytest.raises(
        UserError, match=r"its node 'above' is of kind Threshold, .*its node 'late' is of kind Delay, "
    ):
        nir_file.read(file)


def test_neurons_that_cannot_be_understood_are_named(tmp_path: Path) -> None:
    odd = nir.LIF(np.full(3, 2e-4), np.ones(3), np.full(3, 0.25), np.ones(3))
    file = written(tmp_path / "net.nir", {
        "input": nir.Input(np.array([3])), "fc": affine(3, 3, 0), "odd": odd,
        "output": nir.Output(np.array([3])),
    })  # fmt: skip
    with pytest.raises(UserError, match=r"its node 'odd' has v_leak other than v_reset"):
        nir_file.read(file)


# --- the command line


def test_init_takes_a_network_or_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[RunConfig] = []
    monkeypatch.setattr(training.run, "train", lambda config, out: seen.append(config))
    file, out = flat(tmp_path / "net.nir"), str(tmp_path / "run")
    assert cli.main(["train", "--init", str(file), "--out", out]) == 0
    assert cli.main(["train", "--init", "weights.safetensors", "--out", out]) == 0
    assert [(c.model.name, c.model.file, c.train.init) for c in seen] == [
        (NIR_MODEL, str(file), None), ("conv-snn", None, "weights.safetensors"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--init", "none.nir"], "there is no file none.nir"),
        (
            ["--init", "none.nir", "--model.name", "mlp-snn"],
            "holds a network of its own: leave --model.name out",
        ),
    ],
)
def test_what_init_cannot_start_from_is_one_sentence(words: list[str], told: str, capsys: Any) -> None:
    assert cli.main(["train", *words]) == 2
    assert told in capsys.readouterr().err
