"""Neurons that are not SpikingJelly's: who the time axis is, is found out, and never guessed from a class."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from spikingjelly.activation_based import functional, layer
from test_any_loop import Own, OwnBatchFirst, OwnStep, Recorded, lif, traced
from torch import Tensor, nn

import snnprune
from snnprune.network import discover
from snnprune.network.places import Layout
from snnprune.pruning import Pruner


class OwnStepMode(Own):
    """What its attribute says is somebody else's convention."""

    step_mode = "m"


class Lateral(nn.Module):
    """Samples that see one another."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x - x.mean(0))


class Spikes(nn.Module):
    """Takes the spikes of a neuron that hands out its state as well."""

    def forward(self, x: Any) -> Tensor:
        return x[0] if isinstance(x, tuple) else x


def norse_lif() -> nn.Module:
    norse = pytest.importorskip("norse.torch", reason="needs norse: pip install norse")
    return norse.LIF(norse.LIFParameters(v_th=torch.as_tensor(0.05)))


def sinabs_lif() -> nn.Module:
    layers = pytest.importorskip("sinabs.layers", reason="needs sinabs: pip install sinabs")
    return layers.LIF(tau_mem=5.0)


def mlp(make: Any) -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(20, 30), make(), Spikes(), nn.Linear(30, 24), make(), Spikes(), nn.Linear(24, 5)
    )
    with torch.no_grad():
        net[0].weight.mul_(4.0)
        net[3].weight.mul_(4.0)
    return net


def conv(make: Any) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        layer.Conv2d(2, 8, 3, padding=1, step_mode="m"), make(), Spikes(),
        layer.Conv2d(8, 6, 3, padding=1, step_mode="m"), make(), Spikes(), nn.Flatten(2), nn.Linear(150, 5),
    )  # fmt: skip


SERIES = {
    "time first": (Own, 0),
    "with a step mode of its own": (OwnStepMode, 0),
    "batch first": (OwnBatchFirst, 1),
    "norse": (norse_lif, 0),
    "sinabs": (sinabs_lif, 1),
    "SpikingJelly": (lambda: lif("m"), 0),
}


@pytest.mark.parametrize(
    ("example", "samples", "reads"),  # also as many samples as time steps, and as inputs
    [(1, 3, "trace"), (4, 4, "trace"), (4, 4, "series"), (1, 20, "series")],
)
@pytest.mark.parametrize("kind", SERIES)
def test_traces_of_neurons_that_take_the_whole_series(
    kind: str, example: int, samples: int, reads: str
) -> None:
    make, time = SERIES[kind]
    net = mlp(make)
    x = torch.rand(4, samples, 20, generator=torch.Generator().manual_seed(1)) * 3
    method, taken = Recorded(reads), x.movedim(0, time)
    pruner = Pruner(
        net, x[:, :1].expand(4, example, 20).movedim(0, time), method, epochs=2, neurons=(type(net[1]),)
    )
    seen: dict[int, Tensor] = {}
    for number in (2, 5):
        net[number].register_forward_hook(lambda m, a, y, key=number: seen.__setitem__(key, y.detach()))
    net(taken).square().mean().backward()
    pruner.step()
    (got,) = method.batches
    spikes = {number: y.movedim(time, 0) for number, y in seen.items()}
    assert spikes[2].sum() > 0
    for name, pre, post in (("0", x, spikes[2]), ("3", spikes[2], spikes[5])):
        for value, series in ((got[name].pre, pre), (got[name].post, post)):
            torch.testing.assert_close(value, series if reads == "series" else traced(series))


@pytest.mark.parametrize("samples", [4, 6])  # as many as time steps, or not
@pytest.mark.parametrize("kind", ["time first", "with a step mode of its own", "SpikingJelly"])
def test_convolutions_in_front_of_them(kind: str, samples: int) -> None:
    net = conv(SERIES[kind][0])
    x = torch.rand(4, samples, 2, 5, 5, generator=torch.Generator().manual_seed(1))
    method = Recorded("trace")
    pruner = Pruner(net, x, method, epochs=2, neurons=(type(net[1]),))
    seen: list[Tensor] = []
    net[2].register_forward_hook(lambda m, a, y: seen.append(y.detach()))
    net(x).square().mean().backward()
    pruner.step()
    torch.testing.assert_close(method.batches[0]["0"].post, traced(seen[0].sum((-1, -2))))
    torch.testing.assert_close(method.batches[0]["3"].pre, traced(seen[0].sum((-1, -2))))


@pytest.mark.parametrize(
    ("make", "x", "reason"),
    [
        (Lateral, torch.rand(4, 3, 20), "depend on one another"),
    ],
)
def test_a_time_axis_that_cannot_be_told_keeps_a_population_whole(make: Any, x: Tensor, reason: str) -> None:
    net = mlp(make)
    found = discover(net, x, neurons=(type(net[1]),))
    assert not found.free()
    assert "neuron 1" in str(found.populations["0"].frozen)
    assert reason in str(found.populations["0"].frozen)


def test_the_time_axis_is_asked_of_a_neuron_and_not_of_its_class() -> None:
    time_first = discover(mlp(Own), torch.rand(5, 1, 20), neurons=(Own,))
    batch_first = discover(mlp(OwnBatchFirst), torch.rand(1, 5, 20), neurons=(Own,))
    no_time = discover(mlp(nn.ReLU), torch.rand(5, 1, 20))
    assert time_first.projections["3"].layout == Layout(samples=1, time=0)
    assert batch_first.projections["3"].layout == Layout(samples=0, time=1)
    assert no_time.projections["3"].layout == Layout()


class Looped(nn.Module):
    """A loop over time, and layers behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.c1, self.n1 = nn.Conv2d(2, 8, 3, padding=1), OwnStep()
        self.c2, self.n2 = nn.Conv2d(8, 6, 3, padding=1), OwnStep()
        self.f1, self.act, self.f2 = nn.Linear(216, 40), nn.ReLU(), nn.Linear(40, 5)

    def forward(self, x: Tensor) -> Tensor:
        v1 = v2 = torch.zeros(())
        total: Any = 0
        for step in x:
            s1, v1 = self.n1(self.c1(step), v1)
            s2, v2 = self.n2(self.c2(s1), v2)
            total = total + s2
        return self.f2(self.act(self.f1(total.flatten(1))))


