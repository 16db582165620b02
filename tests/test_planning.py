"""A plan computes what its network does: every answer and every spike, in floats and in whole numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import nn

import snnprune
from snnprune.common.errors import UserError
from snnprune.config.schema import ModelConfig
from snnprune.engine.plan import Convolution, Flatten, Linear, Neurons, Norm, Pool, Source, Sum
from snnprune.export.comparison import spiking_run
from snnprune.export.planning import of_grid, plan
from snnprune.export.quantisation import quantise
from snnprune.nn.models import build
from snnprune.nn.models.adaptive import AdaptiveLIFNode
from snnprune.nn.models.heterogeneous import HeterogeneousLIFNode
from snnprune.nn.models.integrator import LeakyIntegrator
from snnprune.nn.recurrent import Recurrent
from support import plain_engine
from support.families import FAMILIES
from support.networks import conv_snn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import Tensor

    from snnprune.engine.plan import Plan

PLANNED = (
    *("conv-snn", "mlp-snn", "vgg-snn", "residual", "four layers", "sew_resnet18 ADD", "spiking_resnet18"),
    *("spiking_vgg11_bn", "NMNISTNet", "SeqToANNContainer", "depthwise", "Conv1d, tdBN, PLIF", "recurrent"),
    *("LinearRecurrentContainer", "ElementWiseRecurrentContainer"),
)
"""Families that a plan can hold, in multi-step mode."""

SLOW = {"spiking_vgg11_bn", "spiking_resnet18", "NMNISTNet", "vgg-snn"}
"""Wide networks of a kind that is in the daily suite."""

WHOLE = ("conv-snn", "vgg-snn", "residual", "sew_resnet18 ADD", "NMNISTNet", "depthwise", "recurrent")
"""Families that can be put on a grid, too."""

MAPS = torch.poisson(torch.full((5, 2, 2, 7, 5), 0.6, dtype=torch.float64), torch.Generator().manual_seed(0))
"""Frames [T, B, C, H, W]."""


def slow(names: Iterable[str]) -> list[Any]:
    return [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in names]


def run(made: Plan, frames: Tensor) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    return plain_engine.answers(made, frames.double().numpy().reshape(*frames.shape[:2], *made.shape))


@torch.no_grad()
def agree(made: Plan, model: nn.Module, frames: Tensor, names: Iterable[str] | None = None) -> None:
    """Hold a plan to its network: outputs to 1e-12, whole numbers exactly, and every spike of every layer."""
    wanted, spikes = spiking_run(model, names)(frames)
    outputs, found = run(made, frames)
    over_time = {"mean": outputs.mean(0), "max": outputs.max(0), "last": outputs[-1]}
    scores = outputs if wanted.ndim == 3 else over_time[made.over_time]
    assert np.abs(scores - wanted.numpy()).max() <= (1e-12 if made.bits is None else 0)
    assert np.abs(scores).max() > 0
    for name, fired in spikes.items():
        assert np.array_equal(found[name].reshape(fired.shape), fired.numpy()), name
    assert any(fired.any() and not fired.all() for fired in spikes.values())


@pytest.mark.parametrize("name", slow(PLANNED))
def test_every_spike_of_every_family(name: str) -> None:
    model = FAMILIES[name].network("m").double().eval()
    frames = FAMILIES[name].example("m", batch=1).double()
    made = plan(model, frames)
    assert made.dtype == np.float64
    agree(made, model, frames)


@pytest.mark.parametrize("name", slow(WHOLE))
def test_whole_numbers_are_those_of_the_grid(name: str) -> None:
    family, bits = FAMILIES[name], 8 if WHOLE.index(name) % 2 else 4
    frames = family.example("m", batch=1)
    grid = quantise(family.network("m").eval(), frames, bits)
    agree(of_grid(grid), grid.model, frames, grid.neurons)


@pytest.mark.parametrize("name", ["SpikingJelly's networks", "AND", "IAND", "attention", "time"])
def test_what_a_plan_cannot_hold_is_refused_by_name(name: str) -> None:
    families, told = {
        "SpikingJelly's networks": (("ms_resnet18", "Spikformer"), "cannot be followed layer by layer"),
        "AND": (("sew_resnet18 AND",), "'mul' is the operation 'mul', and in an event-driven network"),
        "IAND": (("sew_resnet18 IAND",), "'sub' is the operation 'sub', and in an event-driven network"),
        "attention": (("attention",), "the forward of Transformer cannot be followed"),
        "time": (("a loop over time", "recurrent by hand", "snntorch's way"), "cannot be followed"),
    }[name]
    for family in families:
        with pytest.raises(UserError, match=told):
            plan(FAMILIES[family].newborn("m").eval(), FAMILIES[family].example("m", batch=1))


# --- neurons


NEURONS: dict[str, Callable[[], nn.Module]] = {
    f"{kind} {reset} {decay}": made
    for reset in (0.0, -0.25, None)
    for decay in (True, False)
    for kind, made in {
        "LIF": lambda reset=reset, decay=decay: neuron.LIFNode(
            1.7, decay, v_threshold=0.5, v_reset=reset, step_mode="m"
        ),
        "PLIF": lambda reset=reset, decay=decay: neuron.ParametricLIFNode(
            2.3, decay, v_threshold=0.5, v_reset=reset, step_mode="m"
        ),
        "IF": lambda reset=reset: neuron.IFNode(v_threshold=0.9, v_reset=reset, step_mode="m"),
    }.items()
    if kind != "IF" or decay
}


@pytest.mark.parametrize("kind", NEURONS)
def test_neurons_fire_as_spikingjellys(kind: str) -> None:
    torch.manual_seed(3)
    model = nn.Sequential(
        layer.Conv2d(2, 4, 3, stride=2, step_mode="m"), NEURONS[kind](), layer.Flatten(step_mode="m"),
        layer.Linear(24, 3, step_mode="m"), NEURONS[kind](),
    ).double().eval()  # fmt: skip
    for parameter in model.parameters():
        if parameter.ndim > 0:  # not the time constant of PLIF
            parameter.data = parameter.data.abs() if parameter.ndim == 1 else 3.0 * parameter.data + 0.1
    agree(plan(model, MAPS), model, MAPS)


@pytest.mark.parametrize(
    ("neurons", "tau", "readout"),
    [
        ("lif", "shared", "leaky"),
        ("lif", "heterogeneous", "leaky"),
        ("alif", "shared", "spikes"),
        ("alif", "heterogeneous", "leaky"),
    ],
)
def test_speech_networks_fire_alike(neurons: str, tau: str, readout: str) -> None:
    torch.manual_seed(0)
    config = ModelConfig("rsnn", hidden=9, neuron=neurons, tau=tau, readout=readout)
    model = build(config, (2, 1, 6), 3).double().eval()
    for parameter in model.parameters():
        parameter.data *= 2.0 if parameter.ndim == 2 else 1.0
    frames = torch.poisson(
        torch.full((12, 2, 2, 1, 6), 0.9, dtype=torch.float64), torch.Generator().manual_seed(1)
    )
    made = plan(model, frames)
    agree(made, model, frames)
    if neurons == "lif":
        grid = quantise(model, frames, 8)
        agree(of_grid(grid), grid.model, frames, grid.neurons)


def test_accelerated_networks_have_the_same_plan() -> None:
    model = conv_snn(norm=True).double().eval()
    frames = torch.rand(4, 2, 2, 12, 12, dtype=torch.float64) * 2
    fast = snnprune.accelerate(conv_snn(norm=True).double().eval())
    fast.load_state_dict(model.state_dict())
    agree(plan(fast, frames), model, frames)


def test_constants_are_those_of_the_network() -> None:
    torch.manual_seed(0)
    rows = torch.rand(3, 1, 4)
    heterogeneous, adaptive = HeterogeneousLIFNode(2, step_mode="m"), AdaptiveLIFNode(step_mode="m")
    model = nn.Sequential(nn.Linear(4, 2), heterogeneous, nn.Linear(2, 2), adaptive, LeakyIntegrator(0.25))
    _, first, _, second, last = plan(model, rows).nodes
    assert first.leak.dtype == np.float32
    assert np.array_equal(first.leak, heterogeneous.decay.detach().numpy())
    assert (second.leak.dtype, float(second.leak[0]), second.rise) == (np.float64, adaptive.decay, 1.8)
    assert (last.leak.dtype, last.leak.tolist()) == (np.float64, [0.25])
    double = plan(model, rows, dtype="float64").nodes[0].weights
    assert double.dtype == np.float64
    assert np.array_equal(double, model[0].weight.detach().double().numpy())


# --- layers


POOLS: dict[str, Callable[[], nn.Module]] = {
    "average": lambda: layer.AvgPool2d(2),
    "average, ceil": lambda: layer.AvgPool2d(2, ceil_mode=True),
    "average, padded": lambda: layer.AvgPool2d(3, 2, 1),
    "average, padded and not counted": lambda: layer.AvgPool2d((3, 2), 2, 1, count_include_pad=False),
    "average, padded and ceil": lambda: layer.AvgPool2d(3, 3, 1, ceil_mode=True),
    "average, overridden": lambda: layer.AvgPool2d(3, (2, 1), divisor_override=4),
    "maximum": lambda: layer.MaxPool2d(2),
    "maximum, padded and ceil": lambda: layer.MaxPool2d(3, 2, 1, ceil_mode=True),
    "adaptive": lambda: layer.AdaptiveAvgPool2d((3, 2)),
    "adaptive, whole": lambda: layer.AdaptiveAvgPool2d(1),
    "adaptive, as it is": lambda: layer.AdaptiveAvgPool2d((None, 4)),
    "adaptive maximum": lambda: layer.SeqToANNContainer(nn.AdaptiveMaxPool2d((2, 3))),
}


@torch.no_grad()
@pytest.mark.parametrize("kind", POOLS)
def test_pools_are_torchs(kind: str) -> None:
    pool = functional.set_step_mode
    model = nn.Sequential(POOLS[kind](), layer.Flatten(), neuron.IFNode())
    pool(model, "m")
    frames = torch.rand(2, 2, 3, 7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) - 0.5
    made = plan(model, frames)
    assert isinstance(made.nodes[0], Pool)
    wanted = model[0](frames)
    assert np.abs(run(made, frames)[1][made.nodes[0].name] - wanted.numpy()).max() < 1e-15


@torch.no_grad()
@pytest.mark.parametrize(
    "pool", [layer.AvgPool1d(3, 2, 1), layer.MaxPool1d(2, ceil_mode=True), layer.AdaptiveAvgPool1d(4)]
)
def test_pools_along_a_sequence_are_torchs(pool: nn.Module) -> None:
    model = nn.Sequential(pool, layer.Flatten(), neuron.IFNode())
    functional.set_step_mode(model, "m")
    frames = torch.rand(2, 2, 3, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    made = plan(model, frames)
    assert made.shape == (3, 1, 9)
    found = run(made, frames)[1]["0"]
    assert np.abs(found[:, :, :, 0] - model[0](frames).numpy()).max() < 1e-15


@torch.no_grad()
@pytest.mark.parametrize(
    "conv",
    [
        layer.Conv2d(2, 4, (3, 2), (2, 1), (1, 0), step_mode="m"),
        layer.Conv2d(2, 4, 3, padding="same", step_mode="m"),
        layer.Conv2d(2, 4, 3, padding="valid", dilation=(2, 1), groups=2, bias=False, step_mode="m"),
    ],
)
def test_convolutions_are_torchs(conv: nn.Module) -> None:
    model = nn.Sequential(conv, layer.Flatten(step_mode="m"), neuron.IFNode(step_mode="m")).double()
    made = plan(model, MAPS)
    assert np.abs(run(made, MAPS)[1]["0"] - model[0](MAPS).numpy()).max() < 1e-12


class ByHand(nn.Module):
    """Time is folded into the samples by hand, a layer is called twice, and spikes are added."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2)
        self.one, self.two = neuron.IFNode(v_threshold=0.3, step_mode="m"), neuron.IFNode(step_mode="m")
        self.pool, self.out = nn.AdaptiveAvgPool2d(2), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        steps, samples = x.shape[0], x.shape[1]
        y = self.bn(self.conv(x.flatten(0, 1))).view(steps, samples, x.shape[2], 7, 5)
        y = self.one(y)
        z = self.two(self.conv(y.reshape(steps * samples, 2, 7, 5)).unflatten(0, (steps, samples)))
        z = torch.add(z, y)
        return self.out(self.pool(z.flatten(0, 1)).reshape(steps, samples, -1)).mean(0)


