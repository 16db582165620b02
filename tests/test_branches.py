"""Networks whose way depends on values: what another input may reach is kept whole, and nothing else is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn

from snnprune import Pruner, discover

if TYPE_CHECKING:
    from collections.abc import Callable

X = torch.rand(2, 4) + 0.1
OUTPUT = "it is the output of the network"


class Net(nn.Module):
    """A stem, a middle that ``way`` chooses, and a readout; it may never call ``other``."""

    def __init__(self, way: Callable[[Any, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.stem, self.act = nn.Linear(4, 6), nn.ReLU()
        self.one, self.other, self.act2, self.act3 = nn.Linear(6, 6), nn.Linear(6, 6), nn.ReLU(), nn.ReLU()
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.register_buffer("limit", torch.tensor(0.5))
        self.out, self.way = nn.Linear(6, 3), way

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.way(self, x, self.act(self.stem(x))))


def first(net: Net, h: Tensor) -> Tensor:
    return net.act2(net.one(h))


def second(net: Net, h: Tensor) -> Tensor:
    return net.act3(net.other(h))


@torch.jit.script
def scripted(x: Tensor, h: Tensor) -> Tensor:
    if bool(x.sum() > 0):
        return h
    return -h


def routed(net: Net, x: Tensor, h: Tensor) -> Tensor:
    found = torch.zeros_like(h)
    for number, expert in enumerate((first, second)):
        chosen = (x.sum(1) < 0).long() == number
        if len(chosen.nonzero()):
            found = found + expert(net, h) * chosen[:, None]
    return found


def until_sure(net: Net, x: Tensor, h: Tensor) -> Tensor:
    while x.norm() < 0:
        h, x = second(net, h), x * 2
    return first(net, h)


LOOKS: dict[str, tuple[Callable[..., Tensor], str]] = {
    "if": (lambda n, x, h: first(n, h) if x.mean() > 0 else second(n, h), "bool()"),
    "item": (lambda n, x, h: first(n, h) if x.max().item() > 0 else second(n, h), "item()"),
    "tolist": (lambda n, x, h: first(n, h) if x.sum(1).tolist()[0] > 0 else second(n, h), "tolist()"),
    "numpy": (lambda n, x, h: first(n, h) if x.numpy().sum() > 0 else second(n, h), "numpy()"),
    "index": (lambda n, x, h: (second, first)[(x.sum() > 0).long()](n, h), "index()"),
    "mask": (lambda n, x, h: first(n, h) if len(x[x > 0]) else second(n, h), "getitem()"),
    "nonzero": (lambda n, x, h: first(n, h) if len(x.nonzero()) else second(n, h), "nonzero()"),
    "unique": (lambda n, x, h: first(n, h) if len(x.unique()) > 1 else second(n, h), "unique()"),
    "equal": (lambda n, x, h: second(n, h) if torch.equal(x, -x) else first(n, h), "equal()"),
    "random": (lambda n, x, h: first(n, h) if torch.rand(1) < 2 else second(n, h), "bool()"),
    "experts": (routed, "len()"),
    "loop": (until_sure, "bool()"),
}


@pytest.mark.parametrize("name", LOOKS)
def test_what_another_input_may_reach_keeps_everything_whole(name: str) -> None:
    way, look = LOOKS[name]
    topology = discover(Net(way), X)
    assert topology.free() == []
    assert topology.populations["out"].frozen == OUTPUT
    reason = topology.populations["stem"].frozen
    assert reason is not None
    assert reason.startswith("other was not reached by the example and may read it: ")
    assert topology.look is not None
    assert topology.look in str(topology)
    if name != "experts":
        assert topology.look == look


HARMLESS: dict[str, Callable[..., Tensor]] = {
    "no branch": lambda n, x, h: first(n, h),
    "state of Python": lambda n, x, h: first(n, h) if n.training in {True, False} else second(n, h),
    "a parameter's value": lambda n, x, h: first(n, h) * (1 if float(n.scale) > 0 else 2),
    "a buffer's value": lambda n, x, h: first(n, h) if n.limit > 0 else second(n, h),
    "a shape": lambda n, x, h: first(n, h) if x.shape[0] > 1 else second(n, h),
    "where on data": lambda n, x, h: first(n, torch.where(x.sum() > 0, h, h * 2)),
    "printed": lambda n, x, h: first(n, h) if f"{x} {x.mean():.2f} {x!r}" else second(n, h),
    "gathered": lambda n, x, h: first(n, h) * x[torch.tensor([0, 1])].sum(1, keepdim=True),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_a_layer_that_no_input_reaches_changes_nothing(name: str) -> None:
    topology = discover(Net(HARMLESS[name]), X)
    assert [p.name for p in topology.free()] == ["stem", "one"]
    assert topology.unreached == ("other",)
    assert topology.look is None


def test_a_look_is_only_noted_where_every_layer_was_reached() -> None:
    topology = discover(Net(lambda n, x, h: second(n, first(n, h) if x.mean() > 0 else first(n, h) * 2)), X)
    assert [p.name for p in topology.free()] == ["stem", "one", "other"]
    assert "which way an input goes depends on values (bool()); this example shows one" in str(topology)


def test_scripted_code_that_looks_is_seen_as_well() -> None:
    topology = discover(Net(lambda n, x, h: first(n, h) * scripted(x, torch.ones(2, 1))), X)
    assert topology.look is not None
    assert topology.free() == []


def test_parameters_outside_of_layers_count_as_well() -> None:
    class Gated(Net):
        def __init__(self) -> None:
            super().__init__(lambda n, x, h: first(n, h))
            self.gate = nn.ParameterDict({"weight": nn.Parameter(torch.ones(6))})
            del self.other

        def forward(self, x: Tensor) -> Tensor:
            h = self.act(self.stem(x))
            return self.out(first(self, h * self.gate["weight"] if x.mean() < 0 else h))

    assert "gate was not reached" in str(discover(Gated(), X).populations["stem"].frozen)


@pytest.mark.parametrize("leaves", [True, False])
def test_an_early_exit(leaves: bool) -> None:
    class Early(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.act, self.exit = nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)
            self.more, self.act2, self.out = nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            h = self.act(self.stem(x))
            sure = self.exit(h)
            if (sure.max() > -99) == leaves:
                return sure
            return self.out(self.act2(self.more(h)))

    free = [p.name for p in discover(Early(), X).free()]
    assert free == ([] if leaves else ["stem", "more"])


class Auxiliary(nn.Module):
    """A head that only training calls, as deep supervision has it."""

    def __init__(self, norm: bool) -> None:
        super().__init__()
        self.stem, self.act, self.out = nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)
        self.aux = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5) if norm else nn.Identity(), nn.ReLU())
        self.tail = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Any:
        h = self.act(self.stem(x))
        return (self.out(h), self.tail(self.aux(h))) if self.training else self.out(h)


def test_a_layer_that_only_training_reaches_is_cut_along() -> None:
    model = Auxiliary(norm=True)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    pruner = Pruner(model, X, "magnitude", epochs=2, target=0.1)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    found = pruner.topology
    assert [p.name for p in found.free()] == ["stem"]
    assert found.populations["aux.0"].frozen == "aux.0 is reached in training mode alone"
    assert found.projections["out"].positions == 1
    pruner.masks.keep_units(found.populations["stem"], torch.arange(6) < 2)
    pruner.masks.apply()
    pruner.compact()
    assert model.aux[0].weight.shape == (5, 2)
    assert [tuple(y.shape) for y in model.train()(X)] == [(2, 3), (2, 3)]


def test_a_neuron_that_training_calls_once_more_is_not_taken_for_another() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.out, self.aux = (nn.Linear(4, n) for n in (4, 4, 3, 3))
            self.side, self.act = nn.Linear(4, 4), nn.ReLU()

        def forward(self, x: Tensor) -> Any:
            h = self.act(self.one(x))
            extra = [self.aux(self.act(self.side(h)))] if self.training else []
            return self.out(self.act(self.two(h))), *extra

    found = discover(Shared(), X).populations
    reason = "neuron act is called otherwise in training mode"
    assert [found[name].frozen for name in ("one", "two")] == [reason, reason]


def test_training_that_the_example_does_not_go_through_is_left_out() -> None:
    topology = discover(Auxiliary(norm=True), X[:1])  # one sample has no batch statistics
    assert [p.name for p in topology.free()] == ["stem"]
    assert topology.unreached == ("tail",)


def test_neurons_are_counted_once_where_a_layer_is_never_reached() -> None:
    site = discover(Net(HARMLESS["no branch"]), X).projections["one"].site
    assert site is not None
    assert (site.calls, site.steps) == (1, 1)
