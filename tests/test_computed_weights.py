"""Layers whose weight is computed: they are kept whole with the reason, and everything else is as ever."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

import snnprune
from snnprune import Pruner, UserError, discover
from snnprune.export.graph import folded
from snnprune.network.cost import rates
from snnprune.network.synops import SpikeCounter
from snnprune.network.weights import apply_weight, synapses_of, weight_of
from snnprune.pruning import Decision, Method

if TYPE_CHECKING:
    from collections.abc import Callable

    from snnprune.pruning.view import View


class Halved(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight / 2


def as_plain_tensor(layer: nn.Module) -> None:
    made = layer._parameters.pop("weight").detach().clone()
    layer.weight = made


def as_buffer(layer: nn.Module) -> None:
    made = layer._parameters.pop("weight").detach().clone()
    layer.register_buffer("weight", made)


class Standardised(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight - self.weight.mean(), self.bias)


WAYS: dict[str, Callable[[Any], Any]] = {
    "weight_norm": parametrizations.weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "old weight_norm": nn.utils.weight_norm,
    "old spectral_norm": nn.utils.spectral_norm,
    "prune of the weight": lambda layer: prune.random_unstructured(layer, "weight", 0.25),
    "prune of the bias": lambda layer: prune.random_unstructured(layer, "bias", 0.5),
    "own parametrisation": lambda layer: parametrize.register_parametrization(layer, "weight", Halved()),
    "parametrised bias": lambda layer: parametrize.register_parametrization(layer, "bias", Halved()),
    "plain tensor": as_plain_tensor,
    "buffer": as_buffer,
    "own forward": lambda layer: setattr(layer, "__class__", Standardised),
}


def network(way: Callable[[Any], Any] | None = None, place: int = 2) -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)
    )
    if way is not None:
        way(net[place])
    return net


class Half(Method):
    """Every second unit of each free population dies after the first epoch."""

    def end_epoch(self, view: View, metrics: Any) -> Decision:
        return Decision(units={p.name: torch.arange(p.size) % 2 == 0 for p in view.topology.free()})


FREE = {0: ["2", "4"], 2: ["4"], 6: ["0", "2"]}
"""What is left free where a layer is not: neither what it writes nor what it reads."""


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("place", FREE)
def test_the_rest_is_pruned_and_cut(way: str, place: int) -> None:
    net, x = network(WAYS[way], place), torch.rand(5, 6)
    before = copy.deepcopy(list(net[place].parameters()))
    pruner = Pruner(net, x, Half(), epochs=2)
    assert [p.name for p in pruner.topology.free()] == FREE[place]
    assert pruner.rates().weights_dense == 6 * 8 + 8 * 8 + 8 * 8 + 8 * 3
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.0)
    for _ in range(2):
        net(x).sum().backward()
        optimizer.step()
        pruner.step(optimizer)
        pruner.end_epoch()
    left = {name: (4, 8) if name in FREE[place] else (8, 8) for name in ("0", "2", "4")}
    assert pruner.rates().neurons_left == {**left, "6": (3, 3)}
    small = snnprune.compact(net, pruner.masks)
    torch.testing.assert_close(small.eval()(x), net.eval()(x))
    assert all(map(torch.equal, before, net[place].parameters()))


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        ("weight_norm", "the weight of 2 is computed by a parametrisation"),
        ("old weight_norm", "the weight of 2 is computed from weight_g and weight_v"),
        ("prune of the weight", "the weight of 2 is computed from weight_orig and weight_mask"),
        ("prune of the bias", "the bias of 2 is computed from bias_orig and bias_mask"),
        ("plain tensor", "the weight of 2 is computed outside of the layer"),
        ("buffer", "2 computes its weight or its output in its own way (Linear)"),
    ],
)
def test_the_reason_says_what_it_is_computed_from(way: str, reason: str) -> None:
    found = discover(network(WAYS[way]), torch.rand(5, 6)).populations
    assert [found[name].frozen for name in ("0", "2", "4")] == [reason, reason, None]


@pytest.mark.parametrize("way", ["prune of the weight", "own parametrisation"])
def test_norms_and_neurons_count_as_well(way: str) -> None:
    for module in (nn.BatchNorm1d(8), nn.PReLU(8)):
        net = network()
        net[1] = nn.Sequential(module, nn.ReLU())
        assert discover(net, torch.rand(5, 6)).populations["0"].frozen is None
        WAYS[way](module)
        assert "the weight of 1.0 is computed" in str(discover(net, torch.rand(5, 6)).populations["0"].frozen)


def test_a_tensor_that_the_state_dict_hides_is_not_masked() -> None:
    class Hiding(nn.Sequential):
        def state_dict(self, *args: Any, **kwargs: Any) -> Any:
            return {k: v for k, v in super().state_dict(*args, **kwargs).items() if not k.startswith("0.")}

    found = discover(Hiding(*network()), torch.rand(5, 6)).populations
    assert found["0"].frozen == "0.weight is missing in the state_dict of the network"
    assert found["2"].frozen is None


@pytest.mark.parametrize("way", WAYS)
def test_operations_are_those_of_the_plain_network(way: str) -> None:
    x = torch.rand(5, 6)
    counts = []
    for net in (network(), network(WAYS[way])):
        topology = discover(net, x)
        with SpikeCounter(net, topology) as counter:
            net.eval()(x)
        counts.append((rates(topology).macs_dense, counter.operations(5).macs))
    assert counts[0] == counts[1] == (200, 200.0)


def test_reading_a_weight_leaves_the_layer_as_it_was() -> None:
    layer = parametrizations.spectral_norm(nn.Linear(4, 3)).train()
    before = copy.deepcopy(layer.state_dict())
    assert weight_of(layer).shape == (3, 4)
    assert all(torch.equal(before[k], v) for k, v in layer.state_dict().items())
    pruned = prune.random_unstructured(nn.Linear(4, 3), "weight", amount=5)
    assert int(synapses_of(pruned).sum()) == 7


@pytest.mark.parametrize("groups", [1, 2])
def test_a_transposed_convolution_is_read_with_its_units_first(groups: int) -> None:
    layer = nn.ConvTranspose1d(4, 6, 2, stride=2, groups=groups, bias=False)
    nn.utils.prune.random_unstructured(layer, "weight", 0.5)
    alive, x = synapses_of(layer), torch.rand(2, 4, 5)
    assert alive.shape == (6, 4 // groups, 2)
    ones = nn.ConvTranspose1d(4, 6, 2, stride=2, groups=groups, bias=False)
    ones.weight.data = (layer.weight != 0).float()
    torch.testing.assert_close(apply_weight(layer, alive.float(), x), ones(x))


def test_a_file_of_parameters_refuses_what_is_computed() -> None:
    with pytest.raises(UserError, match="the weight of 2 is computed by a parametrisation, and a file holds"):
        folded(network(WAYS["weight_norm"]))
