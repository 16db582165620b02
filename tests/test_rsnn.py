"""The recurrent network for speech: its neurons by hand, its populations, its output."""

from __future__ import annotations

import math
from itertools import product
from typing import Any, get_args, get_type_hints

import pytest
import torch
from spikingjelly.activation_based import functional, neuron
from torch import Tensor, nn

from snnprune.common.errors import UserError
from snnprune.config.schema import ModelConfig, TrainConfig
from snnprune.export.comparison import RoundTrip
from snnprune.network import discover, firing
from snnprune.nn import models
from snnprune.nn.fused.recurrent import Recurrent as FusedRecurrent
from snnprune.nn.models.adaptive import AdaptiveLIFNode, MultiGaussian
from snnprune.nn.models.decays import BOUNDS, bounded, decay, heterogeneous
from snnprune.nn.models.heterogeneous import HeterogeneousLIFNode
from snnprune.nn.models.integrator import LeakyIntegrator
from snnprune.nn.recurrent import Recurrent
from snnprune.nn.scores import OVER_TIME, scores_of

KINDS = [
    ModelConfig("rsnn", hidden=24, neuron=n, tau=t, readout=r)  # type: ignore[arg-type]  # words of a product
    for n, t, r in product(("lif", "alif"), ("shared", "heterogeneous"), ("leaky", "spikes"))
]


def sound(steps: int = 100, samples: int = 4, channels: int = 140) -> Tensor:
    """Noise with as many counts as SHD pooled by five: a quarter of the cells, one to three each."""
    dice = torch.Generator().manual_seed(0)
    shape = (steps, samples, 1, 1, channels)
    cells = torch.rand(shape, generator=dice) < 0.25
    return cells * torch.randint(1, 4, shape, generator=dice).float()


def built(config: ModelConfig) -> models.notation.Network:
    torch.manual_seed(0)
    return models.build(config, (1, 1, 140), 20)


def name(config: ModelConfig) -> str:
    return f"{config.neuron}-{config.tau}-{config.readout}"


def test_three_steps_of_adaptive_neurons_by_hand() -> None:
    """Two units: decays 1/2 and 1/2, adaptations 1/2 and 0; currents 0.2, 0, 2 and 0, 4, 0."""
    node = AdaptiveLIFNode(2, step_mode="m").double()
    node.decay.data = torch.tensor([0.5, 0.5], dtype=torch.float64)
    node.adaptation.data = torch.tensor([0.5, 0.5], dtype=torch.float64)
    x = torch.tensor([[[0.2, 0.0]], [[0.0, 4.0]], [[2.0, 0.0]]], dtype=torch.float64)
    spikes, potentials, adaptations = [], [], []
    node.step_mode = "s"
    for step in x:
        spikes.append(node(step).flatten().tolist())
        potentials.append(node.v.flatten().tolist())
        adaptations.append(node.b.flatten().tolist())
    # Unit 0, step 1: v = 0.1 >= 0.01 spikes. Step 2: b = 0.5, B = 0.91, v = 0.05 - 0.91. Step 3: b = 0.25,
    # B = 0.46, v = -0.43 + 1 = 0.57 spikes. Unit 1: at rest, then v = 2, then B = 0.91, v = 1 - 0.91.
    assert spikes == [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]
    for found, wanted in zip(potentials, [[0.1, 0.0], [-0.86, 2.0], [0.57, 0.09]], strict=True):
        assert found == pytest.approx(wanted)
    for found, wanted in zip(adaptations, [[0.0, 0.0], [0.5, 0.0], [0.25, 0.5]], strict=True):
        assert found == pytest.approx(wanted)


def test_the_derivative_of_an_adaptive_spike() -> None:
    def normal(u: float, mean: float, deviation: float) -> float:
        return math.exp(-0.5 * ((u - mean) / deviation) ** 2) / (deviation * math.sqrt(2 * math.pi))

    at = (-2.0, -0.3, 0.0, 1.0)
    u = torch.tensor(at, dtype=torch.float64, requires_grad=True)
    MultiGaussian()(u).sum().backward()
    wanted = [0.5 * (1.15 * normal(a, 0, 0.5) - 0.15 * (normal(a, 0.5, 3) + normal(a, -0.5, 3))) for a in at]
    assert u.grad is not None
    assert u.grad.tolist() == pytest.approx(wanted)