def test_time_may_be_folded_by_hand() -> None:
    torch.manual_seed(1)
    model = ByHand().double().eval()
    model.bn.running_mean.uniform_(-0.2, 0.2)
    model.bn.running_var.uniform_(0.5, 1.5)
    made = plan(model, MAPS, over_time="max")
    kinds = [type(node) for node in made.nodes]
    assert kinds == [Convolution, Norm, Neurons, Convolution, Neurons, Sum, Pool, Flatten, Linear]
    assert [node.name for node in made.nodes][3] == "conv (2)"
    assert made.over_time == "mean", "the network says so itself"
    agree(made, model, MAPS)


@pytest.mark.parametrize(("end", "chosen"), [("last", "last"), ("max", "max"), ("none", "last")])
def test_how_outputs_become_scores(end: str, chosen: str) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.lif = nn.Linear(4, 3), neuron.LIFNode(step_mode="m")

        def forward(self, x: Tensor) -> Tensor:
            y = self.lif(self.fc(x))
            return {"last": lambda: y[-1], "max": lambda: y.amax(dim=0), "none": lambda: y}[end]()

    assert plan(Net(), torch.rand(3, 2, 4), over_time="last").over_time == chosen


def test_recurrent_layers_read_what_was_a_step_before() -> None:
    model = nn.Sequential(nn.Linear(4, 3), Recurrent(neuron.IFNode(), 3))
    made = plan(model, torch.rand(3, 1, 4))
    assert [(node.name, node.sources) for node in made.nodes] == [
        ("0", (Source(-1),)),
        ("1.feedback", (Source(3, 1),)),
        ("1", (Source(0), Source(1))),
        ("1.neuron", (Source(2),)),
    ]


