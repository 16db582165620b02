"""Traces, BCM, spines, Hebb and STDP of a layer that is wired to itself: on paper, and against a plain loop.

Three neurons with a threshold of 1 that forget nothing, unit weights, three time steps::

    input      1 0 0    1 0 0    0 0 0        unit 0 is driven at the steps 0 and 1
    feedback   1 hears 0, 2 hears 1, 0 hears 2, each with weight 1, one step later
    spikes     1 0 0    1 1 0    0 1 1
    arriving   0 0 0    1 0 0    1 1 0        the spikes of the step before
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import Tensor, nn

from snnprune.methods.dpap import BCM
from snnprune.methods.hebb import HebbCriterion
from snnprune.methods.stdp import STDPCriterion
from snnprune.network import discover
from snnprune.network.synops import SpikeCounter
from snnprune.nn.recurrent import Recurrent
from snnprune.pruning import TraceRecorder

if TYPE_CHECKING:
    from collections.abc import Callable

    from snnprune.pruning import Activity

DRIVEN = torch.tensor([[[1.0, 0, 0]], [[1, 0, 0]], [[0, 0, 0]]], dtype=torch.float64)
RING = torch.tensor([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]], dtype=torch.float64)
ARRIVING = [[0.0, 0, 0], [1, 0, 0], [1, 1, 0]]
SPIKES = [[1.0, 0, 0], [1, 1, 0], [0, 1, 1]]


def neurons() -> nn.Module:
    return neuron.IFNode(surrogate_function=surrogate.ATan())


class Hand(nn.Module):
    """A loop written by hand.

    Args:
        way: what the recurrent layer does at the first step: it reads "zeros", or is "left out"; or it is
            called "at the end" of each step for the next one.
    """

    def __init__(self, way: str, units: int = 3) -> None:
        super().__init__()
        self.fc, self.rec = nn.Linear(units, units, bias=False), nn.Linear(units, units, bias=False)
        self.neurons, self.out, self.way = neurons(), nn.Linear(units, 2), way

    def forward(self, x: Tensor) -> Tensor:
        told, spikes, back = [], None if self.way == "left out" else x.new_zeros(x[0].shape), None
        for step in x:
            current = self.fc(step)
            if self.way == "at the end":
                current = current if back is None else current + back
            elif spikes is not None:
                current = current + self.rec(spikes)
            spikes = self.neurons(current)
            back = self.rec(spikes) if self.way == "at the end" else None
            told.append(self.out(spikes))
        return torch.stack(told)


def series(units: int = 3, mode: str = "m") -> nn.Module:
    return nn.Sequential(
        layer.Linear(units, units, bias=False, step_mode=mode), Recurrent(neurons(), units, step_mode=mode),
        layer.Linear(units, 2, step_mode=mode),
    )  # fmt: skip


def container(units: int = 3) -> nn.Module:
    return nn.Sequential(
        layer.LinearRecurrentContainer(neurons(), units, units, bias=False, step_mode="m"),
        layer.Linear(units, 2, step_mode="m"),
    )


NETWORKS: dict[str, tuple[Callable[..., nn.Module], str]] = {
    "Recurrent": (series, "1.feedback"),
    "Recurrent, step by step": (lambda units=3: series(units, "s"), "1.feedback"),
    "LinearRecurrentContainer": (container, "0.rc"),
    **{
        way: (lambda units=3, way=way: Hand(way, units), "rec") for way in ("zeros", "left out", "at the end")
    },
}
every_way = pytest.mark.parametrize("way", NETWORKS)


def network(way: str, incoming: Tensor, feedback: Tensor) -> tuple[nn.Module, str]:
    """Return a network with these weights, and the name of its recurrent layer."""
    build, name = NETWORKS[way]
    net = build(len(feedback)).double()
    with torch.no_grad():
        if way == "LinearRecurrentContainer":
            net.get_parameter("0.rc.weight").copy_(torch.cat([incoming, feedback], 1))
        else:
            net.get_parameter("fc.weight" if name == "rec" else "0.weight").copy_(incoming)
            net.get_parameter(f"{name}.weight").copy_(feedback)
    return net, name


def activity(way: str, net: nn.Module, name: str, x: Tensor, keep: Any) -> Activity:
    """Return what is recorded of the recurrent layer on ``x``, the columns of the feedback alone."""
    single = "step by step" in way
    topology = discover(net, x[0] if single else x)
    recorder = TraceRecorder(net, topology, keep=keep)
    functional.reset_net(net.train())
    loss: Any = sum(net(step).sum() for step in x) if single else net(x).sum()
    loss.backward()
    functional.reset_net(net)
    found = recorder.batch()[name]
    recorder.close()
    return type(found)(found.pre[..., -x.shape[-1] :], found.post)


@every_way
def test_on_paper(way: str) -> None:
    net, name = network(way, torch.eye(3), RING)
    given = activity(way, net, name, DRIVEN, "series")
    assert given.pre.squeeze(1).tolist() == ARRIVING
    assert given.post.squeeze(1).tolist() == SPIKES
    traces = activity(way, net, name, DRIVEN, "trace")
    assert traces.pre.tolist() == [[1.5, 1.0, 0.0]]  # 1 + 1/2; 1; nothing of unit 2 has arrived
    assert traces.post.tolist() == [[0.75, 1.5, 1.0]]  # 1/4 + 1/2; 1/2 + 1; 1

    found = discover(net, DRIVEN[0] if "step by step" in way else DRIVEN).projections[name]
    projection, view = replace(found, shape=(3, 3)), Any  # the columns of the feedback alone
    bcm = BCM()
    bcm.observe(projection, traces, 1)
    expected = [[0.84375, 0.5625, 0], [3.375, 2.25, 0], [1.5, 1.0, 0]]  # the square of post times pre
    assert bcm.synapse_score(projection, view).tolist() == expected  # type: ignore[arg-type,union-attr]
    assert bcm.state[name]["theta"].tolist() == [0.75, 1.5, 1.0]
    alive = torch.ones(3, 3, dtype=torch.bool)
    spines = bcm.neuron_score(projection, alive, view)  # type: ignore[arg-type]
    assert spines is not None
    assert spines.tolist() == [0.75 * 1.40625, 1.5 * 5.625, 1.0 * 2.5]

    hebb = HebbCriterion()
    hebb.observe(projection, traces, 1)
    expected = [[1.125, 0.75, 0], [2.25, 1.5, 0], [1.5, 1.0, 0]]
    assert hebb.synapse_score(projection, view).tolist() == expected  # type: ignore[arg-type,union-attr]

    # Pairs (post at, pre at), + 1/2 where pre comes a step before, - 1/2 and - 1/4 where one and two behind:
    # unit 0 fires at 0 and 1, pre 0 arrives at 1 and 2: (0,1) (0,2) (1,2): - 1/2 - 1/4 - 1/2; and so on.
    stdp = STDPCriterion()
    stdp.observe(projection, given, 1)
    expected = [[-1.25, -0.75, 0], [0.0, -0.5, 0], [0.5, 0.0, 0]]
    assert stdp.synapse_score(projection, view).tolist() == expected  # type: ignore[arg-type,union-attr]


def plain_loop(incoming: Tensor, feedback: Tensor, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Return what arrives at the feedback, and what is fired, step by step."""
    arriving, fired = [], []
    v = before = torch.zeros_like(x[0])
    for step in x:
        v = v + step @ incoming.T + before @ feedback.T
        arriving.append(before)
        before = (v >= 1).to(v)
        v = torch.where(v >= 1, torch.zeros_like(v), v)
        fired.append(before)
    return arriving, fired


