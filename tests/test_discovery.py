"""Discovery: what is found, what is frozen and why, and that the model is left as it was."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from spikingjelly.activation_based import functional, layer, neuron, rnn
from torch import Tensor, nn

from snnprune.network import Inflow, Slot, discover
from support.hooks import hooks
from support.networks import ResidualSNN, conv_ann, conv_snn, lif

FRAMES = torch.rand(3, 2, 2, 12, 12, generator=torch.Generator().manual_seed(0))


def test_a_sequential_net_is_read_wholly() -> None:
    topology = discover(conv_snn(norm=True), FRAMES)
    assert [(p.name, p.size, p.kind) for p in topology.free()] == [
        ("0", 5, "channels"), ("4", 6, "channels"), ("9", 20, "neurons"),
    ]  # fmt: skip
    assert topology.populations["11"].frozen == "it is the output of the network"
    assert [p.neuron for p in topology.projections.values()] == ["2", "6", "10", "12"]
    assert topology.projections["9"].inflow == (Inflow("4", 0, 6, 9),)
    assert topology.projections["0"].inflow == ()
    assert set(topology.populations["4"].slots) == {
        Slot("4", "weight", 0, "out"), Slot("4", "bias", 0, "out"),
        Slot("5", "weight", 0, "norm"), Slot("5", "bias", 0, "norm"),
        Slot("5", "running_mean", 0, "norm"), Slot("5", "running_var", 0, "norm"),
        Slot("9", "weight", 1, "in", 0, 9),
    }  # fmt: skip
    assert topology.projections["0"].positions == 3 * 12 * 12  # time steps times output pixels


def test_single_step_and_ann_read_the_same() -> None:
    multi, single, ann = (
        discover(net, x)
        for net, x in ((conv_snn(), FRAMES), (conv_snn("s"), FRAMES[0]), (conv_ann(), FRAMES[0]))
    )
    sizes = [[p.size for p in t.free()] for t in (multi, single, ann)]
    assert sizes[0] == sizes[1] == sizes[2] == [5, 6, 20]


def test_a_residual_add_joins_populations() -> None:
    topology = discover(ResidualSNN(), torch.rand(2, 2, 2, 8, 8))
    stem = topology.populations["stem"]
    assert stem.producers == ["stem", "blocks.0.conv2", "blocks.1.conv2"]
    assert stem.frozen is None
    assert [p.name for p in topology.incoming("stem")] == stem.producers
    assert {p.name for p in topology.outgoing("stem")} == {"blocks.0.conv1", "blocks.1.conv1", "fc"}
    assert topology.projections["blocks.0.conv2"].neuron == "blocks.0.sn2"
    assert "blocks.0.conv2, blocks.1.conv2" in str(topology)


class Wrapped(nn.Module):
    """A stem, something in the middle, and a readout."""

    def __init__(self, middle: Any, width: int = 6, *parts: nn.Module) -> None:
        super().__init__()
        self.stem, self.act = nn.Conv2d(2, 6, 3, padding=1), nn.ReLU()
        self.parts = nn.ModuleList(parts)
        self.middle = middle
        self.out = nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.middle(self.act(self.stem(x)), self.parts).mean((-1, -2)))


@pytest.mark.parametrize(
    ("middle", "width", "parts", "reason"),
    [
        (lambda x, _: x.softmax(1), 6, (), "softmax"),
        (lambda x, _: x * torch.rand(6, 1, 1), 6, (), "unknown origin"),
        (lambda x, _: x.flatten(0, 1).unflatten(0, (-1, 4)), 4, (), "mixes its channels"),
        (lambda x, _: x if x.sum((1, 2, 3))[0].item() > 0 else -x, 6, (), "control flow"),
        (lambda x, p: p[0](x), 6, (nn.GroupNorm(2, 6),), "group_norm"),
        (lambda x, p: p[0](x), 6, (nn.Conv2d(6, 6, 3, groups=2),), "grouped"),
        (lambda x, p: p[1](p[0](x)), 6, (nn.Conv2d(6, 6, 1), nn.ReLU()), None),
        (lambda x, p: F.relu(p[0](x)), 6, (nn.Conv2d(6, 6, 1),), None),
        (lambda x, _: x[:, :3], 3, (), "indexed"),
        (lambda x, p: p[0](x), 6, (nn.utils.parametrizations.weight_norm(nn.Conv2d(6, 6, 1)),), "computed"),
        (lambda x, _: x.transpose(1, 2), 12, (), "mean() reduces"),
        (lambda x, p: p[0](x), 6, (nn.LayerNorm(12),), "layer_norm() mixes its channels"),
        (lambda x, p: p[0](x), 6, (nn.InstanceNorm2d(6, affine=True),), None),
        (lambda x, p: p[0](x), 6, (nn.utils.spectral_norm(nn.Conv2d(6, 6, 1)),), "computed"),
        (lambda x, _: torch.einsum("bchw,dc->bdhw", x, torch.eye(6)), 6, (), "einsum() beside a tensor of"),
        (lambda x, p: p[0](x.flatten(2).transpose(1, 2))[0].transpose(1, 2)[..., None], 5,
         (nn.GRU(6, 5, batch_first=True),), "wired to itself by the recurrent layer parts.0"),
        (lambda x, _: torch.empty_like(x).copy_(x), 6, (), "copy(), which is not understood"),
        (lambda x, _: torch.max(x, 0.5 * x), 6, (), None),
        (lambda x, _: x.std((-1, -2), True).unsqueeze(-1).unsqueeze(-1), 6, (), None),
        (lambda x, _: torch.stack([x, x], -1).mean(-1), 6, (), None),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_frozen_with_the_reason(
    middle: Any, width: int, parts: tuple[nn.Module, ...], reason: str | None
) -> None:
    stem = discover(Wrapped(middle, width, *parts), torch.rand(2, 2, 12, 12)).populations["stem"]
    if reason is None:
        assert stem.frozen is None
    else:
        assert stem.frozen is not None
        assert reason in stem.frozen


@pytest.mark.parametrize(
    ("middle", "name"),
    [
        (lambda x: 1 - x, "rsub"),
        (lambda x: x + 0.1, "add"),
        (lambda x: x.exp(), "exp"),
        (lambda x: (x == 0).float(), "eq"),
        (lambda x: torch.logical_not(x).float(), "logical_not"),
        (lambda x: x.clamp(min=0.1), "clamp"),
        (lambda x: F.pad(x, (1, 1), value=1.0), "pad"),
        (lambda x: (2 - x) - (1 - x), "rsub"),
        (lambda x: torch.where(x > 0, x, 3.0), "where"),
        (lambda x: x.view(x.shape).add_(1) * 0 + x, "add"),
        (lambda x: (1 - x).mean((-1, -2), keepdim=True), "rsub"),
        (lambda x: torch.heaviside(x, torch.ones(1)), "heaviside"),
        (lambda x: x + torch.zeros(1), "add"),
        (lambda x: x * (1 - x), None),
        (lambda x: torch.where(x > 0, x, 0.0), None),
        (lambda x: x * torch.sigmoid(x), None),
        (lambda x: x.clamp(-1, 1), None),
        (F.hardswish, None),
        (lambda x: x * torch.rand(2, 1, 12, 12), None),
        (lambda x: x / (x + 1), None),
        (lambda x: torch.zeros_like(x) + x, None),
        (lambda x: x * torch.ones_like(x), None),
    ],
)
def test_dead_units_have_to_stay_at_zero(middle: Any, name: str | None) -> None:
    stem = discover(Wrapped(lambda x, _: middle(x)), torch.rand(2, 2, 12, 12)).populations["stem"]
    reason = None if name is None else f"a silent unit does not stay at zero through {name}()"
    assert stem.frozen == reason


class Hidden(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return torch.from_numpy(x.numpy() * 2)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


@torch.jit.script
def scripted(x: Tensor) -> Tensor:
    return x.flip(1)


@torch.library.custom_op("snnprune_tests::rolled", mutates_args=())
def rolled(x: Tensor) -> Tensor:
    return x.roll(1, 1)


@torch.library.custom_op("snnprune_tests::rolled_into", mutates_args=("out",))
def rolled_into(x: Tensor, out: Tensor) -> None:
    out.copy_(x.roll(1, 1))


def in_a_buffer(x: Tensor, _: Any) -> Tensor:
    buffer = torch.zeros(2, 6, 12, 12)
    buffer[:, 1:] = x[:, :, :, :].roll(1, 1)[:, 1:]
    return buffer


def into_a_buffer(x: Tensor, _: Any) -> Tensor:
    buffer = torch.zeros(2, 6, 12, 12)
    rolled_into(x, buffer)
    return buffer


@pytest.mark.parametrize(
    "middle",
    [
        lambda x, _: Hidden.apply(x),
        lambda x, _: scripted(x),
        lambda x, _: rolled(x),
        in_a_buffer,
        into_a_buffer,
    ],
)
def test_no_way_around_discovery_leaves_a_population_free(middle: Any) -> None:
    assert discover(Wrapped(middle), torch.rand(2, 2, 12, 12)).populations["stem"].frozen is not None


def test_a_function_as_activation_freezes_what_feeds_it() -> None:
    model = Wrapped(lambda x, p: F.relu(p[0](x)), 6, nn.Conv2d(6, 6, 1))
    frozen = discover(model, torch.rand(2, 2, 12, 12)).populations["parts.0"].frozen
    assert frozen is not None
    assert "must be a module" in frozen


def test_concatenation_keeps_offsets() -> None:
    model = Wrapped(lambda x, p: torch.cat([x, p[1](p[0](x))], 1), 9, nn.Conv2d(6, 3, 1), nn.ReLU())
    topology = discover(model, torch.rand(2, 2, 12, 12))
    assert topology.projections["out"].inflow == (Inflow("stem", 0, 6, 1), Inflow("parts.0", 6, 3, 1))
    assert Slot("out", "weight", 1, "in", 6, 1) in topology.populations["parts.0"].slots


def test_a_module_shared_between_populations_is_frozen() -> None:
    shared = nn.Conv2d(6, 6, 1)
    model = Wrapped(lambda x, p: p[1](p[0](p[1](p[0](x)))), 6, shared, nn.ReLU())
    topology = discover(model, torch.rand(2, 2, 12, 12))
    assert topology.free() == []
    assert "shared" in str(topology.populations["parts.0"].frozen)


class Recurrent(nn.Module):
    """A hidden layer that reads itself one time step later."""

    def __init__(self, first: str) -> None:
        super().__init__()
        self.first = first
        self.fc, self.back, self.act, self.out = nn.Linear(3, 5), nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 2)
        self.h: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.first == "never":
            current = self.fc(x) if self.h is None else self.fc(x) + self.back(self.h)
            self.h = self.act(current)
            return self.out(self.h)
        h = torch.zeros(x.shape[1], 5)
        for step in x:
            h = self.act(self.fc(step) + self.back(h))
        return self.out(h)


@pytest.mark.parametrize(("first", "shape"), [("zeros", (3, 2, 3)), ("never", (2, 3))])
def test_a_population_wired_to_itself_owns_its_rows_and_its_columns(first: str, shape: Any) -> None:
    model = Recurrent(first)
    topology = discover(model, torch.rand(shape))
    assert [p.name for p in topology.free()] == ["fc"]
    assert topology.unreached == ()  # where there is no state at first, a second forward finds one
    assert topology.projections["back"].inflow[0].population == "fc"
    assert topology.projections["back"].starts == (0 if first == "zeros" else 1)
    slots = {(slot.key, slot.axis) for slot in topology.populations["fc"].slots}
    assert {("back.weight", 0), ("back.weight", 1), ("back.bias", 0)} < slots
    assert model.h is None


def test_recurrent_wrappers_freeze_what_feeds_them() -> None:
    class Own(rnn.SpikingLSTM):
        def forward(self, x: Tensor, states: Any = None) -> Any:
            return super().forward(x, states)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.lif = layer.Linear(3, 5, step_mode="m"), neuron.IFNode(step_mode="m")
            self.wrapper, self.out = Own(5, 5, 1), layer.Linear(5, 2, step_mode="m")

        def forward(self, x: Tensor) -> Tensor:
            y = self.wrapper(self.lif(self.fc(x)))
            return self.out(y[0] if isinstance(y, tuple) else y)

    topology = discover(Net(), torch.rand(3, 2, 3))
    assert topology.free() == []
    assert "to itself" in str(topology.populations["fc"].frozen)


def test_a_tensor_with_two_owners_is_frozen() -> None:
    tied = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU())
    tied[4].weight = tied[2].weight
    assert discover(nn.Sequential(*tied, nn.Linear(6, 2)), torch.rand(2, 4)).free() == []

    class Outside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.act, self.out = nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.act(self.fc(x))) + self.fc.weight.square().sum()

    frozen = discover(Outside(), torch.rand(2, 4)).populations["fc"].frozen
    assert frozen == "fc.weight is used outside of its layer as well"


def test_a_norm_shared_between_populations_is_frozen() -> None:
    shared = nn.BatchNorm1d(6)
    net = nn.Sequential(
        nn.Linear(4, 6), shared, nn.ReLU(), nn.Linear(6, 6), shared, nn.ReLU(), nn.Linear(6, 2)
    )
    topology = discover(net, torch.rand(2, 4))
    assert topology.free() == []
    assert "1 is shared between places" in str(topology.populations["0"].frozen)


def test_a_norm_of_a_users_own_is_asked_whether_it_is_silent() -> None:
    class Scaled(nn.BatchNorm2d):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * 0.5

    class Shifted(nn.BatchNorm2d):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + 0.5

    for kind, reason in ((Scaled, None), (Shifted, "1 norms in its own way (Shifted)")):
        net = nn.Sequential(nn.Conv2d(2, 5, 3), kind(5), nn.ReLU(), nn.Conv2d(5, 2, 1))
        assert discover(net, torch.rand(2, 2, 6, 6)).populations["0"].frozen == reason


def test_a_membrane_that_is_the_output_freezes_its_population() -> None:
    class Membrane(nn.Module):
        def forward(self, x: Tensor, mem: Tensor) -> tuple[Tensor, Tensor]:
            mem = 0.9 * mem + x
            return (mem > 1).float(), mem

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.act, self.fc2, self.lif = nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3), Membrane()

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            _, mem = self.lif(self.fc2(self.act(self.fc1(x))), torch.zeros(1))
            return {"logits": mem}

    topology = discover(Net(), torch.rand(2, 4), neurons=(Membrane,))
    assert [p.name for p in topology.free()] == ["fc1"]
    assert topology.populations["fc2"].frozen == "it is the output of the network"


@pytest.mark.parametrize("units", [3, 5])  # as many as time steps, or not
@pytest.mark.parametrize("node", [lambda: neuron.PSN(3), lambda: neuron.MaskedPSN(2, 3)])
def test_neurons_that_weigh_time_steps_share_their_weights(node: Any, units: int) -> None:
    net = nn.Sequential(layer.Linear(6, units), node(), layer.Linear(units, 2), lif())
    functional.set_step_mode(net, "m")
    population = discover(net, torch.rand(3, 2, 6)).populations["0"]
    assert population.frozen is None
    assert {slot.role for slot in population.slots} == {"out", "in"}


def test_layers_that_are_never_reached_are_named() -> None:
    net = conv_ann()
    net.add_module("spare", nn.Identity())
    net.spare.aside = nn.Linear(3, 3)
    topology = discover(net, FRAMES[0])
    assert topology.unreached == ("spare.aside",)
    assert "never reached by this forward: spare.aside" in str(topology)


def test_plif_has_a_shared_constant_and_stays_free() -> None:
    net = nn.Sequential(layer.Linear(6, 5), neuron.ParametricLIFNode(), layer.Linear(5, 2), lif())
    functional.set_step_mode(net, "m")
    assert [p.name for p in discover(net, torch.rand(3, 2, 6)).free()] == ["0"]


def test_the_model_is_left_as_it_was() -> None:
    model = conv_snn(norm=True).train()
    model[5].eval()
    model(FRAMES)
    states = [m.v for m in model.modules() if isinstance(m, neuron.LIFNode)]
    tensors = copy.deepcopy(model.state_dict())
    generator = torch.get_rng_state()
    discover(model, FRAMES)
    after = [m.v for m in model.modules() if isinstance(m, neuron.LIFNode)]
    assert all(a is b for a, b in zip(states, after, strict=True))
    assert all(torch.equal(tensors[k], v) for k, v in model.state_dict().items())
    assert torch.equal(generator, torch.get_rng_state())
    assert model[0].training
    assert not model[5].training
    assert not hooks(model)


class Unnamed(nn.Module):
    """A neuron whose class nobody named."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("threshold", torch.tensor(0.5))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.threshold > 0).to(x.dtype)


@pytest.mark.parametrize("neurons", [(), (Unnamed,)])
def test_a_class_in_a_neurons_place_is_named_in_the_reason(neurons: tuple[type[nn.Module], ...]) -> None:
    net = nn.Sequential(nn.Linear(4, 6), Unnamed(), nn.Linear(6, 2))
    topology = discover(net, torch.rand(2, 4), neurons=neurons)
    hint = "; if 1 (Unnamed) is a neuron, pass neurons=(Unnamed,)"
    assert [p.frozen is None for p in topology.populations.values()] == [bool(neurons), False]
    assert (hint in str(topology)) == (not neurons)


def test_a_readout_of_ones_own_is_not_taken_for_a_neuron() -> None:
    class Mean(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean(0)

    topology = discover(nn.Sequential(conv_snn(), Mean()), FRAMES)
    assert topology.free()
    assert "neurons=" not in str(topology)