# --- refusals


class Added(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.a, self.la = nn.Linear(4, 6), neuron.IFNode(step_mode="m")
        self.b, self.lb = nn.Linear(6, 6), neuron.IFNode(step_mode="m")
        self.gain = nn.Parameter(torch.ones(6))

    def forward(self, x: Tensor) -> Any:
        y = self.la(self.a(x))
        if self.kind.startswith("in place"):
            z = y.reshape(y.shape)
            if self.kind == "in place":
                y += self.lb(self.b(y))
            else:
                y.add_(self.lb(self.b(y)))
            return z + y
        ends: dict[str, Callable[[], Any]] = {
            "a constant": lambda: y + 0.5,
            "a parameter": lambda: y * self.gain,
            "neurons twice": lambda: self.la(self.b(y)),
            "time before samples": lambda: y.transpose(0, 1),
            "order": lambda: y.reshape(y.shape[1], y.shape[0], 6),
            "two outputs": lambda: (y, x),
            "a sum over time": lambda: y.sum(0),
            "after the answer": lambda: y.mean(0) + 1,
            "broadcast": lambda: y + y.mean(0),
            "beside": lambda: torch.cat([y, y], -1),
        }
        return ends[self.kind]()


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("in place", "Added does more in its forward than its calls show, and its answer would not be"),
        ("in place, as a method", "'add' reads a value to which something was added in place before"),
        ("a constant", "is the operation 'addition of something else than two outputs of layers"),
        ("a parameter", "'gain' is a tensor that the network computes with"),
        ("neurons twice", "layer 'la' stands in several places"),
        ("time before samples", "'transpose' is the operation 'transpose'"),
        ("order", "'reshape' changes more than the shape of a sample at one time step"),
        ("two outputs", "Added does not return one tensor"),
        ("a sum over time", "'sum_1' is the operation 'sum'"),
        ("after the answer", "is the operation 'addition of something else"),
        ("broadcast", "is the operation 'addition of something else"),
        ("beside", "'cat' is the operation 'cat'"),
    ],
)
def test_operations_without_a_node_are_refused(kind: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        plan(Added(kind), torch.rand(3, 2, 4))


class Own(neuron.LIFNode):
    """A subclass may compute otherwise."""


def analogue() -> nn.Module:
    return neuron.LIFNode(surrogate_function=surrogate.ATan(spiking=False), step_mode="m")


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (nn.Sequential(nn.Linear(4, 3), nn.ReLU()), "layer '1' is a ReLU, which hands on numbers"),
        (nn.Sequential(nn.Linear(4, 3), nn.Identity()), "Sequential has no neurons that spike"),
        (nn.Sequential(nn.Linear(4, 3), neuron.KLIFNode(step_mode="m")), "layer '1' is a KLIFNode, and an"),
        (nn.Sequential(nn.Linear(4, 3), Own(step_mode="m")), "layer '1' is an Own, and an event-driven"),
        (nn.Sequential(nn.Linear(4, 3), analogue()), "layer '1' is a LIFNode that hands on a smooth"),
        (nn.Sequential(nn.Linear(4, 3), neuron.IFNode()), "layer '1' is an IFNode in step mode 's'"),
        (nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3), neuron.IFNode(step_mode="m")), "'1' is a LayerNorm"),
        (
            nn.Sequential(nn.Linear(4, 3), neuron.IFNode(v_threshold=float("inf"), step_mode="m")),
            "layer '1' has v_threshold = inf",
        ),
        (
            nn.Sequential(nn.Linear(4, 3), HeterogeneousLIFNode(4, step_mode="m")),
            "layer '1' has 4 time constants, which do not stand for the units",
        ),
        (
            nn.Sequential(
                nn.Linear(4, 3),
                layer.ElementWiseRecurrentContainer(neuron.IFNode(), torch.mul, step_mode="m"),
            ),
            "recurrent layer '1' joins its input and its last spikes in another way",
        ),
        (
            nn.Sequential(nn.Linear(4, 3), layer.LinearRecurrentContainer(nn.ReLU(), 3, 3, step_mode="m")),
            "layer '1.sub_module' is a ReLU, which hands on numbers",
        ),
    ],
)
def test_layers_without_a_node_are_refused(model: nn.Module, told: str) -> None:
    with pytest.raises(UserError, match=told):
        plan(model, torch.rand(3, 2, 4))


