"""Recurrent layers leave and come back: as a step with states, as edges of NIR, as connections, on a grid."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import nir
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors import safe_open
from spikingjelly.activation_based import functional, layer, neuron
from test_whole_numbers import Chip
from torch import nn

import snnprune
from snnprune.common.errors import UserError
from snnprune.config.schema import ModelConfig
from snnprune.engine import plan_file
from snnprune.engine.plan import Source
from snnprune.export import connections, evaluation, exporting, latency, nir_file, nir_loops, onnx_file
from snnprune.export.comparison import compare, spiking_run
from snnprune.export.demand import demand, totals
from snnprune.export.limits import check_nir
from snnprune.export.planning import plan
from snnprune.export.quantisation import quantise
from snnprune.export.step import Step
from snnprune.network.synops import SpikeCounter
from snnprune.network.weights import synapses_of
from snnprune.nn.models import build
from snnprune.nn.models.adaptive import AdaptiveLIFNode
from snnprune.nn.models.heterogeneous import HeterogeneousLIFNode
from snnprune.nn.models.integrator import LeakyIntegrator
from snnprune.nn.recurrent import Recurrent
from snnprune.pruning import Masks
from snnprune.training import run
from support import tiny_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FRAMES = torch.poisson(
    torch.full((8, 4, 1, 2, 6), 0.8, dtype=torch.float64), torch.Generator().manual_seed(0)
)


def lif() -> neuron.LIFNode:
    return neuron.LIFNode(2.0, False, v_threshold=0.6)


KINDS: dict[str, Callable[[int], nn.Module]] = {
    "Recurrent": lambda size: Recurrent(lif(), size),
    "Recurrent of PLIF": lambda size: Recurrent(neuron.ParametricLIFNode(2.0, v_threshold=0.3), size),
    "linear container": lambda size: layer.LinearRecurrentContainer(lif(), size, size, step_mode="m"),
    "elementwise container": lambda size: layer.ElementWiseRecurrentContainer(
        lif(), lambda y, x: x + y, step_mode="m"
    ),
}


def network(kind: str = "Recurrent", *, leaky: bool = False) -> nn.Sequential:
    """Two recurrent layers and a readout, all of which fire."""
    torch.manual_seed(1)
    readout = LeakyIntegrator(0.6) if leaky else neuron.IFNode(v_threshold=0.5, step_mode="m")
    model = nn.Sequential(
        layer.Flatten(step_mode="m"), layer.Linear(12, 8, step_mode="m"), KINDS[kind](8),
        layer.Linear(8, 6, step_mode="m"), KINDS[kind](6), layer.Linear(6, 3, step_mode="m"), readout,
    )  # fmt: skip
    for parameter in model.parameters():
        parameter.data *= 2.0 if parameter.ndim == 2 else 1.0
    return model.double().eval()


def operations(model: nn.Module, imported: nn.Module | None = None) -> Any:
    """Return the operations of a network, or of what was made of it, at weights that are not zero."""
    ran = model if imported is None else imported
    wrappers = [] if imported is None else nir_file.wrappers(imported)
    with SpikeCounter(ran, snnprune.discover(ran, FRAMES), wrappers) as counter:
        functional.reset_net(ran)
        ran(FRAMES)
    functional.reset_net(ran)
    alive = {name: synapses_of(ran.get_submodule(name)) for name in counter.topology.projections}
    return counter.operations(FRAMES.shape[1], alive)


def numbers(counted: Any) -> dict[str, float]:
    return {name: getattr(counted, name) for name in ("synops", "synops_by_events", "macs")}


# --- NIR


@pytest.mark.parametrize("leaky", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_every_spike_comes_back_from_nir(kind: str, leaky: bool, tmp_path: Path) -> None:
    model = network(kind, leaky=leaky)
    nir_file.write(model, FRAMES, tmp_path / "net.nir", "a note")
    again, about = nir_file.read(tmp_path / "net.nir", torch.float64)
    assert about == "a note"
    found = compare(spiking_run(model), nir_file.spiking_run(again, model), [FRAMES, FRAMES[:, :1]])
    assert found.flipped == found.answers == 0
    assert found.difference < 1e-9
    assert len(found.layers) == 2 + (not leaky)
    assert all(flips.spikes > 0 for flips in found.layers.values())


# --- ONNX

NEURONS: dict[str, Callable[[], nn.Module]] = {
    "heterogeneous": lambda: HeterogeneousLIFNode(6),
    "adaptive": AdaptiveLIFNode,
    "adaptive and heterogeneous": lambda: AdaptiveLIFNode(6),
}


def of_neurons(kind: str) -> nn.Sequential:
    """One recurrent layer of ``kind``, all neurons of which fire now and then."""
    torch.manual_seed(0)
    model = nn.Sequential(
        layer.Flatten(step_mode="m"), layer.Linear(12, 6, step_mode="m"), Recurrent(NEURONS[kind](), 6),
        layer.Linear(6, 3, step_mode="m"), LeakyIntegrator(0.6),
    )  # fmt: skip
    for parameter in model.parameters():
        parameter.data *= 3.0 if parameter.ndim == 2 else 1.0
    return model.double().eval()


def of_kind(kind: str) -> nn.Sequential:
    return of_neurons(kind) if kind in NEURONS else network(kind, leaky=True)


@torch.no_grad()
@pytest.mark.parametrize("kind", [*KINDS, *NEURONS])
def test_steps_are_the_network_bit_for_bit(kind: str) -> None:
    model = of_kind(kind)
    step = Step(model)
    states = [torch.tensor(rest) for *_, rest in step.states]
    seen = [0.0] * len(states)
    for frame, expected in zip(FRAMES, model(FRAMES), strict=True):
        y, states = step(frame, states)
        assert torch.equal(y, expected)
        seen = [before + float(state.abs().sum()) for before, state in zip(seen, states, strict=True)]
    assert min(seen) > 0


@pytest.mark.parametrize(
    "kind", ["Recurrent", *(pytest.param(k, marks=pytest.mark.slow) for k in [*KINDS, *NEURONS][1:])]
)
def test_every_spike_comes_back_from_a_step(kind: str, tmp_path: Path) -> None:
    model = of_kind(kind)
    onnx_file.write(model, FRAMES, tmp_path / "net.onnx", "a note")
    runner = onnx_file.Runner.of(tmp_path / "net.onnx", spikes=True, counts=True)
    found = compare(spiking_run(model), runner, [FRAMES])
    assert found.flipped == found.answers == 0
    assert found.difference < 1e-6  # torch's exporter rounds Python's numbers to float32
    assert len(found.layers) == (1 if kind in NEURONS else 2)
    assert all(0 < flips.spikes < flips.size for flips in found.layers.values())
    assert runner.operations(FRAMES.shape[1]) == pytest.approx(numbers(operations(model)))


def test_a_step_hands_on_potentials_and_spikes(tmp_path: Path) -> None:
    """Feedback of 0.5 leads from unit 0 to 1, without a leak: after a spike of 0, 1 gets 0.25 + 0.5 > 0.7."""
    node = neuron.IFNode(v_threshold=0.7)
    model = nn.Sequential(nn.Linear(2, 2, bias=False), Recurrent(node, 2)).eval()
    model[0].weight.data = torch.eye(2)
    model[1].feedback.weight.data = torch.tensor([[0.0, 0.0], [0.5, 0.0]])
    onnx_file.write(model, torch.rand(3, 1, 2), tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    assert [i.name for i in session.get_inputs()] == ["x", "y.1", "v.1.neuron"]
    assert [o.name for o in session.get_outputs()] == ["y", "next.1", "next.1.neuron"]
    zeros = np.zeros((1, 2), np.float32)
    frame = np.array([[0.75, 0.0]], np.float32)
    y, last, v = session.run(None, {"x": frame, "y.1": zeros, "v.1.neuron": zeros})
    assert (y.tolist(), last.tolist(), v.tolist()) == ([[1.0, 0.0]], [[1.0, 0.0]], [[0.0, 0.0]])
    frame = np.array([[0.25, 0.25]], np.float32)
    y, last, v = session.run(None, {"x": frame, "y.1": last, "v.1.neuron": v})
    assert (y.tolist(), last.tolist(), v.tolist()) == ([[0.0, 1.0]], [[0.0, 1.0]], [[0.25, 0.0]])
    proto = onnx.load(str(tmp_path / "net.onnx"))
    (rest,) = (entry for entry in proto.metadata_props if entry.key == "snnprune.rest")
    assert json.loads(rest.value) == {"1": 0.0, "1.neuron": 0.0}
    rest.value = '{"1.neuron": 0.0}'
    with pytest.raises(UserError, match=r"has the states \['1', '1.neuron'\], and its metadata"):
        onnx_file.Runner(proto.SerializeToString())


def test_a_layer_with_another_memory_has_no_step(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(2, 2), layer.SynapseFilter(step_mode="m")).eval()
    with pytest.raises(UserError, match="layer '1' is a SynapseFilter, and a time step can be written only"):
        onnx_file.write(model, torch.rand(3, 1, 2), tmp_path / "net.onnx")


# --- loops over time that people write by hand


class ByHand(nn.Module):
    """A loop over time in a forward; ``steps``: their number, where it is not that of the input."""

    def __init__(self, neurons: nn.Module, steps: int = 0, *, mean: bool = False) -> None:
        super().__init__()
        self.fc, self.back, self.out = nn.Linear(6, 5), nn.Linear(5, 5), nn.Linear(5, 3)
        self.neurons, self.steps, self.mean = neurons, steps, mean

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        told: list[torch.Tensor] = []
        for t in range(self.steps) if self.steps else range(len(x)):
            current = self.fc(x[t])
            told.append(self.neurons(current + self.back(told[-1]) if told else current))
        outputs = self.out(torch.stack(told))
        return outputs.mean(0) if self.mean else outputs


LOOPS = {
    "ANN": lambda steps: ByHand(nn.ReLU()),
    "ANN, so many steps": lambda steps: ByHand(nn.ReLU(), steps),
    "ANN, mean over time": lambda steps: ByHand(nn.ReLU(), mean=True),
    "spiking": lambda steps: ByHand(lif()),
    "spiking, so many steps": lambda steps: ByHand(lif(), steps),
}
FORMATS: dict[str, Callable[[nn.Module, torch.Tensor, Path], Any]] = {
    "ONNX": onnx_file.write,
    "NIR": nir_file.write,
    "csr": lambda model, x, path: connections.write(model, path, x),
    "whole numbers": lambda model, x, path: connections.write(quantise(model, x, 8), path, x),
    "a plan, of which C is written": lambda model, x, path: plan(model, x),
}


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("made", LOOPS)
def test_a_loop_by_hand_is_never_written_as_one_time_step(
    made: str, to: str, steps: int, tmp_path: Path
) -> None:
    if steps == 1 and to == "csr" and "so many" in made:
        return  # one step feeds nothing back
    with pytest.raises(UserError):
        FORMATS[to](LOOPS[made](steps).eval(), 2 * torch.rand(steps, 2, 6), tmp_path / "net")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: ByHand(nn.ReLU()), "its time steps one after the other .they differ by .* without a loop"),
        (lambda: nn.Sequential(nn.Linear(6, 3), Last()), "shapes .2, 3. and .4, 3.*outputs of all steps"),
    ],
)
def test_what_a_network_does_over_time_has_no_step_and_the_sentence_says_so(
    make: Callable[[], nn.Module], told: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=told):
        onnx_file.write(make().eval(), torch.rand(4, 2, 6), tmp_path / "net.onnx")


class Last(nn.Module):
    """The last time step."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[-1]