@every_way
@pytest.mark.parametrize("steps", [1, 2, 6])
def test_against_a_plain_loop(way: str, steps: int) -> None:
    dice = torch.Generator().manual_seed(steps)
    incoming, feedback = torch.randn(2, 7, 7, generator=dice, dtype=torch.float64)
    example = torch.rand(3, 2, 7, generator=dice, dtype=torch.float64)
    x = torch.rand(steps, 5, 7, generator=dice, dtype=torch.float64) * 2
    net, name = network(way, incoming, feedback)
    arriving, fired = plain_loop(incoming, feedback, x)
    single = "step by step" in way
    recorder = TraceRecorder(net, discover(net, example[0] if single else example), keep="series")
    functional.reset_net(net.train())
    loss: Any = sum(net(step).sum() for step in x) if single else net(x).sum()
    loss.backward()
    found = recorder.batch()[name]
    assert torch.equal(found.pre[..., -7:], torch.stack(arriving))
    assert torch.equal(found.post, torch.stack(fired))
    assert steps == 1 or bool(found.pre[..., -7:].any())


@every_way
def test_operations_are_those_of_a_plain_count(way: str) -> None:
    net, name = network(way, torch.eye(3), RING)
    single = "step by step" in way
    topology = discover(net, DRIVEN[0] if single else DRIVEN)
    with torch.no_grad(), SpikeCounter(net.eval(), topology) as counter:
        functional.reset_net(net)
        for step in DRIVEN if single else [DRIVEN]:
            net(step)
        counted = counter.operations(1).layers[name]
    spikes = {"at the end": 5, "LinearRecurrentContainer": 3 + 2}.get(way, 3)
    assert (
        counted.synops == counted.synops_by_events == 3 * spikes
    )  # three that arrive, to three neurons each
    assert counted.macs == 0
    calls = {"left out": 2}.get(way, 3) / (3 if single else 1)
    columns = 6 if way == "LinearRecurrentContainer" else 3
    projection = topology.projections[name]
    assert projection.positions * projection.shape[0] * projection.shape[1] == calls * 3 * columns
