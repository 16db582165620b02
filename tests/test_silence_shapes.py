"""Norms and neurons are asked for silence with what they meet; what cannot be asked is said at the start."""

from __future__ import annotations

import copy
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import Tensor, nn

import snnprune
from snnprune.common.errors import CompactionError
from snnprune.network import discover
from snnprune.pruning import Pruner
from snnprune.pruning.compaction.shapes import conform

if TYPE_CHECKING:
    from collections.abc import Callable

T = 4


def lif() -> nn.Module:
    return neuron.LIFNode(tau=2.0, v_threshold=0.3, step_mode="m")


def half_dead(net: nn.Module, x: Tensor, *neurons: type[nn.Module]) -> snnprune.Masks:
    masks = snnprune.Masks(net, discover(net, x, neurons=neurons))
    for population in masks.topology.free():
        masks.keep_units(population, torch.arange(population.size) % 2 == 0)
    masks.refresh()
    return masks


def cut_and_compare(net: nn.Module, x: Tensor, *neurons: type[nn.Module]) -> nn.Module:
    """Cut half of each population, and see that the masked network answers the same."""
    masks = half_dead(net, x, *neurons)
    assert masks.topology.free()
    assert not [p.uncut for p in masks.topology.free() if p.uncut]
    small = snnprune.compact(net, masks)
    masks.apply()
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in net.parameters())
    answers = []
    for each in (net, small):
        each.eval()
        functional.reset_net(each)
        answers.append(each(x))
        functional.reset_net(each)
    torch.testing.assert_close(*answers, rtol=0, atol=1e-9)
    return small


def trained(net: nn.Module, x: Tensor, *neurons: type[nn.Module]) -> tuple[Pruner, list[str]]:
    """Train with a cut after every epoch; return the pruner and what was said."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        pruner = Pruner(
            net, x, "magnitude", epochs=4, target=0.5, unit="both", compact_every=1, neurons=neurons
        )
        optimizer = torch.optim.SGD(net.parameters(), 0.01)
        for _ in range(4):
            net(x).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
            pruner.step(optimizer)
            functional.reset_net(net)
            pruner.end_epoch()
    return pruner, [str(w.message) for w in told if "population" in str(w.message)]


# --- norms that know what they take


def of_one_axis(norm: Callable[[int], nn.Module]) -> tuple[nn.Module, Tensor]:
    net = nn.Sequential(nn.Linear(20, 16), norm(16), lif(), nn.Linear(16, 5))
    return net.double(), torch.rand(T, 3, 20, dtype=torch.float64) * 3


def of_pictures(norm: Callable[[int], nn.Module]) -> tuple[nn.Module, Tensor]:
    net = nn.Sequential(
        layer.Conv2d(2, 8, 3, padding=1, step_mode="m"), norm(8), lif(),
        layer.Conv2d(8, 6, 3, padding=1, step_mode="m"), norm(6), lif(), nn.Flatten(2), nn.Linear(150, 5),
    )  # fmt: skip
    return net.double(), torch.rand(T, 3, 2, 5, 5, dtype=torch.float64) * 3


def of_volumes(norm: Callable[[int], nn.Module]) -> tuple[nn.Module, Tensor]:
    conv = layer.Conv3d(2, 8, 3, padding=1, step_mode="m")
    net = nn.Sequential(conv, norm(8), lif(), nn.Flatten(2), nn.Linear(216, 5))
    return net.double(), torch.rand(T, 3, 2, 3, 3, 3, dtype=torch.float64) * 3


SHAPES = {"1d": of_one_axis, "2d": of_pictures, "3d": of_volumes}
NORMS: dict[str, Callable[[str], Callable[[int], nn.Module]]] = {
    "ThresholdDependentBatchNorm": lambda axes: partial(
        getattr(layer, f"ThresholdDependentBatchNorm{axes}"), 1.0, 0.3
    ),
    "TemporalEffectiveBatchNorm": lambda axes: partial(
        getattr(layer, f"TemporalEffectiveBatchNorm{axes}"), T
    ),
    "BatchNormThroughTime": lambda axes: partial(
        getattr(layer, f"BatchNormThroughTime{axes}"), T, step_mode="m"
    ),
    "BatchNorm": lambda axes: partial(getattr(layer, f"BatchNorm{axes}"), step_mode="m"),
}


@pytest.mark.parametrize("axes", SHAPES)
@pytest.mark.parametrize("norm", NORMS)
def test_norms_that_know_their_axes_or_their_time_steps_are_cut(norm: str, axes: str) -> None:
    torch.manual_seed(0)
    net, x = SHAPES[axes](NORMS[norm](axes))
    cut_and_compare(net, x)
    pruner, said = trained(net, x)
    assert not said
    assert pruner.survivors.cut_sizes


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("tracked", [False, True])
def test_instance_norms_are_cut_with_the_size_that_they_know(affine: bool, tracked: bool) -> None:
    torch.manual_seed(0)
    norm = nn.InstanceNorm2d(8, affine=affine, track_running_stats=tracked)
    net = nn.Sequential(nn.Conv2d(2, 8, 3), norm, nn.ReLU(), nn.Flatten(), nn.Linear(72, 5)).double()
    small = cut_and_compare(net, torch.rand(3, 2, 5, 5, dtype=torch.float64))
    assert small[1].num_features == 4 or not (affine or tracked)


def test_a_parameter_per_channel_is_cut_with_its_number() -> None:
    net = nn.Sequential(nn.Linear(20, 16), nn.PReLU(16), nn.Linear(16, 5)).double()
    assert cut_and_compare(net, torch.rand(3, 20, dtype=torch.float64))[1].num_parameters == 8


# --- neurons of a stranger


class Complaint(Exception):
    """An error of somebody's own."""