class LoopedBatchFirst(Looped):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(0, 1))


@pytest.mark.parametrize("samples", [1, 10, 32])
@pytest.mark.parametrize("kind", [Looped, LoopedBatchFirst])
def test_multiply_accumulates_of_a_sample_do_not_depend_on_the_example(kind: Any, samples: int) -> None:
    shape = (10, samples) if kind is Looped else (samples, 10)
    found = discover(kind(), torch.rand(*shape, 2, 6, 6), neurons=(OwnStep,)).projections.values()
    # ten steps of 6 x 6 places for the convolutions, once for the layers behind the loop
    assert {p.name: p.positions * math.prod(p.shape) for p in found} == {
        "c1": 51_840, "c2": 155_520, "f1": 8_640, "f2": 200,
    }  # fmt: skip


@pytest.mark.parametrize("samples", [1, 3, 4])
@pytest.mark.parametrize(("kind", "positions"), [("time first", 4), ("batch first", 4), ("SpikingJelly", 4)])
def test_multiply_accumulates_of_whole_series(kind: str, positions: int, samples: int) -> None:
    make, time = SERIES[kind]
    net = mlp(make)
    found = discover(net, torch.rand(4, samples, 20).movedim(0, time), neurons=(type(net[1]),))
    assert [p.positions for p in found.projections.values()] == [positions] * 3


class Biased(Own):
    """Rests below its threshold for four steps without input, and fires then."""

    def forward(self, x: Tensor) -> Tensor:
        v, out = torch.zeros_like(x[0]), []
        for step in x:
            v = v + step + 0.1
            spikes = (v > 0.45).to(x)
            v = v * (1 - spikes)
            out.append(spikes)
        return torch.stack(out)


class BiasedBatchFirst(Biased):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(0, 1)).transpose(0, 1)


@pytest.mark.parametrize("kind", [Biased, BiasedBatchFirst])
def test_a_neuron_of_whole_series_that_fires_late_without_input_is_not_silent(kind: Any) -> None:
    x = torch.rand(4, 3, 20)
    x = x if kind is Biased else x.transpose(0, 1)
    with pytest.warns(UserWarning, match=r"population 0 can be masked but not compacted"):
        Pruner(mlp(kind), x, "magnitude", epochs=2, target=0.5, neurons=(kind,))


@pytest.mark.parametrize("kind", SERIES)
def test_a_network_of_such_neurons_is_cut_and_computes_the_same(kind: str) -> None:
    make, time = SERIES[kind]
    net, x = mlp(make), torch.rand(4, 3, 20).movedim(0, time) * 3
    pruner = Pruner(net, x, "magnitude", epochs=2, target=0.5, neurons=(type(net[1]),))
    pruner.masks.keep_units(pruner.topology.populations["0"], torch.arange(30) % 2 == 0)
    pruner.masks.refresh()
    pruner.masks.apply()
    small = snnprune.compact(copy.deepcopy(net), pruner.masks)
    assert small[0].weight.shape[0] == 15
    net.eval()
    small.eval()
    for each in (net, small):
        functional.reset_net(each)
        if hasattr(each[1], "reset_states"):
            each[1].reset_states()
            each[4].reset_states()
    torch.testing.assert_close(small(x), net(x))
