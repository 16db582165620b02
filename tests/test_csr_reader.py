"""The reader of csr files that stands in docs/export.md finds every spike, with numpy alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

from snnprune.engine import plan_file, rows
from snnprune.engine.plan import Neurons
from snnprune.export import connections
from snnprune.export.comparison import spiking_run
from snnprune.export.engine_run import spiking_run as engine_run
from snnprune.export.event_driven import engine_of_grid
from snnprune.export.quantisation import quantise
from snnprune.nn.models.adaptive import AdaptiveLIFNode
from snnprune.nn.models.heterogeneous import HeterogeneousLIFNode
from snnprune.nn.models.integrator import LeakyIntegrator
from snnprune.nn.recurrent import Recurrent

if TYPE_CHECKING:
    from collections.abc import Callable

TEXT = (Path(__file__).parents[1] / "docs" / "export.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.S)
CODE = next(block for block in BLOCKS if "def matrix(" in block)
FOUR_BITS = next(block for block in BLOCKS if "low half first" in block)
FIRST = "def matrix(shape, weights, rows, columns):\n"

FRAMES = torch.poisson(torch.full((8, 1, 2, 8, 8), 0.8), torch.Generator().manual_seed(0)).double()


def read(path: Path, *, bits: int = 32) -> tuple[Any, dict[str, Any]]:
    """Return the outputs and the spikes of each layer, as the document's reader finds them."""
    assert FIRST in CODE
    reader: dict[str, Any] = {}
    exec(CODE.replace(FIRST, FIRST + FOUR_BITS) if bits <= 4 else CODE, reader)
    found, plan = reader["run"](path, FRAMES[:, 0].numpy()), plan_file.read(path)
    spikes = {node.name: found[node.name] for node in plan.nodes if isinstance(node, Neurons)}
    return found[plan.nodes[plan.output].name].reshape(len(FRAMES), -1), spikes


def lif(**more: Any) -> neuron.LIFNode:
    return neuron.LIFNode(2.0, False, 0.5, step_mode="m", **more)


def convolutional() -> nn.Module:
    return nn.Sequential(
        layer.Conv2d(2, 6, 3, padding=1, stride=(1, 2), step_mode="m"), lif(),
        layer.AvgPool2d(2, step_mode="m"),
        layer.Conv2d(6, 6, 3, padding=2, dilation=2, groups=2, step_mode="m"),
        neuron.ParametricLIFNode(2.0, v_threshold=0.2, v_reset=None, step_mode="m"),
        layer.MaxPool2d(2, step_mode="m"), nn.Flatten(2), nn.LazyLinear(9),
        neuron.IFNode(0.4, v_reset=-0.1, step_mode="m"), nn.Linear(9, 3),
    )  # fmt: skip


def recurrent() -> nn.Module:
    own = HeterogeneousLIFNode(7)
    own.v_threshold = 0.1
    return nn.Sequential(
        nn.Flatten(2), nn.Linear(128, 8), Recurrent(lif(), 8), nn.Linear(8, 7),
        Recurrent(own, 7), nn.Linear(7, 3), LeakyIntegrator(0.6),
    )  # fmt: skip


def container() -> nn.Module:
    single = neuron.LIFNode(2.0, False, 0.5)
    return nn.Sequential(
        nn.Flatten(2), nn.Linear(128, 6), layer.LinearRecurrentContainer(single, 6, 6, step_mode="m"),
        nn.Linear(6, 3), lif(),
    )  # fmt: skip


def normed() -> nn.Module:
    """A norm of frames, which no layer can take in."""
    norm = layer.BatchNorm2d(2, step_mode="m")
    nn.init.uniform_(norm.weight, 0.5, 2.0)
    nn.init.uniform_(norm.bias, -0.3, 0.3)
    return nn.Sequential(
        norm, lif(), layer.Conv2d(2, 4, 3, step_mode="m"), lif(), nn.Flatten(2), nn.Linear(144, 3)
    )


def sparse(build: Callable[[], nn.Module], alive: float) -> nn.Module:
    torch.manual_seed(0)
    model = build().double()
    model(FRAMES)
    functional.reset_net(model)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.data *= 4.0 * (torch.rand(parameter.shape) < alive)
    return model.eval()


def same(found: tuple[Any, dict[str, Any]], wanted: tuple[Any, dict[str, Any]]) -> None:
    outputs, spikes = wanted
    assert np.allclose(found[0], outputs[:, 0].detach().numpy(), rtol=0, atol=1e-12)
    assert found[1].keys() == spikes.keys()
    for name, fired in spikes.items():
        mine = fired[:, 0].detach().numpy()
        assert np.array_equal(found[1][name].reshape(mine.shape), mine)
        assert 0 < mine.sum() < mine.size