class Picky(nn.Module):
    """Takes pictures of the size that it was made for, and raises what it likes about all others."""

    def __init__(self, error: type[Exception]) -> None:
        super().__init__()
        self.error = error

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-2:] != (5, 5) or x.shape[0] != T or x.ndim != 5:
            raise self.error
        return surrogate.ATan()(x - 0.3)


@pytest.mark.parametrize(
    "error", [AssertionError, RuntimeError, ValueError, IndexError, KeyError, NotImplementedError, Complaint]
)
def test_a_neuron_that_refuses_other_shapes_is_asked_with_its_own(error: type[Exception]) -> None:
    torch.manual_seed(0)
    net, x = of_pictures(lambda c: layer.BatchNorm2d(c, step_mode="m"))
    net[2], net[5] = Picky(error), Picky(error)  # type: ignore[index,operator]
    cut_and_compare(net, x, Picky)
    pruner, said = trained(net, x, Picky)
    assert not said
    assert pruner.survivors.cut_sizes


class Fed(nn.Module):
    """Has to be given a state, which is not known outside of the network."""

    def forward(self, x: Tensor, v: Tensor) -> Tensor:
        return surrogate.ATan()(x + v - 0.3)


class Feeding(nn.Sequential):
    """A network that gives its neuron a state."""

    def forward(self, x: Tensor) -> Tensor:
        return self[2](self[1](self[0](x), torch.zeros(())))


class Eager(nn.Module):
    """Fires without input."""

    def forward(self, x: Tensor) -> Tensor:
        return surrogate.ATan()(x + 0.1)


class Driven(nn.Module):
    """Has a current of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.current = nn.Parameter(torch.full((16,), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        return surrogate.ATan()(x + self.current - 0.3)


class Noisy(nn.Module):
    """Fires by chance."""

    def forward(self, x: Tensor) -> Tensor:
        return surrogate.ATan()(x + torch.randn_like(x) - 0.3)


class Late(nn.Module):
    """Fires without input from its sixth step on, and takes eight."""

    def forward(self, x: Tensor) -> Tensor:
        v, out = torch.zeros_like(x[0]), []
        for step in x[:8]:
            v = v + step + 0.05
            out.append(surrogate.ATan()(v - 0.29))
        return torch.stack(out)


UNCUT: dict[str, tuple[Any, tuple[int, ...], str]] = {
    "cannot be asked": (Fed, (3, 20), "cannot be called with its input alone"),
    "fires without input": (Eager, (3, 20), "outputs 1 without input"),
    "a current of its own": (Driven, (3, 20), "outputs 1 without input"),
    "noise": (Noisy, (3, 20), "outputs 1 without input"),
    "in a step of its own": (Late, (8, 3, 20), "outputs 1 without input"),
}


@pytest.mark.parametrize("kind", UNCUT)
def test_what_can_never_be_cut_is_said_at_the_start_and_masks_go_on(kind: str) -> None:
    make, shape, reason = UNCUT[kind]
    torch.manual_seed(0)
    network = Feeding if make is Fed else nn.Sequential
    net, x = network(nn.Linear(20, 16), make(), nn.Linear(16, 5)), torch.rand(shape)
    found = discover(net, x, neurons=(make,))
    assert reason in str(found.populations["0"].uncut)
    assert f"0 can be masked, but not removed by a cut: 1 ({make.__name__}) {reason}" in str(found)
    with pytest.raises(CompactionError, match=f"population 0 cannot be compacted.*{reason}"):
        snnprune.compact(net, half_dead(net, x, make))
    pruner, said = trained(net, x, make)
    assert said[0].startswith("population 0 can be masked but not compacted")
    assert sum("training goes on with masks" in sentence for sentence in said) == 1
    assert pruner.clock.epoch == 4
    assert 0 < int(pruner.masks.units["0"].sum()) < 16
    assert net[0].weight.shape == (16, 20)


def test_what_is_asked_draws_no_numbers_of_the_user() -> None:
    net = nn.Sequential(nn.Linear(20, 16), Noisy(), nn.Linear(16, 5))
    before = torch.get_rng_state()
    discover(net, torch.rand(3, 20, generator=torch.Generator().manual_seed(0)), neurons=(Noisy,))
    assert torch.equal(before, torch.get_rng_state())


class Kept(nn.Module):
    """Keeps its potential in an attribute until somebody resets it."""

    v: Any = None

    def forward(self, x: Tensor) -> Tensor:
        v = x if self.v is None else self.v / 2 + x
        spikes = surrogate.ATan()(v - 0.3)
        self.v = v * (1 - spikes)
        return spikes


def test_a_neuron_is_asked_at_rest_whatever_it_holds_now() -> None:
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(20, 16), Kept(), nn.Linear(16, 5)), torch.rand(3, 20)
    masks = half_dead(net, x, Kept)
    net[1].v = torch.full((3, 16), 0.29)  # would fire soon with a little leak
    held = net[1].v
    snnprune.compact(net, masks)
    assert net[1].v is held


class Lateral(nn.Module):
    """Units that see one another."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x - x.mean(-1, keepdim=True) / 2)