# --- NIR, on paper


def test_the_edges_are_arithmetic(tmp_path: Path) -> None:
    """Unit 0 excites 1, 1 excites 2, and 2 silences 0, each a step later."""
    model = nn.Sequential(nn.Linear(3, 3, bias=False), Recurrent(neuron.IFNode(v_threshold=1.0), 3)).eval()
    model[0].weight.data = torch.eye(3)
    wired = torch.tensor([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    model[1].feedback.weight.data = wired
    frames = torch.zeros(4, 1, 3)
    frames[:, 0, 0] = torch.tensor([1.0, 0.0, 0.0, 1.0])
    nir_file.write(model, frames, tmp_path / "net.nir")
    graph = nir.read(str(tmp_path / "net.nir"))
    assert {("_1_neuron", "_1_feedback"), ("_1_feedback", "_1_neuron")} < set(graph.edges)
    assert graph.nodes["_1_feedback"].weight.tolist() == wired.tolist()
    again, _ = nir_file.read(tmp_path / "net.nir")
    expected = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    assert again(frames)[0].squeeze(1).tolist() == model(frames).squeeze(1).tolist() == expected


def test_states_of_a_file_go_on_where_they_are_handed_over(tmp_path: Path) -> None:
    model = network(leaky=True)
    nir_file.write(model, FRAMES, tmp_path / "net.nir")
    again, _ = nir_file.read(tmp_path / "net.nir", torch.float64)
    first, state = again(FRAMES[:5])
    second, _ = again(FRAMES[5:], state)
    assert torch.equal(torch.cat([first, second]), again(FRAMES)[0])


def test_time_constants_of_their_own_come_back(tmp_path: Path) -> None:
    model = of_neurons("heterogeneous")
    nir_file.write(model, FRAMES, tmp_path / "net.nir")
    again, _ = nir_file.read(tmp_path / "net.nir", torch.float64)
    found = compare(spiking_run(model), nir_file.spiking_run(again, model), [FRAMES])
    assert found.flipped == 0
    assert found.spikes > 0
    assert found.difference < 1e-9


@pytest.mark.parametrize(
    ("module", "told"),
    [
        (Recurrent(AdaptiveLIFNode(), 3), "it is an AdaptiveLIFNode, .* use a LIFNode .--model.neuron lif."),
        (Recurrent(neuron.LIFNode(v_reset=None), 3), "its neurons reset softly"),
        (neuron.NonSpikingLIFNode(), "it is a NonSpikingLIFNode, .* use .*LeakyIntegrator"),
        (
            layer.ElementWiseRecurrentContainer(lif(), lambda y, x: x - y, step_mode="m"),
            "it joins its input and its last spikes in another way than by adding",
        ),
        (
            layer.LinearRecurrentContainer(nn.Sequential(nn.Linear(3, 3), lif()), 3, 3, step_mode="m"),
            "it feeds back the output of a Sequential, not of one layer of neurons",
        ),
    ],
)
def test_what_nir_has_no_edges_for_is_named(module: nn.Module, told: str) -> None:
    with pytest.raises(UserError, match=f"NIR cannot hold layer '1': {told}"):
        check_nir(nn.Sequential(layer.Linear(3, 3, step_mode="m"), module))


# --- the network of the command line, cut


def cut(**settings: Any) -> tuple[nn.Module, nn.Module]:
    """Return an rsnn whose layers all fire, and the same accelerated, without a third of its units."""
    torch.manual_seed(0)
    model = build(ModelConfig("rsnn", hidden=12, **settings), (1, 2, 6), 3).eval()
    for name, parameter in model.named_parameters():
        parameter.data *= 3.0 if name.endswith("weight") else 1.0
    masks = Masks(model, snnprune.discover(model, FRAMES.float()))
    for population in masks.topology.free():
        masks.keep_units(population, torch.arange(population.size) % 3 > 0)
    return model, snnprune.accelerate(snnprune.compact(model, masks).eval())


@pytest.mark.parametrize("settings", [{}, {"readout": "spikes", "tau": "heterogeneous"}])
def test_a_smaller_network_leaves_with_its_own_sizes(settings: dict[str, Any], tmp_path: Path) -> None:
    dense, small = cut(**settings)
    snnprune.save(small, tmp_path / "net")
    loaded = snnprune.load(
        tmp_path / "net", lambda: build(ModelConfig("rsnn", hidden=12, **settings), (1, 2, 6), 3)
    )
    assert loaded.fc1_rec.feedback.weight.shape == (8, 8)
    assert dense.fc1_rec.feedback.weight.shape == (12, 12)
    frames = FRAMES.float()
    assert compare(spiking_run(small), spiking_run(loaded.eval()), [frames]).flipped == 0
    nir_file.write(small, frames, tmp_path / "net.nir")
    assert nir.read(str(tmp_path / "net.nir")).nodes["fc1_rec_feedback"].weight.shape == (8, 8)
    again, _ = nir_file.read(tmp_path / "net.nir")
    found = compare(spiking_run(small), nir_file.spiking_run(again, small), [frames])
    assert found.flipped == found.answers == 0
    assert all(flips.spikes > 0 for flips in found.layers.values())
    assert type(small.fc1_rec).__module__.startswith("snnprune.nn.fused"), (
        "the network itself stays accelerated"
    )


def test_the_operations_are_those_of_the_network(tmp_path: Path) -> None:
    """A spike reaches every synapse that is not zero, also those of the feedback, a step later."""
    model = network()
    with torch.no_grad():
        for weight in (p for p in model.parameters() if p.ndim == 2):
            weight[torch.rand(weight.shape, generator=torch.Generator().manual_seed(0)) < 0.3] = 0.0
    nir_file.write(model, FRAMES, tmp_path / "net.nir")
    imported = nir_file.read(tmp_path / "net.nir", torch.float64)[0]
    assert numbers(operations(model, imported)) == pytest.approx(numbers(operations(model)))
    fired = spiking_run(model)(FRAMES)[1]["2.neuron"].sum(1)  # [T, units]
    out = (model[2].feedback.weight != 0).sum(0)
    assert operations(model).layers["2.feedback"].synops == pytest.approx(float((fired[:-1] * out).sum()) / 4)


def test_neurons_of_a_recurrent_layer_are_asked_for_once() -> None:
    """Unit 1 hears 2 inputs and 2 units; unit 0 is heard by 2 units and by 1 of the next layer."""
    model = nn.Sequential(
        nn.Linear(2, 3, bias=False), nn.Dropout(0.5), Recurrent(lif(), 3), nn.Linear(3, 1, bias=False)
    )
    for parameter in model.parameters():
        parameter.data.fill_(1.0)
    wired = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    model[2].feedback.weight.data = wired
    first, feedback, last = demand(model, torch.rand(3, 1, 2))
    assert (first.neurons, feedback.neurons, last.neurons) == (3, 0, 1)
    assert (feedback.weights, feedback.synapses, feedback.fan_in, feedback.fan_out) == (4, 4, 4, 3)
    whole = totals([first, feedback, last])
    assert (whole["neurons"], whole["synapses"], whole["fan_in"], whole["fan_out"]) == (4, 13, 4, 3)


# --- NIR of others


def leaky(size: int | tuple[int, int], **changed: Any) -> nir.LIF:
    constants = {"tau": 2e-4, "r": 2.0, "v_leak": 0.0, "v_threshold": 0.6, "v_reset": 0.0} | changed
    return nir.LIF(**{name: np.full(size, value) for name, value in constants.items()})


def graph_of(edges: list[tuple[str, str]], **nodes: Any) -> nir.NIRGraph:
    shape = np.array(np.shape(getattr(next(iter(nodes.values())), "r", WEIGHT[0])))
    ends = {"input": nir.Input(shape), "output": nir.Output(shape)}
    return nir.NIRGraph(ends | nodes, edges, type_check=False)


WEIGHT = np.array([[0.0, 0.5, 0.0], [0.75, 0.0, 0.0], [0.0, -0.5, 0.25]])
AROUND = [("input", "lif"), ("lif", "w"), ("w", "lif"), ("lif", "output")]


def by_hand(frames: torch.Tensor, bias: float = 0.0) -> torch.Tensor:
    """Return the spikes of LIF neurons that read frames and, a step later, themselves."""
    v, y, spikes = torch.zeros(3).double(), torch.zeros(3).double(), []
    for x in frames[:, 0]:
        h = v / 2 + x + torch.from_numpy(WEIGHT) @ y + bias
        y = (h >= 0.6).double()
        v = h * (1 - y)
        spikes.append(y)
    return torch.stack(spikes).unsqueeze(1)


@pytest.mark.parametrize("bias", [0.0, 0.125])
@pytest.mark.parametrize("nested", [False, True])
def test_files_of_others_are_read(nested: bool, bias: float, tmp_path: Path) -> None:
    linear = nir.Affine(WEIGHT, np.full(3, bias)) if bias else nir.Linear(WEIGHT)
    graph = graph_of(AROUND, lif=leaky(3), w=linear)
    if nested:
        graph = graph_of([("input", "layer"), ("layer", "output")], layer=graph)
    nir.write(tmp_path / "net.nir", graph)
    again, about = nir_file.read(tmp_path / "net.nir", torch.float64)
    frames = torch.rand(12, 1, 3, generator=torch.Generator().manual_seed(0)).double()
    assert torch.equal(again(frames)[0], by_hand(frames, bias))
    assert about == ""


OTHER_WAYS: dict[str, tuple[list[tuple[str, str]], dict[str, Any], str]] = {
    "onto itself without synapses": (
        [("input", "lif"), ("lif", "lif"), ("lif", "output")], {"lif": leaky(3)},
        "its edges lead back, 'lif'",
    ),
    "through two layers": (
        [*AROUND[:2], ("w", "b"), ("b", "lif"), ("lif", "output")],
        {"lif": leaky(3), "w": nir.Linear(WEIGHT), "b": nir.Linear(WEIGHT)}, "its edges lead back, ",
    ),
    "through two linear nodes": (
        [*AROUND, ("lif", "b"), ("b", "lif")],
        {"lif": leaky(3), "w": nir.Linear(WEIGHT), "b": nir.Linear(WEIGHT)}, "its edges lead back, ",
    ),
    "through a node that others read": (
        [*AROUND, ("w", "output")], {"lif": leaky(3), "w": nir.Linear(WEIGHT)}, "its edges lead back, ",
    ),
    "within several groups": (
        AROUND, {"lif": leaky((2, 3)), "w": nir.Linear(np.ones((2, 3, 3)))},
        r"its node 'w' of shape \(2, 3, 3\) leads back to 'lif' of shape \(2, 3\)",
    ),
    "to a readout": (
        AROUND, {"lif": nir.LI(np.ones(3), np.full(3, 2.0), np.zeros(3)), "w": nir.Linear(WEIGHT)},
        "its edges lead back, ",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("edges", "nodes", "told"), OTHER_WAYS.values(), ids=OTHER_WAYS)
def test_edges_that_lead_back_otherwise_are_named(
    edges: list[tuple[str, str]], nodes: dict[str, Any], told: str, tmp_path: Path
) -> None:
    nir.write(tmp_path / "net.nir", graph_of(edges, **nodes))
    with pytest.raises(UserError, match=f"cannot read a network from .*: {told}"):
        nir_file.read(tmp_path / "net.nir")


def test_a_graph_of_several_inputs_within_a_graph_is_named() -> None:
    """nir itself refuses the types of some of these when it reads a file."""
    ends = {"a": nir.Input, "b": nir.Input, "c": nir.Output}
    inside = {name: kind(np.array([3])) for name, kind in ends.items()}
    nested = nir.NIRGraph(inside, [("a", "c"), ("b", "c")], type_check=False)
    graph = graph_of([("input", "layer"), ("layer", "output")], layer=nested)
    with pytest.raises(UserError, match="its node 'layer' is a graph with 3 inputs and outputs"):
        nir_loops.flat(graph)


def test_a_readout_of_others_with_constants_that_none_of_ours_has_is_named(tmp_path: Path) -> None:
    readout = nir.LI(np.array([1.0, 2.0, 3.0]), np.ones(3), np.zeros(3))
    nir.write(tmp_path / "net.nir", graph_of([("input", "li"), ("li", "output")], li=readout))
    with pytest.raises(UserError, match="its leaky integrators 'li' have r other than 1, "):
        nir_file.read(tmp_path / "net.nir")


# --- connections, and a grid


@pytest.mark.parametrize("kind", ["Recurrent", "linear container"])
def test_connections_say_that_they_lead_back(kind: str, tmp_path: Path) -> None:
    model = network(kind)
    connections.write(model, tmp_path / "net.safetensors", FRAMES)
    name, place = ("feedback", "neuron") if kind == "Recurrent" else ("rc", "sub_module")
    read = connections.read(tmp_path / "net.safetensors")
    assert np.array_equal(read[f"2.{name}"], model.get_parameter(f"2.{name}.weight").float().detach().numpy())
    with safe_open(tmp_path / "net.safetensors", framework="numpy") as file:
        about = json.loads(file.metadata()["network"])["layers"]
    columns = [0, 8] if kind == "Recurrent" else [8, 16]
    assert about[f"2.{name}"]["feedback"] == {"neurons": f"2.{place}", "delay": 1, "columns": columns}
    assert "feedback" not in about["1"]


def test_feedback_without_synapses_is_a_sum_of_what_was_a_step_before(tmp_path: Path) -> None:
    connections.write(network("elementwise container"), tmp_path / "net.safetensors", FRAMES)
    nodes = plan_file.read(tmp_path / "net.safetensors").nodes
    places = {node.name: place for place, node in enumerate(nodes)}
    assert nodes[places["2"]].sources == (Source(places["2.sub_module"], 1), Source(places["1"]))


def test_a_recurrent_network_without_a_plan_is_no_connection() -> None:
    with pytest.raises(
        UserError, match="a recurrent network needs a plan in its list of connections: it was"
    ):
        connections.content(network())


class Looping(Chip):
    """The loop in integers, with feedback and leaky readouts as the file tells them."""

    def run(self, frames: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        layers, leaks = self.about["layers"], self.about["leaks"]
        x = (frames.reshape(*frames.shape[:2], -1) * self.one).astype(np.int64)
        spikes: dict[str, np.ndarray] = {}
        for name, told in layers.items():
            if "feedback" in told:
                continue
            currents, neurons = self.sums(name, x), told["neurons"]
            back = [n for n, each in layers.items() if each.get("feedback", {}).get("neurons") == neurons]
            if f"{neurons}.thresholds" not in self.held:
                return self.leaked(currents, leaks[neurons], neurons), spikes
            spikes[neurons] = self.fired(neurons, currents, back)
            x = spikes[neurons] * self.one
        return x / self.one, spikes

    def fired(self, neurons: str, currents: np.ndarray, back: list[str]) -> np.ndarray:
        v, y, out = np.zeros_like(currents[0]), np.zeros_like(currents[0]), []
        threshold = self.held[f"{neurons}.thresholds"].astype(np.int64) * self.one
        leak = self.about["leaks"].get(neurons)
        leak = self.held[f"{neurons}.leaks"].astype(np.int64) if leak is None else leak
        for current in currents:
            fed = sum(self.sums(name, y[None] * self.one)[0] for name in back)
            h = (leak * v) // 2 ** self.about["bits"] + current + fed
            y = (h >= threshold).astype(np.int64)
            v = np.where(y > 0, 0, h)
            out.append(y)
        return np.stack(out)

    def leaked(self, currents: np.ndarray, leak: int, readout: str) -> np.ndarray:
        v, out = np.zeros_like(currents[0]), []
        for current in currents:
            v = (leak * v) // 2 ** self.about["bits"] + current
            out.append(v * (self.held[f"{readout}.steps"].astype(np.float64) / self.one))
        return np.stack(out)


@pytest.mark.parametrize("made", [network, lambda: network(leaky=True), lambda: of_neurons("heterogeneous")])
@pytest.mark.parametrize("bits", [4, 8])
def test_every_spike_on_a_grid_is_what_the_file_says(
    bits: int, made: Callable[[], nn.Module], tmp_path: Path
) -> None:
    model = made()
    grid = quantise(model, FRAMES, bits)
    connections.write(grid, tmp_path / "net.safetensors")
    answers, spikes = Looping(tmp_path / "net.safetensors").run(FRAMES.numpy())
    mine, fired = spiking_run(grid.model, grid.neurons)(FRAMES)
    assert fired.keys() == spikes.keys()
    for name, theirs in spikes.items():
        assert np.array_equal(fired[name].numpy(), theirs), name
        assert theirs.any()
    assert np.array_equal(mine.numpy(), answers)


def test_a_readout_on_a_grid_is_arithmetic() -> None:
    """3 bits: 0.75 is 3 steps of 0.25, and 0.6 about 5 eighths; a potential is in steps of 0.4 of 0.25."""
    model = nn.Sequential(nn.Linear(1, 1, bias=False), LeakyIntegrator(0.6))
    model[0].weight.data.fill_(0.75)
    grid = quantise(model, torch.ones(2, 1, 1), 3)
    assert (grid.layers["0"].weights.item(), grid.readouts["1"].leak) == (3, 5)
    assert grid.readouts["1"].steps.item() == pytest.approx(0.1)
    assert grid.model(torch.ones(2, 1, 1)).flatten().tolist() == pytest.approx([0.3, 0.3 * 5 / 8 + 0.3])


@pytest.mark.parametrize("made", [lambda: network(leaky=True), lambda: of_neurons("heterogeneous")])
def test_with_many_bits_nothing_changes(made: Callable[[], nn.Module]) -> None:
    model = made()
    grid = quantise(model, FRAMES, 16)
    found = compare(spiking_run(model), spiking_run(grid.model, grid.neurons), [FRAMES])
    assert found.flipped == 0
    assert found.difference < 1e-3


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (
            network("linear container"),
            "layer '2' is a LinearRecurrentContainer, and the only recurrent layer",
        ),
        (of_neurons("adaptive"), "layer '2.neuron' is an AdaptiveLIFNode, and only LIFNode"),
        (
            nn.Sequential(nn.Flatten(2), LeakyIntegrator(0.5)),
            "leaky integrators '1' do not read one linear layer",
        ),
    ],
)
def test_what_has_no_whole_numbers_is_named(model: nn.Module, told: str) -> None:
    with pytest.raises(UserError, match=told):
        quantise(model, FRAMES, 8)


@pytest.mark.slow
def test_norse_reads_two_recurrent_layers_spike_for_spike(tmp_path: Path) -> None:
    norse = pytest.importorskip("norse.torch", reason="needs norse: pip install norse")
    model = build(ModelConfig("rsnn", hidden=8, readout="spikes"), (1, 1, 5), 3).eval()[1:]
    for parameter in model.parameters():
        parameter.data *= 2.0 if parameter.ndim == 2 else 1.0
    frames = torch.poisson(torch.full((12, 4, 5), 2.0), torch.Generator().manual_seed(0))
    nir_file.write(model, frames, tmp_path / "net.nir")
    theirs = norse.from_nir(nir.read(str(tmp_path / "net.nir")), dt=1e-4, ignore_warnings=True)
    state, answered = None, []
    for frame in frames:
        y, state = theirs(frame, state)
        answered.append(y)
    mine = model(frames)
    assert mine.any()
    assert torch.equal(torch.stack(answered), mine)


@pytest.mark.slow
def test_a_file_of_snntorch_answers_as_snntorch(tmp_path: Path) -> None:
    snn = pytest.importorskip("snntorch", reason="needs snntorch: pip install snntorch")
    written = pytest.importorskip("snntorch.export_nir", reason="needs snntorch: pip install snntorch")
    torch.manual_seed(0)
    zero = {"reset_mechanism": "zero", "reset_delay": False, "init_hidden": True}
    half = {"beta": torch.full((3,), 0.5), "threshold": torch.full((3,), 0.6)}
    model = nn.Sequential(
        nn.Linear(5, 6), snn.RLeaky(beta=0.5, threshold=0.6, linear_features=6, **zero),
        nn.Linear(6, 3), snn.Leaky(output=True, **half, **zero),
    )  # fmt: skip
    for parameter in model.parameters():
        parameter.data *= 3.0 if parameter.ndim == 2 else 1.0
    frames = torch.poisson(torch.full((12, 2, 5), 1.0))
    nir.write(tmp_path / "net.nir", written.export_to_nir(model, frames[0], ignore_dims=[0]))
    for module in (model[1], model[3]):
        module.reset_mem()
    answered = torch.stack([model(frame)[0] for frame in frames]).detach()
    again, _ = nir_file.read(tmp_path / "net.nir")
    assert answered.any()
    assert torch.equal(again(frames)[0], answered)


@pytest.mark.slow
def test_a_run_answers_alike_in_all_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "ROUNDS", 3)
    out = tmp_path / "run"
    run.train(tiny_run.config(model="rsnn", export_check="nir"), out, page=False)
    summary = json.loads((out / "summary.json").read_text())
    compact = evaluation.evaluate(out / "model.safetensors")
    assert evaluation.evaluate(out)["operations"]["synops"] == pytest.approx(summary["synops"]["masked"])
    assert summary["synops"]["layers"]["fc1_rec.feedback"]["compact"] > 0
    for to in ("nir", "onnx", "safetensors"):
        written = exporting.export(out, to)["round_trip"]
        assert written["spike_flips"] == written["answers_differ"] == 0
        assert written["layers"].keys() == {"fc1_rec.neuron", "fc2_rec.neuron"}
        again = evaluation.evaluate(out / "export" / f"model.{to}")
        assert again["confusion"] == compact["confusion"]
        assert again["operations"] == pytest.approx(compact["operations"])
    assert exporting.export(out, "csr", bits=8)["weights_differ"] == 0
    flips = [evaluation.evaluate(out, bits=bits)["beside_floats"]["spike_flips"] for bits in (16, 4)]
    assert flips[0] <= flips[1]