@pytest.mark.parametrize(
    ("first", "told"),
    [
        (nn.Conv2d(2, 3, 3), r"layer '0' is a Conv2d in step mode 's', and reads \[T, B, \.\.\.\] with"),
        (layer.Conv2d(2, 3, 3, padding_mode="circular", step_mode="m"), "layer '0' pads with 'circular'"),
        (layer.Conv2d(2, 3, 2, padding="same", step_mode="m"), "layer '0' pads one side more than the other"),
        (layer.Conv2d(2, 3, 9, step_mode="m"), r"a Conv2d cannot read samples of shape \(2, 7, 5\)"),
        (layer.MaxPool2d(2, dilation=2, step_mode="m"), "layer '0' compares places with gaps"),
        (layer.ConvTranspose2d(2, 3, 2, step_mode="m"), "layer '0' is a ConvTranspose2d, which an event-dri"),
        (layer.Linear(5, 3, step_mode="m"), "layer '0' is a Linear that reads samples of shape"),
        (
            layer.WSConv2d(2, 3, 3, step_mode="m"),
            "the weight of 0 is computed|layer '0' is a WSConv2d, which",
        ),
    ],
)
def test_layers_of_maps_without_a_node_are_refused(first: nn.Module, told: str) -> None:
    model = nn.Sequential(first, layer.Flatten(step_mode="m"), neuron.IFNode(step_mode="m")).double()
    with pytest.raises(UserError, match=told):
        plan(model, MAPS)


def test_networks_that_are_no_spiking_ones_are_refused() -> None:
    ann = build(ModelConfig("mlp-ann", hidden=4), (1, 2, 2), 3)
    with pytest.raises(UserError, match="Network has no time axis and no neurons that spike"):
        plan(ann, torch.rand(2, 1, 2, 2))
    model = nn.Sequential(nn.Linear(4, 3), neuron.IFNode(step_mode="m"))
    with pytest.raises(UserError, match="computes in float32 or float64, and this one has float16"):
        plan(model, torch.rand(3, 2, 4), dtype="float16")
    with pytest.raises(UserError, match=r"this one has torch\.bfloat16"):
        plan(model.bfloat16(), torch.rand(3, 2, 4))
    with pytest.raises(UserError, match="expected encoded frames"):
        plan(model.float(), torch.rand(3, 2))
    model[0].weight.data[0, 0] = float("nan")
    with pytest.raises(UserError, match="layer '0' has a weight, bias or statistic that is no finite number"):
        plan(model, torch.rand(3, 2, 4))
