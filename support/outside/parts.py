"""What networks of several libraries are made of: loops over time, layers among others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.outside.trial import Trial

ROWS, IMAGE = (20,), (2, 6, 6)
"""Shapes of one sample at one time step."""

OUTPUT = "it is the output of the network"


def library(name: str) -> Any:
    """Return a module of another library; a test that needs it is skipped where it is not installed."""
    top = name.partition(".")[0]
    return pytest.importorskip(name, reason=f"needs {top}: pip install {top}")


def kinds_of(name: str) -> Callable[..., Callable[[], tuple[type[nn.Module], ...]]]:
    """Return ``kinds(*names)``, which makes a function that returns classes of the module ``name``."""
    return lambda *names: lambda: tuple(getattr(library(name), each) for each in names)


def mlp(make: Callable[[int], nn.Module], way: Any = nn.Sequential) -> Callable[[], nn.Module]:
    """Return a builder of three linear layers with neurons of ``make(width)`` between them."""
    return lambda: way(nn.Linear(20, 16), make(16), nn.Linear(16, 12), make(12), nn.Linear(12, 3))


class Steps(nn.Module):
    """A loop over time around a network that takes one step; neurons hold their states themselves."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Any:
        for module in self.net.modules():
            if hasattr(module, "reset_mem"):
                module.reset_mem()
        outputs = [self.net(step) for step in x]
        if isinstance(outputs[0], tuple):
            return tuple(torch.stack(each) for each in zip(*outputs, strict=True))
        return torch.stack(outputs)


class ByHand(nn.Module):
    """A loop over time that hands each neuron its states: those of the last step, None at first."""

    def __init__(self, layers: list[nn.Module], neurons: list[nn.Module], out: nn.Module) -> None:
        super().__init__()
        self.layers, self.neurons, self.out = nn.ModuleList(layers), nn.ModuleList(neurons), out

    def forward(self, x: Tensor) -> Tensor:
        states: list[tuple[Any, ...]] = [() for _ in self.neurons]
        answers = []
        for step in x:
            y = step
            for n, (layer, neuron) in enumerate(zip(self.layers, self.neurons, strict=True)):
                y, *states[n] = neuron(layer(y), *states[n])  # type: ignore[call-overload]
            answers.append(self.out(y))
        return torch.stack(answers)


def by_hand(make: Callable[[int], nn.Module]) -> Callable[[], nn.Module]:
    """Return a builder of three linear layers whose neurons are handed their states."""
    return lambda: ByHand([nn.Linear(20, 16), nn.Linear(16, 12)], [make(16), make(12)], nn.Linear(12, 3))


class Taken(nn.Module):
    """Takes one of the tensors that a module returns."""

    def __init__(self, module: nn.Module, number: int = 0) -> None:
        super().__init__()
        self.module, self.number = module, number

    def forward(self, x: Tensor) -> Tensor:
        taken: Tensor = self.module(x)[self.number]
        return taken


def named(trials: tuple[Trial, ...]) -> dict[str, Trial]:
    """Return trials by name.

    Raises:
        ValueError: two have the same name.
    """
    found = {trial.name: trial for trial in trials}
    if len(found) < len(trials):
        raise ValueError("two trials have the same name")
    return found