@pytest.mark.parametrize("alive", [0.4, 1.0])
@pytest.mark.parametrize("build", [convolutional, recurrent, container, normed])
def test_every_spike_in_floats(build: Callable[[], nn.Module], alive: float, tmp_path: Path) -> None:
    model = sparse(build, alive)
    connections.write(model, tmp_path / "csr.safetensors", FRAMES)
    found = read(tmp_path / "csr.safetensors")
    same(found, spiking_run(model)(FRAMES))


@pytest.mark.parametrize("bits", [8, 4, 12])
@pytest.mark.parametrize("build", [convolutional, recurrent])
def test_every_spike_in_whole_numbers(build: Callable[[], nn.Module], bits: int, tmp_path: Path) -> None:
    grid = quantise(sparse(build, 0.5), FRAMES, bits)
    connections.write(grid, tmp_path / "csr.safetensors", FRAMES)
    found = read(tmp_path / "csr.safetensors", bits=bits)
    engine = engine_of_grid(grid)
    assert engine is not None
    same(found, engine_run(engine)(FRAMES))


def test_the_reader_has_forty_lines() -> None:
    assert sum(bool(line.strip()) for line in CODE.splitlines()) <= 40


def test_what_the_reader_lacks_is_an_error(tmp_path: Path) -> None:
    packed = quantise(sparse(recurrent, 0.5), FRAMES, 4)
    connections.write(packed, tmp_path / "csr.safetensors", FRAMES)
    with pytest.raises(ValueError, match=r"length|shape"):
        read(tmp_path / "csr.safetensors")
    model = nn.Sequential(AdaptiveLIFNode(step_mode="m"), nn.Flatten(2), nn.Linear(128, 3)).double().eval()
    connections.write(model, tmp_path / "csr.safetensors", FRAMES)
    with pytest.raises(KeyError, match="decay"):
        read(tmp_path / "csr.safetensors")


def test_frames_of_small_whole_numbers_do_not_wrap(tmp_path: Path) -> None:
    """Counts of events come as uint8."""
    grid = quantise(sparse(convolutional, 0.5), FRAMES, 8)
    connections.write(grid, tmp_path / "csr.safetensors", FRAMES)
    reader: dict[str, Any] = {}
    exec(CODE, reader)
    found = [
        reader["run"](tmp_path / "csr.safetensors", FRAMES[:, 0].to(kind))
        for kind in (torch.uint8, torch.float32)
    ]
    assert found[0].keys() == found[1].keys()
    assert all(np.array_equal(values, found[1][name]) for name, values in found[0].items())


# --- the smaller form


@pytest.mark.parametrize(
    ("alive", "bits", "as_rows"),
    [
        (60, None, True),  # 8 bytes of rows, 6 for each synapse; 4 for each of 100 numbers
        (70, None, False),
        (30, 8, True),  # 3 bytes for each synapse, 1 for each number
        (40, 8, False),
        (15, 4, True),  # two and a half, a half
        (20, 4, False),
    ],
)
def test_the_form_with_fewer_bytes_is_stored(alive: int, bits: int | None, as_rows: bool) -> None:
    weight = np.zeros((1, 100), np.float32 if bits is None else np.int32)
    weight[0, :alive] = 3
    parts = rows.compressed(weight, bits)
    assert ("rows" in parts) is as_rows
    assert np.array_equal(rows.dense("fc", (1, 100), parts, bits), weight)


def test_all_numbers_are_checked_as_well() -> None:
    weight = np.arange(1, 7, dtype=np.int32).reshape(2, 3)
    parts = rows.compressed(weight, 4)
    assert parts["weights"].tolist() == [0x21, 0x43, 0x65]
    with pytest.raises(ValueError, match=r"'fc\.weights' has 6 weights of 8 synapses"):
        rows.dense("fc", (2, 4), parts, 4)
    with pytest.raises(ValueError, match=r"'fc\.weights' are no numbers of 5 bits"):
        rows.dense("fc", (1, 2), {"weights": np.array([1, 16], np.int8)}, 5)


def test_a_file_without_one_of_three_tensors_is_refused(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    path = tmp_path / "csr.safetensors"
    connections.write(sparse(recurrent, 0.3), path, FRAMES)
    with safe_open(path, framework="numpy") as file:
        held = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        header = file.metadata()
    del held["1.rows"]
    save_file(held, path, header)
    with pytest.raises(Exception, match=r"cannot read connections from .*1\.rows"):
        plan_file.read(path)