def test_neurons_with_equal_time_constants_are_spikingjellys() -> None:
    x = torch.rand(20, 3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 4
    node = HeterogeneousLIFNode(5, step_mode="m").double()
    node.decay.data.fill_(0.6)
    plain = neuron.LIFNode(tau=2.5, surrogate_function=node.surrogate_function, step_mode="m")
    mine, its = x.clone().requires_grad_(), x.clone().requires_grad_()
    y, z = node(mine), plain(its)
    assert torch.equal(y, z)
    assert 0.05 < float(y.detach().mean()) < 0.6
    weight = torch.rand(y.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (y * weight).sum().backward()
    (z * weight).sum().backward()
    assert mine.grad is not None
    assert its.grad is not None
    torch.testing.assert_close(mine.grad, its.grad, rtol=1e-9, atol=1e-12)
    assert node.decay.grad is not None
    assert bool(node.decay.grad.any())


def test_a_leaky_readout_by_hand_in_both_step_modes() -> None:
    x = torch.tensor([[[8.0]], [[0.0]], [[4.0]]])
    readout = LeakyIntegrator(0.5)
    assert readout(x).flatten().tolist() == [4.0, 2.0, 3.0]
    functional.reset_net(readout)
    readout.step_mode = "s"
    assert [float(readout(step)) for step in x] == [4.0, 2.0, 3.0]
    with pytest.raises(ValueError, match="at least 0 and below 1"):
        LeakyIntegrator(1.0)


def test_time_constants_are_drawn_with_the_mean_and_bounds_that_are_asked_for() -> None:
    torch.manual_seed(0)
    drawn = heterogeneous(50.0, 20_000).detach()
    assert BOUNDS[0] <= float(drawn.min()) < float(drawn.max()) <= BOUNDS[1]
    assert float((-10 / drawn.log()).mean()) == pytest.approx(50, rel=0.02)
    assert decay(20.0) == pytest.approx(math.exp(-0.5))
    assert bounded(0.1) == 0.1
    wild = bounded(torch.tensor([-3.0, 0.5, 7.0]))
    assert isinstance(wild, Tensor)
    assert wild.tolist() == pytest.approx([math.exp(-1), 0.5, 0.995])


@pytest.mark.parametrize("config", KINDS, ids=name)
def test_every_layer_fires_and_a_silent_input_leaves_all_silent(config: ModelConfig) -> None:
    model = built(config)
    found = firing.check(model, sound())
    layers = ["fc1_rec.neuron", "fc2_rec.neuron"] + ["out_lif"] * (config.readout == "spikes")
    assert [one.layer for one in found] == layers
    assert all(0.02 < one.rate < 0.3 for one in found), found
    for recurrent in ("fc1_rec", "fc2_rec"):
        assert not model.get_submodule(recurrent)(torch.zeros(50, 2, 24)).any()


@pytest.mark.parametrize("config", KINDS, ids=name)
def test_populations_own_their_time_constants_and_the_readout_is_the_output(config: ModelConfig) -> None:
    topology = discover(built(config), sound(3, 2))
    assert [(p.name, p.size) for p in topology.free()] == [("fc1", 24), ("fc2", 24)]
    assert topology.populations["out"].frozen == "it is the output of the network"
    own = {s.tensor for s in topology.populations["fc1"].slots if s.role == "neuron"}
    shared = config.tau == "shared"
    assert own == (set() if shared else {"decay"} | ({"adaptation"} if config.neuron == "alif" else set()))


@pytest.mark.parametrize("config", KINDS, ids=name)
def test_single_steps_are_all_steps(config: ModelConfig) -> None:
    model, x = built(config).double(), sound(12, 2).double()
    with torch.no_grad():
        whole = model(x)
        functional.reset_net(model)
        functional.set_step_mode(model, "s")
        parts = torch.stack([model(step) for step in x])
    torch.testing.assert_close(whole, parts, rtol=1e-12, atol=1e-12)
    assert whole.shape == (12, 2, 20)


def test_the_loss_fits_the_readout() -> None:
    assert built(ModelConfig("rsnn", hidden=4)).loss == "cross-entropy"
    assert built(ModelConfig("rsnn", hidden=4, readout="spikes")).loss == "mse"


def test_default_sizes_and_dropout() -> None:
    model = models.build(ModelConfig("rsnn", dropout=0.2), (1, 1, 700), 20)
    assert [name for name, _ in model.named_children()] == [
        "flatten", "fc1", "fc1_rec", "fc1_dropout", "fc2", "fc2_rec", "fc2_dropout", "out", "out_li",
    ]  # fmt: skip
    assert tuple(model.get_parameter("fc1.weight").shape) == (256, 700)
    assert tuple(model.get_parameter("fc2_rec.feedback.weight").shape) == (256, 256)


def test_scores_over_time_by_hand() -> None:
    outputs = torch.tensor([[[0.0, 4.0]], [[3.0, 0.0]], [[3.0, -1.0]]])
    assert scores_of(outputs, "mean").tolist() == [[2.0, 1.0]]
    assert scores_of(outputs, "max").tolist() == [[3.0, 4.0]]
    assert scores_of(outputs, "last").tolist() == [[3.0, -1.0]]
    assert set(OVER_TIME) == set(get_args(get_type_hints(TrainConfig)["over_time"]))
    both = RoundTrip("max")
    both.add((outputs, {}), (outputs.flip(2), {}))
    assert both.answers == 1


@pytest.mark.parametrize(
    ("neurons", "size", "said"),
    [
        (nn.ReLU(), 3, "neuron must be a layer of neurons with a step mode, and is a ReLU: give one"),
        (neuron.IFNode, 3, "with a step mode, and is the class IFNode: give one"),
        (nn.Sequential(neuron.IFNode()), 3, "with a step mode, and is a Sequential: give one"),
        (
            neuron.IFNode(),
            nn.Linear(3, 3),
            "size must be .* a whole number above 0, and is a Linear: the layer",
        ),
        (neuron.IFNode(), 0, "size must be .*, and is 0: "),
        (neuron.IFNode(), 2.5, "size must be .*, and is 2.5: "),
        (neuron.IFNode(), True, "size must be .*, and is True: "),
    ],
)
def test_a_recurrent_layer_says_what_it_is_made_of(neurons: Any, size: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        Recurrent(neurons, size)


@pytest.mark.parametrize("kind", [Recurrent, FusedRecurrent])
@pytest.mark.parametrize(
    ("mode", "shape", "wanted"),
    [
        ("m", (4, 3), r"\[T, B, 3\]"),
        ("m", (4, 2, 5), r"\[T, B, 3\]"),
        ("s", (4, 2, 3), r"\[B, 3\]"),
        ("s", (2, 5), r"\[B, 3\]"),
    ],
)
def test_a_recurrent_layer_says_which_currents_it_takes(
    kind: Any, mode: str, shape: tuple[int, ...], wanted: str
) -> None:
    """Currents [B, 3] were once read as those of B time steps without samples."""
    layer = kind(neuron.IFNode(), 3, step_mode=mode)
    with pytest.raises(UserError, match=f'expects currents {wanted} in step mode "{mode}", and got '):
        layer(torch.rand(shape))
