"""A cut is tried on the example before it is made: what could not run, or would answer otherwise, stays."""

from __future__ import annotations

import copy
import warnings
from typing import TYPE_CHECKING, Any

import pytest
import torch
from spikingjelly.activation_based import functional, neuron, surrogate
from torch import Tensor, nn

import snnprune
from snnprune.common.errors import CompactionError
from snnprune.network import discover
from snnprune.pruning import Pruner

if TYPE_CHECKING:
    from collections.abc import Callable


class Net(nn.Module):
    """Two layers behind a convolution, and something between them that may hold a number."""

    def __init__(self, between: Callable[[Net, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm, self.act = nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.ReLU()
        self.hidden, self.act2, self.out = nn.Linear(54, 16), nn.ReLU(), nn.Linear(16, 5)
        self.between, self.channels = between, 6

    def forward(self, x: Tensor) -> Tensor:
        y = self.between(self, self.act(self.norm(self.conv(x))))
        return self.out(self.act2(self.hidden(y)))


class TooWide(Exception):
    """An error of somebody's own."""


def checked(net: Net, y: Tensor) -> Tensor:
    if y.shape[1] != net.channels:
        raise TooWide
    return y.flatten(1)


def asserted(net: Net, y: Tensor) -> Tensor:
    assert y.shape[1:] == (6, 3, 3)
    return y.flatten(1)


def viewed(net: Net, y: Tensor) -> Tensor:
    return y.view(len(y), 54)


def folded(net: Net, y: Tensor) -> Tensor:
    return y.reshape(-1, 54)  # goes through where the samples make up for it


def flat(net: Net, y: Tensor) -> Tensor:
    return y.flatten(1)


def counted(net: Net, y: Tensor) -> Tensor:
    return (y / y.shape[1]).flatten(1)


def rooted(net: Net, y: Tensor) -> Tensor:
    return y.flatten(1) * y[0].numel() ** -0.5


class Written(nn.Module):
    """A neuron whose state has a size that is written down."""

    def forward(self, x: Tensor) -> Tensor:
        v = torch.zeros(len(x), 6, 3, 3) + x
        return surrogate.ATan()(v - 0.3)


RUNS = "the smaller network does not run, "
HERE = "at test_handing_over.py, line "
DIFFERS = "the smaller network's output differs by"
BETWEEN = {
    "an error of somebody's own": (checked, f"{RUNS}{HERE}.*`raise TooWide` .TooWide."),
    "an assert": (asserted, rf"{RUNS}{HERE}.*`assert y.shape\[1:\] == .*` .AssertionError"),
    "view": (viewed, rf"{RUNS}{HERE}.*`return y.view\(len\(y\), 54\)` .RuntimeError"),
    "reshape": (folded, f"{RUNS}.*{HERE}.*RuntimeError"),
    "a state": (flat, f"{RUNS}in act {HERE}.*RuntimeError"),
    "a mean over units": (counted, DIFFERS),
    "a scale by their number": (rooted, DIFFERS),
}


def built(kind: str) -> tuple[Net, tuple[type[nn.Module], ...], Tensor]:
    net = Net(BETWEEN[kind][0])
    if kind == "a state":
        net.act = Written()
    x = torch.rand(8, 2, 5, 5, generator=torch.Generator().manual_seed(1))
    for _ in range(3):
        net(x)
    return net, (Written,), x


def quietly(net: nn.Module, x: Tensor, **options: Any) -> Pruner:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Pruner(net, x, "magnitude", epochs=8, target=0.5, unit="both", **options)


def halve(masks: snnprune.Masks) -> snnprune.Masks:
    for population in masks.topology.free():
        masks.keep_units(population, torch.arange(population.size) % 2 == 0)
    masks.refresh()
    return masks


def picture(*things: Any) -> list[Any]:
    """Return copies of all tensors and states, to see that nothing has changed."""
    return copy.deepcopy([thing.state_dict() for thing in things] + [torch.get_rng_state()])


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(v, other[k]) for k, v in one.items())
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)


def step(net: nn.Module, x: Tensor, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    net(x).square().mean().backward()
    optimizer.step()


# --- every way to a smaller network


def as_a_copy(net: Net, pruner: Pruner, optimizer: Any) -> None:
    snnprune.compact(net, pruner.masks)


def in_place(net: Net, pruner: Pruner, optimizer: Any) -> None:
    snnprune.compact(net, pruner.masks, inplace=True, optimizer=optimizer)


def by_the_pruner(net: Net, pruner: Pruner, optimizer: Any) -> None:
    pruner.compact(optimizer)


def by_a_state(net: Net, pruner: Pruner, optimizer: Any) -> None:
    other, _, x = built("view")
    other.between, other.act = flat, nn.ReLU()
    small = quietly(other, x)
    halve(small.masks)
    small.compact()
    pruner.load_state_dict(small.state_dict())


WAYS = {
    "compact": as_a_copy,
    "compact in place": in_place,
    "Pruner.compact": by_the_pruner,
    "load_state_dict": by_a_state,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", BETWEEN)
def test_a_network_that_could_not_go_on_is_left_as_it_was(kind: str, way: str) -> None:
    net, neurons, x = built(kind)
    pruner = quietly(net, x, neurons=neurons)
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    halve(pruner.masks)
    step(net, x, optimizer)
    pruner.step(optimizer)
    parameters = dict(net.named_parameters())
    before = picture(net, pruner, optimizer)
    with pytest.raises(CompactionError, match=f"population conv cannot be cut: {BETWEEN[kind][1]}"):
        WAYS[way](net, pruner, optimizer)
    assert equal(before, picture(net, pruner, optimizer))
    assert all(p is parameters[name] and p.grad is not None for name, p in net.named_parameters())
    assert net.training
    assert (net.conv.out_channels, net.norm.num_features) == (6, 6)
    step(net, x, optimizer)
    pruner.step(optimizer)


@pytest.mark.parametrize("kind", BETWEEN)
def test_it_is_said_at_the_start_and_training_goes_on_with_masks(kind: str) -> None:
    net, neurons, x = built(kind)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        pruner = Pruner(
            net, x, "magnitude", epochs=4, target=0.7, unit="both", compact_every=1, neurons=neurons
        )
        said = [str(w.message) for w in told]
        assert any("can be masked but not compacted: population conv cannot be cut" in s for s in said)
        optimizer = torch.optim.Adam(net.parameters(), 0.01)
        for _ in range(4):
            step(net, x, optimizer)
            pruner.step(optimizer)
            pruner.end_epoch()
    later = [str(w.message) for w in told][len(said) :]
    assert sum("training goes on with masks" in s for s in later) == 1
    assert pruner.clock.epoch == 4
    assert int(pruner.masks.units["conv"].sum()) < 6
    assert net.conv.out_channels == 6


@pytest.mark.parametrize("way", WAYS)
def test_the_same_network_without_the_number_is_cut(way: str) -> None:
    net, _, x = built("view")
    net.between = flat
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pruner = Pruner(net, x, "magnitude", epochs=8, target=0.5, unit="both")
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    halve(pruner.masks)
    WAYS[way](net, pruner, optimizer)
    assert net.conv.out_channels == (6 if way == "compact" else 3)
    assert net(x).shape == (8, 5)


def test_only_the_populations_at_fault_are_named() -> None:
    net, _, x = built("view")
    with pytest.raises(CompactionError) as refused:
        snnprune.compact(net, halve(snnprune.Masks(net, discover(net, x))))
    assert str(refused.value).startswith("population conv cannot be cut")
    masks = snnprune.Masks(net, discover(net, x))
    masks.keep_units(masks.topology.populations["hidden"], torch.arange(16) < 4)
    assert snnprune.compact(net, masks).hidden.out_features == 4


# --- a trial leaves no trace


class Counting(nn.Module):
    """Counts its calls, draws numbers, and keeps what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.calls, self.seen = 0, None
        self.register_buffer("total", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.seen = torch.rand(())
        self.total += 1
        return x


def test_a_live_cut_leaves_states_statistics_random_numbers_and_gradients_alone() -> None:
    net, _, x = built("view")
    net.between, net.counting = (lambda net, y: net.counting(y).flatten(1)), Counting()
    pruner = Pruner(net, x, "magnitude", epochs=8, target=0.5, unit="both")
    optimizer = torch.optim.SGD(net.parameters(), 0.01)
    step(net, x, optimizer)
    pruner.step(optimizer)
    halve(pruner.masks)
    pruner.masks.apply(optimizer)
    counting: Any = net.counting
    before = (counting.calls, counting.seen, counting.total.clone(), torch.get_rng_state())
    grad, mean = net.out.bias.grad.clone(), net.norm.running_mean.clone()
    pruner.compact(optimizer)
    assert (counting.calls, counting.seen) == before[:2]
    assert torch.equal(counting.total, before[2])
    assert torch.equal(torch.get_rng_state(), before[3])
    assert torch.equal(net.out.bias.grad, grad)
    assert torch.equal(net.norm.running_mean, mean[::2])
    assert net.norm.num_batches_tracked == 4
    assert net.training


def test_the_example_is_kept_small_and_apart() -> None:
    net, _, x = built("view")
    (kept,) = discover(net, x).example.arguments
    assert torch.equal(kept, x[:2])
    x.zero_()
    assert kept.any()


def test_where_the_number_of_samples_is_fixed_the_whole_example_is_kept() -> None:
    net, _, x = built("view")
    net.between = lambda net, y: y.view(8, -1)
    topology = discover(net, x)
    assert topology.example.arguments[0].shape == x.shape
    assert snnprune.compact(net, halve(snnprune.Masks(net, topology))).conv.out_channels == 3


# --- what is compared


def test_networks_that_draw_random_numbers_are_run_and_not_compared() -> None:
    net, _, x = built("view")
    net.between = lambda net, y: (y * (torch.rand_like(y) < 0.5)).flatten(1)
    assert snnprune.compact(net, halve(snnprune.Masks(net, discover(net, x)))).conv.out_channels == 3


class Single(nn.Module):
    """Computes in float32 whatever its weights are."""

    def __init__(self, scale: Callable[[Tensor], float]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.n, self.b = (
            nn.Linear(20, 64),
            neuron.LIFNode(v_threshold=0.2, step_mode="m"),
            nn.Linear(64, 5),
        )
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        y = self.n(self.a(x.float()))
        return self.b(y * self.scale(y))


@pytest.mark.parametrize("right", [True, False])
def test_a_network_of_one_precision_is_compared_up_to_what_rounding_makes_of_it(right: bool) -> None:
    net = Single((lambda y: 0.5) if right else (lambda y: y.shape[-1] ** -0.5))
    x = torch.rand(6, 3, 20) * 2
    assert net(x).any()
    functional.reset_net(net)
    masks = halve(snnprune.Masks(net, discover(net, x)))
    if right:
        assert snnprune.compact(net, masks).a.out_features == 32
    else:
        with pytest.raises(CompactionError, match=f"population a cannot be cut: {DIFFERS}"):
            snnprune.compact(net, masks)


class Kept(nn.Module):
    """Keeps its potential until it is reset, and takes no other shape meanwhile."""

    v: Any = None

    def forward(self, x: Tensor) -> Tensor:
        self.v = x if self.v is None else self.v / 2 + x
        return surrogate.ATan()(self.v - 0.3)


def test_a_trial_begins_from_the_states_that_discovery_met() -> None:
    net, x = nn.Sequential(nn.Linear(20, 16), Kept(), nn.Linear(16, 5)), torch.rand(8, 20)
    pruner = Pruner(net, x, "magnitude", epochs=8, target=0.5, unit="both", neurons=(Kept,))
    halve(pruner.masks)
    net(x)
    pruner.compact()
    assert net[1].v is None
    assert net(x).shape == (8, 5)


def test_a_trial_that_cannot_be_made_is_said() -> None:
    net, x = nn.Sequential(nn.Linear(20, 16), Kept(), nn.Linear(16, 5)), torch.rand(8, 20)
    net(x)
    masks = halve(snnprune.Masks(net, discover(net, x, neurons=(Kept,))))
    with pytest.warns(UserWarning, match=r"cannot be tried.*: 1\.v had the state of an earlier forward"):
        assert snnprune.compact(net, masks)[0].out_features == 8


def test_what_a_module_only_notes_does_not_hinder_a_trial() -> None:
    class Noting(nn.Module):
        seen: Any = None

        def forward(self, x: Tensor) -> Tensor:
            self.seen = x
            return x

    net, _, x = built("view")
    net.between, net.noting = (lambda net, y: viewed(net, net.noting(y))), Noting()
    net(x)
    masks = halve(snnprune.Masks(net, discover(net, x)))
    net.between = lambda net, y: net.noting(y).flatten(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert snnprune.compact(net, masks).conv.out_channels == 3


def test_a_network_that_no_longer_takes_its_example_is_cut_with_a_word() -> None:
    net, _, x = built("view")
    net.between = flat
    masks = halve(snnprune.Masks(net, discover(net, x)))
    net.between = lambda net, y: y.flatten(1) if len(y) == 8 else None  # type: ignore[return-value]
    with pytest.warns(UserWarning, match=r"cannot be tried.*does not take it any more"):
        assert snnprune.compact(net, masks).conv.out_channels == 3


def test_a_copied_pruner_puts_away_a_state_that_the_first_forward_made() -> None:
    class Making(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if not hasattr(self, "seen"):
                self.seen = torch.zeros(())
            self.seen = self.seen + 1
            return self.layers(x)  # type: ignore[no-any-return]

    pruner = snnprune.Pruner(Making(), torch.rand(2, 6), "magnitude", epochs=6)
    twin = copy.deepcopy(pruner)
    for each in (pruner, twin):
        example = each.dense.example
        assert example is not None
        example.put_at_rest(each.model)
        assert not hasattr(each.model, "seen")
        each.close()
