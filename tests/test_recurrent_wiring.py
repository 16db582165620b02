"""Random recurrent wiring: who reads whom, what arrives, what may go, and that a cut changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spikingjelly.activation_based import functional, neuron, surrogate
from torch import Tensor, nn

import snnprune
from snnprune.network import discover
from snnprune.pruning import Masks, TraceRecorder
from snnprune.pruning.compaction.removal import plan_cut

INPUTS, OUTPUTS, STEPS, SAMPLES = 3, 2, 4, 4

pytestmark = pytest.mark.usefixtures("one_thread")
# On a busy machine threads of torch wait for one another at each small product: ten times as long.


@dataclass(frozen=True)
class Loop:
    """A recurrent layer.

    Attributes:
        source: number of the hidden layer whose spikes come back.
        target: number of the hidden layer that hears them.
        delay: in time steps.
        first: what comes before there are spikes: "zeros", or "nothing": the layer is left out.
    """

    source: int
    target: int
    delay: int
    first: str


@dataclass(frozen=True)
class Plan:
    """A network.

    Attributes:
        sizes: of the hidden layers.
        loops: recurrent layers.
        norm: whether the current of each layer goes through a norm.
        spiking: whether neurons spike; else they are ReLUs.
        seed: of weights and masks.
        density: share of synapses that stay.
    """

    sizes: tuple[int, ...]
    loops: tuple[Loop, ...]
    norm: bool
    spiking: bool
    seed: int
    density: float


class Net(nn.Module):
    """A loop over time by hand, through all that a plan says."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        widths = [INPUTS, *plan.sizes]
        self.plan = plan
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, plan.sizes, strict=False))
        self.back = nn.ModuleList(
            nn.Linear(plan.sizes[e.source], plan.sizes[e.target], bias=False) for e in plan.loops
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(n) if plan.norm else nn.Identity() for n in plan.sizes)
        self.neurons = nn.ModuleList(_neurons(spiking=plan.spiking) for _ in plan.sizes)
        self.out = nn.Linear(plan.sizes[-1], OUTPUTS)

    def forward(self, x: Tensor) -> Tensor:
        told: list[list[Tensor]] = [[] for _ in self.layers]
        outputs = []
        for step in x:
            signal = step
            for number, each in enumerate(self.layers):
                current = self.norms[number](each(signal) + self._heard(number, told, step))
                signal = self.neurons[number](current)
                told[number].append(signal)
            outputs.append(self.out(signal))
        return torch.stack(outputs)

    def _heard(self, target: int, told: list[list[Tensor]], step: Tensor) -> Tensor | float:
        heard: Tensor | float = 0.0
        back: Any
        for loop, back in zip(self.plan.loops, self.back, strict=True):
            if loop.target != target:
                continue
            behind = len(told[target]) - loop.delay
            if behind >= 0:
                heard = heard + back(told[loop.source][behind])
            elif loop.first == "zeros":
                heard = heard + back(step.new_zeros(len(step), back.in_features))
        return heard


def _neurons(*, spiking: bool) -> nn.Module:
    return neuron.LIFNode(v_threshold=0.5, surrogate_function=surrogate.ATan()) if spiking else nn.ReLU()


@st.composite
def plans(draw: Any) -> Plan:
    sizes = tuple(draw(st.lists(st.integers(2, 5), min_size=1, max_size=3)))
    layers = st.integers(0, len(sizes) - 1)
    loop = st.builds(Loop, layers, layers, st.integers(1, 2), st.sampled_from(["zeros", "nothing"]))
    return Plan(
        sizes,
        tuple(draw(st.lists(loop, min_size=1, max_size=3))),
        draw(st.booleans()),
        draw(st.booleans()),
        draw(st.integers(0, 99)),
        draw(st.sampled_from([0.3, 0.6, 1.0])),
    )


