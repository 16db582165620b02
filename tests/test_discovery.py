"""Discovery: what is found, what is frozen and why, and that the model is left as it was."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from networks import ResidualSNN, conv_ann, conv_snn, lif
from spikingjelly.activation_based import functional, layer, neuron
from torch import Tensor, nn

from snnprune.network import Inflow, Slot, discover

FRAMES = torch.rand(3, 2, 2, 12, 12)


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
        (lambda x, _: x.flatten(0, 1).unflatten(0, (-1, 3)), 3, (), "mixes its channels"),
        (lambda x, _: x if x.sum((1, 2, 3))[0].item() > 0 else -x, 6, (), "control flow"),
        (lambda x, p: p[0](x), 6, (nn.GroupNorm(2, 6),), "group_norm"),
        (lambda x, p: p[0](x), 6, (nn.Conv2d(6, 6, 3, groups=2),), "grouped"),
        (lambda x, p: p[1](p[0](x)), 6, (nn.Conv2d(6, 6, 1), nn.ReLU()), None),
        (lambda x, p: F.relu(p[0](x)), 6, (nn.Conv2d(6, 6, 1),), None),
        (lambda x, _: x[:, :3], 3, (), "indexed"),
        (lambda x, p: p[0](x), 6, (nn.utils.parametrizations.weight_norm(nn.Conv2d(6, 6, 1)),), "own way"),
        (lambda x, _: x.transpose(1, 2), 12, (), "mean() reduces"),
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


def test_a_neuron_parameter_per_channel_is_a_slot_and_another_shape_freezes() -> None:
    class Threshold(nn.Module):
        def __init__(self, shape: tuple[int, ...]) -> None:
            super().__init__()
            self.threshold = nn.Parameter(torch.full(shape, 0.5))

        def forward(self, x: Tensor) -> Tensor:
            return (x >= self.threshold.sum()).to(x.dtype)

    def populations(shape: tuple[int, ...]) -> Any:
        net = nn.Sequential(nn.Conv2d(2, 5, 3), Threshold(shape), nn.Flatten(), nn.Linear(500, 4))
        return discover(net, torch.rand(2, 2, 12, 12), neurons=(Threshold,)).populations["0"]

    assert Slot("1", "threshold", 0, "neuron") in populations((5, 1, 1)).slots
    assert "parameter of shape (7,)" in populations((7,)).frozen
    assert populations((1,)).frozen is None


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
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
