"""ONNX: a time step that onnxruntime runs, on whole recordings, spike for spike."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import onnx
import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from test_export_nir import FRAMES, Residual, lived
from torch import Tensor, nn

import snnprune
from snnprune.common.errors import UserError
from snnprune.config.schema import ModelConfig
from snnprune.export import onnx_file
from snnprune.export.comparison import compare, spiking_run
from snnprune.export.step import Step
from snnprune.network.synops import SpikeCounter
from snnprune.nn.models import build
from support.networks import conv_snn

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("make", [lambda: conv_snn(norm=True), Residual])
def test_recordings_are_answered_spike_for_spike(make: Any, tmp_path: Path) -> None:
    model = snnprune.accelerate(lived(make()))
    onnx_file.write(model, FRAMES, tmp_path / "net.onnx", "a note")
    runner = onnx_file.Runner.of(tmp_path / "net.onnx", spikes=True)
    assert runner.about == "a note"
    found = compare(spiking_run(model), runner, [FRAMES, FRAMES[:, :1], FRAMES.repeat(1, 3, 1, 1, 1)])
    assert found.samples == 3 + 1 + 9, "of any batch size"
    assert found.flipped == found.answers == 0
    assert found.difference < 1e-5
    assert all(flips.spikes > 0 for flips in found.layers.values())


def lenet() -> nn.Module:
    return build(ModelConfig("lenet-ann", hidden=20), (1, 28, 28), 10)


def strided() -> nn.Module:
    lif = {"v_threshold": 0.3, "step_mode": "m"}
    return nn.Sequential(
        layer.Conv2d(2, 4, 3, 2, padding=1, dilation=2, bias=False, step_mode="m"), neuron.IFNode(**lif),
        layer.Conv2d(4, 6, 3, groups=2, step_mode="m"), neuron.IFNode(**lif),
        layer.Flatten(step_mode="m"), nn.LazyLinear(10), neuron.IFNode(**lif),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("make", "frames"),
    [
        pytest.param(lambda: lived(conv_snn(norm=True)), FRAMES, id="spiking"),
        pytest.param(lambda: lived(conv_snn(norm=True)), (3 * FRAMES).round(), id="of counted events"),
        pytest.param(lambda: lived(Residual()), FRAMES, id="residual"),
        pytest.param(strided, FRAMES, id="strides and groups"),
        pytest.param(lenet, torch.rand(4, 1, 28, 28), id="without time"),
    ],
)
def test_the_file_counts_its_operations(make: Any, frames: Tensor, tmp_path: Path) -> None:
    model = make().eval()
    with torch.no_grad():
        model(frames)  # lazy layers
        functional.reset_net(model)
        for weight in (p for p in model.parameters() if p.ndim > 1):
            weight[torch.rand_like(weight) < 0.3] = 0.0
        samples = frames.shape[1 if frames.ndim == 5 else 0]
        topology = snnprune.discover(model, frames)
        with SpikeCounter(model, topology) as counter:
            functional.reset_net(model)
            model(frames)
        alive = {p.name: model.get_parameter(p.weight) != 0 for p in topology.projections.values()}
        expected = counter.operations(samples, alive)
    functional.reset_net(model)
    onnx_file.write(model, frames, tmp_path / "net.onnx")
    runner = onnx_file.Runner.of(tmp_path / "net.onnx", counts=True)
    runner(frames)
    wanted = {name: getattr(expected, name) for name in ("synops", "synops_by_events", "macs")}
    assert runner.operations(samples) == pytest.approx(wanted)
    assert expected.synops + expected.macs > 0


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of a convolutional network: writing one takes more than a second."""
    path = tmp_path_factory.mktemp("onnx") / "net.onnx"
    onnx_file.write(lived(conv_snn(norm=True)), FRAMES, path)
    return path


def test_the_file_is_a_function_of_input_and_state(written: Path) -> None:
    """As in the files of older versions, which are read."""
    proto = onnx.load(str(written))
    graph, kept = proto.graph, {entry.key: entry.value for entry in proto.metadata_props}
    assert json.loads(kept["snnprune.rest"]) == {"2": 0.0, "6": 0.0, "10": 0.0, "12": 0.0}
    assert [i.name for i in graph.input] == ["x", "v.2", "v.6", "v.10", "v.12"]
    assert [o.name for o in graph.output] == ["y", "next.2", "next.6", "next.10", "next.12"]


@pytest.mark.parametrize(
    "neurons",
    [
        neuron.LIFNode(tau=1.25, decay_input=False, v_threshold=0.5),
        neuron.LIFNode(tau=3.0, v_threshold=0.3, v_reset=None),
        neuron.LIFNode(tau=1.7, v_threshold=0.3, v_reset=-0.2),
        neuron.IFNode(v_threshold=0.7),
        neuron.IFNode(v_threshold=0.7, v_reset=None),
        neuron.ParametricLIFNode(init_tau=2.3, decay_input=False, v_reset=0.1),
    ],
)
def test_plain_arithmetic_is_spikingjellys_bit_for_bit(neurons: neuron.BaseNode) -> None:
    neurons.step_mode = "m"
    x = torch.rand(20, 4, 50) - 0.2
    step = Step(nn.Sequential(neurons))
    states = [torch.full((4, 50), rest) for *_, rest in step.states]
    spikes = []
    for frame in x:
        y, states = step(frame, states)
        spikes.append(y)
    expected = neurons(x)
    assert expected.any()
    assert torch.equal(torch.stack(spikes), expected)
    assert torch.equal(states[0], neurons.v)


def test_a_network_without_time_has_no_states(tmp_path: Path) -> None:
    model = lenet().eval()
    images = torch.rand(4, 1, 28, 28)
    onnx_file.write(model, images, tmp_path / "net.onnx")
    y, spikes = onnx_file.Runner.of(tmp_path / "net.onnx")(images)
    assert torch.allclose(y, model(images), atol=1e-5)
    assert spikes == {}


def test_an_unknown_neuron_is_named(tmp_path: Path) -> None:
    model = conv_snn(norm=True)
    model[2] = neuron.KLIFNode(step_mode="m")
    with pytest.raises(UserError, match="layer '2' is a KLIFNode"):
        onnx_file.write(model, FRAMES, tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []


def test_files_of_others_are_refused(written: Path, tmp_path: Path) -> None:
    (tmp_path / "none.onnx").write_bytes(b"not a model")
    with pytest.raises(UserError, match="not an ONNX file that snnprune wrote"):
        onnx_file.Runner.of(tmp_path / "none.onnx")
    proto = onnx.load(str(written))
    tensor = proto.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    tensor.ClearField("raw_data")
    with pytest.raises(UserError, match="keeps tensors in other files"):
        onnx_file.Runner(proto.SerializeToString())