def hold(plan: Plan) -> None:
    """Hold a network to what is promised."""
    dice = torch.Generator().manual_seed(plan.seed)
    torch.manual_seed(plan.seed)
    net = Net(plan).double()
    with torch.no_grad():
        for layer in (*net.layers, *net.back):
            layer.weight.mul_(3.0)
    x = torch.rand(STEPS, SAMPLES, INPUTS, generator=dice, dtype=torch.float64) * 3
    topology = discover(net, x)
    layers = [f"layers.{n}" for n in range(len(plan.sizes))]
    assert sorted(p.name for p in topology.free()) == layers, str(topology)
    for number, loop in enumerate(plan.loops):
        p = topology.projections[f"back.{number}"]
        assert [(i.population, i.offset) for i in p.inflow] == [(layers[loop.source], 0)]
        assert (p.post, p.neuron) == (layers[loop.target], f"neurons.{loop.target}")
        assert p.starts == (loop.delay if loop.first == "nothing" else 0)
    check_what_arrives(net, plan, topology, x)
    masks = wounded(net, plan, topology, dice)
    check_what_goes(net, masks)
    small = snnprune.compact(net, masks)
    agreement = snnprune.verify(net, small, x)
    assert agreement.flipped == 0
    assert agreement.difference < 1e-9


def check_what_arrives(net: Net, plan: Plan, topology: Any, x: Tensor) -> None:
    """Compare the series of each recurrent layer with the spikes that were seen, so many steps earlier."""
    recorder = TraceRecorder(net, topology, keep="series")
    seen: list[list[Tensor]] = [[] for _ in plan.sizes]
    handles = [
        each.register_forward_hook(lambda _m, _i, y, told=told: told.append(y.detach()))
        for each, told in zip(net.neurons, seen, strict=True)
    ]
    net.train()(x).sum().backward()
    functional.reset_net(net)
    found = recorder.batch()
    recorder.close()
    for handle in handles:
        handle.remove()
    for number, loop in enumerate(plan.loops):
        spikes = seen[loop.source]
        expected = [torch.zeros_like(spikes[0])] * loop.delay + spikes
        assert torch.equal(found[f"back.{number}"].pre, torch.stack(expected[:STEPS]))
        assert torch.equal(found[f"back.{number}"].post, torch.stack(seen[loop.target]))


def wounded(net: Net, plan: Plan, topology: Any, dice: torch.Generator) -> Masks:
    """Let units and synapses die by lot."""
    masks = Masks(net, topology)
    for population in topology.free():
        alive = torch.rand(population.size, generator=dice) < 0.7
        alive[0] = True
        masks.keep_units(population, alive)
    for p in topology.projections.values():
        masks.keep_synapses(p, torch.rand(p.shape, generator=dice) < plan.density)
    masks.refresh()
    masks.apply()
    return masks


def check_what_goes(net: Net, masks: Masks) -> None:
    """Compare the units that a cut leaves with a search of all ways to the output."""
    topology = masks.topology
    edges = {  # unit to unit, over living synapses
        ((i.population, int(pre)), (p.post, int(post)))
        for p in topology.projections.values()
        for i in p.inflow
        for post, pre in masks.alive(p)[:, i.offset : i.stop].nonzero().tolist()
    }
    useful = {("out", n) for n in range(OUTPUTS)}
    while more := {a for a, b in edges if b in useful} - useful:
        useful |= more
    cut = plan_cut(net, masks)
    for population in topology.free():
        stays = {(population.name, int(n)) for n in cut.unit(population.name).nonzero().flatten()}
        wanted = {unit for unit in useful if unit[0] == population.name}
        assert wanted <= stays
        if all(any(u[0] == p.name for u in useful) for p in topology.free()):
            assert stays == wanted  # otherwise the strongest unit of a population stays, with what it hears


QUICK = settings(
    max_examples=5, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
MANY = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@QUICK
@given(plans())
def test_random_wiring(plan: Plan) -> None:
    hold(plan)


@pytest.mark.slow
@MANY
@given(plans())
def test_a_lot_of_random_wiring(plan: Plan) -> None:
    hold(plan)
