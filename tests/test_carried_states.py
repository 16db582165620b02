"""States that a network carries to its next forward, in places of its own, are put at rest by a cut."""

from __future__ import annotations

import warnings
from collections import deque
from typing import TYPE_CHECKING, Any

import pytest
import torch
from spikingjelly.activation_based import functional, neuron
from torch import Tensor, nn

import snnprune
from snnprune.common.errors import CompactionError
from snnprune.network import discover
from snnprune.network.untouched import untouched

if TYPE_CHECKING:
    from collections.abc import Callable

UNITS, INPUTS, SAMPLES = 6, 4, 2


class Carrying(nn.Module):
    """A loop whose last spikes meet the next forward; subclasses say where they wait."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.rec, self.lif = nn.Linear(INPUTS, UNITS), nn.Linear(UNITS, UNITS), neuron.LIFNode()
        self.out = nn.Linear(UNITS, 2)
        self.calls = 0
        self.prepare()

    def prepare(self) -> None:
        self.y: Tensor | None = None

    def last(self) -> Tensor | None:
        return self.y

    def keep(self, y: Tensor) -> None:
        self.y = y

    def forward(self, x: Tensor) -> Tensor:
        y, told = self.last(), []
        y = x.new_zeros(x.shape[1], self.rec.in_features) if y is None else y
        for step in x:
            y = self.lif(self.fc(step) + self.rec(y))
            told.append(self.out(y))
        self.keep(y.detach())
        self.calls += 1
        return torch.stack(told)


class InBuffer(Carrying):
    def prepare(self) -> None:
        self.register_buffer("y", None)


class InEmptyBuffer(Carrying):
    y: Tensor

    def prepare(self) -> None:
        self.register_buffer("y", torch.zeros(0), persistent=False)

    def last(self) -> Tensor | None:
        return self.y if len(self.y) else None


class InList(Carrying):
    def prepare(self) -> None:
        self.y: Any = []

    def last(self) -> Tensor | None:
        return self.y[-1] if self.y else None

    def keep(self, y: Tensor) -> None:
        self.y.append(y)


class InDeque(InList):
    def prepare(self) -> None:
        self.y = deque(maxlen=2)


class InDict(Carrying):
    def prepare(self) -> None:
        self.y: Any = {}

    def last(self) -> Tensor | None:
        return self.y.get("spikes")

    def keep(self, y: Tensor) -> None:
        self.y["spikes"] = y


class InNest(InDict):
    def prepare(self) -> None:
        self.y = {"layer": {"spikes": None}}

    def last(self) -> Tensor | None:
        found: Tensor | None = self.y["layer"]["spikes"]
        return found

    def keep(self, y: Tensor) -> None:
        self.y["layer"]["spikes"] = y


class InTuple(InDict):
    def prepare(self) -> None:
        self.y = ()

    def last(self) -> Tensor | None:
        return self.y[0] if self.y else None

    def keep(self, y: Tensor) -> None:
        self.y = (y,)


KINDS = [Carrying, InBuffer, InEmptyBuffer, InList, InDeque, InDict, InNest, InTuple]


def course() -> Tensor:
    return torch.rand(3, SAMPLES, INPUTS, dtype=torch.float64) * 3


def halved(kind: Callable[[], Carrying]) -> tuple[Any, snnprune.Pruner]:
    torch.manual_seed(0)
    net = kind().double()
    pruner = snnprune.Pruner(net, course(), "magnitude", epochs=4, target=0.5)
    pruner.masks.keep_units(pruner.topology.populations["fc"], torch.arange(UNITS) < 4)
    pruner.masks.refresh()
    return net, pruner


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_puts_what_is_carried_back_to_what_it_was_at_rest(kind: Callable[[], Carrying]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net, pruner = halved(kind)
        x = course()
        at_rest = net(x).detach()
        functional.reset_net(net)
        net(x)
        assert net.last().shape == (SAMPLES, UNITS)
        pruner.compact()
    assert net.last() is None
    assert net.rec.weight.shape == (4, 4)
    torch.testing.assert_close(net(x), at_rest, rtol=0, atol=1e-9)
    assert net.last().shape == (SAMPLES, 4)
    assert net.calls == 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_that_is_undone_puts_back_what_was_carried(kind: Callable[[], Carrying]) -> None:
    net, pruner = halved(kind)
    net(course())
    was, holder = net.last(), net.y
    view = net.rec.weight[0]  # torch does not swap a tensor that a graph holds
    with pytest.raises(CompactionError, match="still refers to it"):
        pruner.compact()
    assert torch.equal(net.last(), was)
    assert type(net.y) is type(holder)
    assert net.rec.weight.shape == (UNITS, *view.shape)


def test_a_graph_behind_what_is_carried_does_not_hinder_a_cut() -> None:
    class Attached(InDeque):
        def keep(self, y: Tensor) -> None:
            self.y.append(self.rec(y))

    torch.manual_seed(0)
    net = Attached().double()
    net.rec.bias.data.zero_()
    masks = snnprune.Masks(net, discover(net, course()))
    for population in masks.topology.free():
        masks.keep_units(population, torch.arange(UNITS) < 4)
    net(course())
    assert snnprune.compact(net, masks, inplace=True).rec.weight.shape == (4, 4)
    assert len(net.y) == 0


def test_what_is_counted_or_of_no_unit_stays() -> None:
    class Counting(Carrying):
        seen: Tensor

        def prepare(self) -> None:
            super().prepare()
            self.register_buffer("seen", torch.zeros(INPUTS))

        def forward(self, x: Tensor) -> Tensor:
            self.seen = self.seen + x.sum((0, 1))
            return super().forward(x)

    net, pruner = halved(Counting)
    x = course()
    net(x)
    pruner.compact()
    torch.testing.assert_close(net.seen, x.sum((0, 1)))
    assert net.calls == 1


@pytest.mark.parametrize("kind", [InList, InDeque, InDict, InNest])
def test_a_forward_that_is_watched_leaves_containers_as_they_were(kind: Callable[[], Carrying]) -> None:
    net = kind().double()
    with untouched(net):
        net(course())
        assert net.last() is not None
    assert net.last() is None


def test_a_tensor_in_a_list_that_is_written_into_is_put_back() -> None:
    class Written(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kept = [torch.zeros(3)]

        def forward(self, x: Tensor) -> Tensor:
            self.kept[0] += x
            return self.kept[0]

    net = Written()
    with untouched(net):
        net(torch.ones(3))
    assert net.kept[0].tolist() == [0.0, 0.0, 0.0]