def test_units_that_see_one_another_are_kept_whole() -> None:
    net = nn.Sequential(nn.Linear(20, 16), Lateral(), nn.Linear(16, 5))
    found = discover(net, torch.rand(3, 20), neurons=(Lateral,))
    assert "neuron 1: its units see one another" in str(found.populations["0"].frozen)


# --- one tensor under several names


class Diagonal(nn.Module):
    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight_of_unit = weight

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight_of_unit


class OneToOne(nn.Module):
    """Every unit feeds back on itself, by a weight that it holds under two names."""

    def __init__(self, units: int, *, learns: bool) -> None:
        super().__init__()
        weight = torch.rand(units, dtype=torch.float64)
        if learns:
            self.V = nn.Parameter(weight)
        else:
            self.register_buffer("V", weight)
        self.recurrent = Diagonal(self.V)

    def forward(self, x: Tensor) -> Tensor:
        v = spikes = torch.zeros_like(x[0])
        out = []
        for step in x:
            v = v / 2 + step + self.recurrent(spikes)
            spikes = surrogate.ATan()(v - 0.3)
            v = v * (1 - spikes)
            out.append(spikes)
        return torch.stack(out)


@pytest.mark.parametrize("learns", [True, False])
def test_a_tensor_under_two_names_inside_a_neuron_is_one_slot(learns: bool) -> None:
    torch.manual_seed(0)
    one, two = (nn.Linear(*sizes, dtype=torch.float64) for sizes in ((20, 30), (30, 5)))
    net = nn.Sequential(one, OneToOne(30, learns=learns), two)
    dense, x = copy.deepcopy(net), torch.rand(T, 3, 20, dtype=torch.float64)
    small = cut_and_compare(net, x, OneToOne)
    assert small[1].V is small[1].recurrent.weight_of_unit
    assert small[1].V.shape == (15,)
    pruner, said = trained(net, x, OneToOne)
    assert not said
    assert pruner.survivors.cut_sizes
    conform(dense, small.state_dict())
    dense.load_state_dict(small.state_dict())
    assert torch.equal(dense(x), small(x))


def test_a_second_name_on_the_network_does_not_hinder_a_cut() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.act, self.b = nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 5)
            self.first = self.a.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.act(self.a(x)))

    small = cut_and_compare(Named().double(), torch.rand(3, 20, dtype=torch.float64))
    assert small.first is small.a.weight
    assert small.first.shape == (8, 20)


class Threshold(nn.Module):
    def __init__(self, threshold: Tensor) -> None:
        super().__init__()
        self.inner = nn.Module()
        self.inner.threshold = threshold

    def forward(self, x: Tensor) -> Tensor:
        return surrogate.ATan()(x - self.inner.threshold)


def test_a_tensor_that_two_neurons_share_keeps_both_populations_whole() -> None:
    shared = nn.Parameter(torch.rand(16))
    net = nn.Sequential(
        nn.Linear(20, 16), Threshold(shared), nn.Linear(16, 16), Threshold(shared), nn.Linear(16, 5)
    )
    found = discover(net, torch.rand(3, 20), neurons=(Threshold,))
    for name, node in (("0", "1"), ("2", "3")):
        assert (
            found.populations[name].frozen
            == f"{node}.inner.threshold is one tensor with that of another layer"
        )
