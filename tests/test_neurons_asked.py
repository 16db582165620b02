"""What a copy of a neuron is asked: whose its values are, and what it hands out, in training as well."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from spikingjelly.activation_based import layer, neuron
from test_any_loop import SPIKE, OwnStep, lif
from torch import Tensor, nn

import snnprune
from snnprune.network import Slot, discover
from snnprune.network.topology import OUTPUT
from support.families import half_dead

STEPS = 4


def small(net: nn.Module, x: Tensor, neurons: Any) -> snnprune.Agreement:
    """Let half of each free population die, cut, and compare."""
    masks = half_dead(net, discover(net, x, neurons=neurons))
    return snnprune.verify(net, snnprune.compact(net, masks), x, neurons=neurons)


def mlp(*middle: Any) -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(20, 30), middle[0], nn.Linear(30, 24), middle[1], nn.Linear(24, 5))
    with torch.no_grad():
        net[0].weight.mul_(4.0)
        net[2].weight.mul_(4.0)
    return net


# --- whose the values of a neuron are


class Threshold(nn.Module):
    """Fires above a threshold for each unit, or above what all thresholds make together."""

    def __init__(self, shape: tuple[int, ...], *, together: bool) -> None:
        super().__init__()
        self.threshold, self.together = nn.Parameter(torch.full(shape, 0.1)), together

    def forward(self, x: Tensor) -> Tensor:
        return SPIKE(x - (self.threshold.sum() if self.together else self.threshold))


@pytest.mark.parametrize(
    ("shape", "together", "slots"),
    [((5, 1, 1), False, True), ((5, 1, 1), True, False), ((7,), True, False), ((1,), False, False)],
)
def test_a_value_belongs_to_the_unit_that_answers_to_it(
    shape: tuple[int, ...], together: bool, slots: bool
) -> None:
    net = nn.Sequential(
        nn.Conv2d(2, 5, 3), Threshold(shape, together=together), nn.Flatten(), nn.Linear(500, 4)
    )
    x = torch.rand(2, 2, 12, 12)
    population = discover(net, x, neurons=(Threshold,)).populations["0"]
    assert population.frozen is None
    assert (Slot("1", "threshold", 0, "neuron") in population.slots) == slots
    assert small(net, x, (Threshold,)).difference < 1e-5


def test_a_kernel_over_time_as_long_as_there_are_units_belongs_to_none() -> None:
    net = nn.Sequential(layer.Linear(6, 5), neuron.SlidingPSN(k=5, step_mode="m"), layer.Linear(5, 2))
    population = discover(net, torch.rand(3, 2, 6)).populations["0"]
    assert population.frozen is None
    assert {slot.role for slot in population.slots} == {"out", "in"}
    assert small(net, torch.rand(3, 2, 6) * 3, ()).difference < 1e-5


class TwoInTraining(nn.Module):
    """Hands out its spikes, and in training another tensor with them, which the next layer learns from."""

    def forward(self, x: Tensor) -> Any:
        spikes = SPIKE(x - 0.3)
        return [spikes, spikes / 2] if self.training else spikes


def test_a_neuron_that_hands_out_more_in_training_keeps_its_population_whole() -> None:
    net = nn.Sequential(nn.Linear(6, 5), TwoInTraining(), nn.Linear(5, 2))
    reason = str(discover(net, torch.rand(3, 6), neurons=(TwoInTraining,)).populations["0"].frozen)
    assert "neuron 1 hands out 2 tensors in training and 1 in evaluation" in reason


# --- what is handed out


class Leaky(nn.Module):
    """Hands out its potential with its spikes; ``rest`` is what the potential is without input."""

    def __init__(self, rest: float = 0.0) -> None:
        super().__init__()
        self.rest = rest

    def forward(self, x: Tensor, v: Tensor | None = None) -> tuple[Tensor, Tensor]:
        v = self.rest + x / 2 if v is None else v / 2 + (self.rest + x) / 2
        spikes = SPIKE(v - 0.3)
        return spikes, v * (1 - spikes)


class Handing(nn.Module):
    """Hands out spikes or potentials of its hidden layer, or reads the potentials."""

    def __init__(self, what: str, rest: float = 0.0) -> None:
        super().__init__()
        self.fc1, self.n1, self.fc2 = nn.Linear(20, 30), Leaky(rest), nn.Linear(30, 4)
        self.what = what

    def forward(self, x: Tensor) -> Any:
        v, told, also = None, [], []
        for step in x:
            spikes, v = self.n1(self.fc1(step), v)
            told.append(self.fc2(v if self.what == "read" else spikes))
            also.append(spikes if self.what == "spikes" else v)
        return torch.stack(told) if self.what == "read" else (torch.stack(told), torch.stack(also), [v])


@pytest.mark.parametrize(
    ("what", "rest", "reason"),
    [
        ("potentials", 0.0, None),
        ("potentials", -0.1, None),
        ("spikes", 0.0, OUTPUT),
        ("read", 0.0, None),
        ("read", -0.1, "a layer reads the state of neuron n1, which is not zero without input"),
    ],
)
def test_a_state_may_be_handed_out_and_activity_is_the_output(
    what: str, rest: float, reason: str | None
) -> None:
    torch.manual_seed(0)
    net, x = Handing(what, rest), torch.rand(STEPS, 3, 20) * 3
    found = discover(net, x, neurons=(Leaky,))
    assert found.populations["fc1"].frozen == reason
    assert found.populations["fc2"].frozen == OUTPUT
    if reason is None:
        masks = half_dead(net, found)
        compact = snnprune.compact(net, masks)
        if what == "potentials":
            assert [t.shape[-1] for t in compact(x)[:2]] == [4, 15]
        agreement = snnprune.verify(net, compact, x, neurons=(Leaky,))
        assert agreement.difference < 1e-5
        assert agreement.flipped == 0


@pytest.mark.parametrize("decode", [None, "max-mem", "mean-mem", "last_mem"])
def test_a_readout_that_returns_something_else_than_a_series_is_the_output(decode: str | None) -> None:
    net = nn.Sequential(
        nn.Linear(20, 16), lif("m"), nn.Linear(16, 4), neuron.NonSpikingLIFNode(decode=decode)
    )
    found = discover(net, torch.rand(STEPS, 2, 20))
    assert [p.name for p in found.free()] == ["0"]
    assert found.projections["2"].output


def test_votes_of_the_last_layer_are_the_output() -> None:
    net = nn.Sequential(nn.Linear(20, 16), lif("m"), nn.Linear(16, 20), lif("m"), layer.VotingLayer(5, "m"))
    assert discover(net, torch.rand(STEPS, 2, 20)).projections["2"].output


# --- neurons that nobody named, that cannot be copied, that are put at rest


def test_a_neuron_that_nobody_named_is_named_whatever_its_first_operation() -> None:
    class Adds(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return SPIKE(torch.zeros(x.shape).add(x) - 0.3)

    found = discover(mlp(Adds(), Adds()), torch.rand(3, 20))
    assert "pass neurons=(Adds,)" in str(found.populations["0"].frozen)


def test_a_module_that_cannot_be_copied_is_named() -> None:
    class Alone(OwnStep):
        def __deepcopy__(self, memo: Any) -> Any:
            raise AttributeError("'Alone' object has no attribute 'twin'")

    net = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2))
    net[1].add_module("inner", Alone())
    masks = half_dead(net, discover(net, torch.rand(3, 6)))
    with pytest.raises(snnprune.UserError, match=r"1\.inner \(Alone\) cannot be copied by copy\.deepcopy"):
        snnprune.compact(net, masks)


def test_a_neuron_that_cannot_be_copied_is_kept_whole_and_the_reason_says_so() -> None:
    class Own(Threshold):
        def __deepcopy__(self, memo: Any) -> Any:
            raise AttributeError("'Own' object has no attribute 'feedback.weight'")

    layers = Own((30,), together=False), Threshold((24,), together=False)
    found = discover(mlp(*layers), torch.rand(3, 20), neurons=(Own, Threshold))
    reason = str(found.populations["0"].frozen)
    assert "neuron 1: Own cannot be copied by copy.deepcopy ('Own' object has no attribute" in reason
    assert found.populations["2"].frozen is None


def test_neurons_with_reset_states_are_put_at_rest() -> None:
    class Stateful(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.v: Tensor | float = 0.0

        def reset_states(self, randomize: bool = False) -> None:
            self.v = 0.0

        def forward(self, x: Tensor) -> Tensor:
            self.v = self.v + x
            return SPIKE(self.v - 1.0)

    net, x = mlp(Stateful(), Stateful()), torch.rand(3, 20)
    with torch.no_grad():
        net(x)  # leaves states behind
    assert snnprune.verify(net, mlp(Stateful(), Stateful()), x, neurons=(Stateful,)).difference == 0.0
