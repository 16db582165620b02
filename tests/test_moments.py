"""The moments of a method: when each is called, what it may change, and what it may wake."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn
from torch.optim.optimizer import _global_optimizer_pre_hooks

from snnprune.pruning import Decision, Method, Pruner, View

if TYPE_CHECKING:
    from torch import Tensor

X = torch.ones(4, 3)


class Recorder(Method):
    """Notes each moment, with the first weight and gradient that it finds."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, float, float | None]] = []

    def note(self, moment: str, view: View) -> None:
        weight = view.model.get_parameter("0.weight")
        gradient = None if weight.grad is None else weight.grad[0, 0].item()
        self.seen.append((moment, weight[0, 0].item(), gradient))

    def after_backward(self, view: View) -> None:
        self.note("after_backward", view)
        for optimizer in view.optimizers:
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    parameter.grad.mul_(2)

    def after_step(self, view: View) -> None:
        self.note("after_step", view)


def network() -> nn.Sequential:
    model = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1.0)
    return model


def train_a_batch(model: nn.Module, optimizer: torch.optim.Optimizer, pruner: Pruner) -> None:
    optimizer.zero_grad()
    model(X).sum().backward()
    optimizer.step()
    pruner.step(optimizer)


def test_gradients_are_complete_before_the_step_and_may_be_changed() -> None:
    model, method = network(), Recorder()
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    with Pruner(model, X, method, epochs=1) as pruner:
        train_a_batch(model, optimizer, pruner)
    # 4 samples of ones through an outgoing weight of 1: a gradient of 4, doubled, times 0.5, off 1.
    assert method.seen == [("after_backward", 1.0, 4.0), ("after_step", -3.0, 8.0)]


def test_another_networks_optimiser_is_nothing_to_it() -> None:
    model, other, method = network(), network(), Recorder()
    optimizer = torch.optim.SGD(other.parameters(), 0.5)
    pruner = Pruner(model, X, method, epochs=1)
    other(X).sum().backward()
    optimizer.step()
    assert method.seen == []
    pruner.close()
    own = torch.optim.SGD(model.parameters(), 0.5)
    model(X).sum().backward()
    own.step()
    assert method.seen == []  # its hook went with close()


def test_a_pruner_that_is_forgotten_leaves_no_hook() -> None:
    gc.collect()  # those of other tests
    before = len(_global_optimizer_pre_hooks)
    pruner = Pruner(network(), X, Recorder(), epochs=1)
    assert len(_global_optimizer_pre_hooks) == before + 1
    del pruner
    gc.collect()
    assert len(_global_optimizer_pre_hooks) == before


class Rewirer(Method):
    """At each step, the other half of a layer's synapses lives."""

    permanent: ClassVar[bool] = False
    turn = 0

    def after_step(self, view: View) -> Decision:
        weight = view.model.get_parameter("0.weight")
        alive: Tensor = torch.arange(weight.numel()).view(weight.shape) % 2 == self.turn
        with torch.no_grad():
            weight[alive & (weight == 0)] = 0.25
        self.turn = 1 - self.turn
        return Decision(synapses={"0": alive})


def test_a_method_that_rewires_wakes_what_was_dead() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    with Pruner(model, X, Rewirer(), epochs=1) as pruner:
        train_a_batch(model, optimizer, pruner)
        assert model[0].weight.tolist() == [[1, 0, 1], [0, 1, 0]]
        train_a_batch(model, optimizer, pruner)
        assert model[0].weight.tolist() == [[0, 0.25, 0], [0.25, 0, 0.25]]
        assert pruner.masks.synapses["0"].tolist() == [[False, True, False], [True, False, True]]
