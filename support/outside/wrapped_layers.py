"""Norms between a layer and its neurons, layers whose weight is computed, and what is put around layers."""

from __future__ import annotations

import contextlib
import warnings
from typing import TYPE_CHECKING, Any

import torch
from spikingjelly.activation_based import layer, neuron
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from support.outside.parts import IMAGE, ROWS, named
from support.outside.trial import SAMPLES, STEPS, Trial

if TYPE_CHECKING:
    from collections.abc import Callable

ROW, FRAMES = (STEPS, SAMPLES, *ROWS), (STEPS, SAMPLES, *IMAGE)


def lif() -> nn.Module:
    return neuron.LIFNode(step_mode="m", v_threshold=0.3)


def convolved(norm: Callable[[int], nn.Module]) -> Callable[[], nn.Module]:
    """Return a builder of two convolutions, each with a norm and neurons, and a linear layer."""
    return lambda: nn.Sequential(
        layer.Conv2d(2, 8, 3, padding=1, step_mode="m"), norm(8), lif(),
        layer.Conv2d(8, 6, 3, padding=1, step_mode="m"), norm(6), lif(),
        nn.Flatten(2), nn.Linear(6 * 36, 3),
    )  # fmt: skip


def linear(change: Callable[[nn.Sequential], Any]) -> Callable[[], nn.Module]:
    """Return a builder of three linear layers, of which ``change`` changes something."""

    def build() -> nn.Module:
        net = nn.Sequential(nn.Linear(20, 16), lif(), nn.Linear(16, 12), lif(), nn.Linear(12, 3))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = change(net)
        return made if isinstance(made, nn.Module) and isinstance(made, (Guarded, Graphless)) else net

    return build


class Guarded(nn.Module):
    """Catches what its layers raise."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        with contextlib.suppress(ValueError):
            int("no number")
        return self.net(x)  # type: ignore[no-any-return]


class Graphless(Guarded):
    """A branch that depends on the values of its input."""

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x if x.mean() > 0.1 else x * 2)  # type: ignore[no-any-return]


def first(way: Callable[[nn.Module], Any]) -> Callable[[], nn.Module]:
    return linear(lambda net: way(net[0]))


def last(way: Callable[[nn.Module], Any]) -> Callable[[], nn.Module]:
    return linear(lambda net: way(net[4]))


def threshold_dependent(width: int) -> nn.Module:
    norm = layer.ThresholdDependentBatchNorm2d(alpha=1.0, v_th=0.3, num_features=width)
    norm.step_mode = "m"
    return norm


def per_step(kind: type[nn.Module]) -> Callable[[int], nn.Module]:
    return lambda width: kind(T=STEPS, num_features=width)  # type: ignore[call-arg]


_NORMS: dict[str, Callable[[int], nn.Module]] = {
    "BatchNorm2d of SpikingJelly": lambda width: layer.BatchNorm2d(width, step_mode="m"),
    "ThresholdDependentBatchNorm2d": threshold_dependent,
    "TemporalEffectiveBatchNorm2d": per_step(layer.TemporalEffectiveBatchNorm2d),
    "GroupNorm": lambda width: layer.SeqToANNContainer(nn.GroupNorm(2, width)),
    "InstanceNorm2d": lambda width: layer.SeqToANNContainer(nn.InstanceNorm2d(width, affine=True)),
    "LayerNorm over the picture": lambda width: nn.LayerNorm((width, 6, 6)),
    "Dropout2d": lambda width: layer.Dropout2d(0.2, step_mode="m"),
}

_BOTH = ("0", "2")

_WAYS: dict[str, Callable[[nn.Module], Any]] = {
    "weight_norm": parametrizations.weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "weight_norm, old": nn.utils.weight_norm,
    "spectral_norm, old": nn.utils.spectral_norm,
    "torch prune before remove": lambda module: prune.random_unstructured(module, "weight", 0.2),
    "requires_grad False": lambda module: module.requires_grad_(False),
}

TRIALS = named(
    (
        *(Trial(name, convolved(norm), FRAMES) for name, norm in _NORMS.items()),
        *(Trial(f"{name}, first layer", first(way), ROW) for name, way in _WAYS.items()),
        *(Trial(f"{name}, output layer", last(way), ROW) for name, way in _WAYS.items()),
        Trial(
            "lazy layers",
            lambda: nn.Sequential(nn.LazyLinear(16), lif(), nn.LazyLinear(12), lif(), nn.LazyLinear(3)),
            ROW,
        ),
        Trial("an exception that forward catches", linear(Guarded), ROW),
        Trial("a branch on the input's values", linear(Graphless), ROW),
        Trial("torch.jit.script of a layer",
              linear(lambda net: net.__setitem__(2, torch.jit.script(net[2]))), ROW),
        Trial("nn.Identity and Sequential around layers",
              linear(lambda net: net.__setitem__(2, nn.Sequential(nn.Identity(), net[2]))), ROW),
    )
)  # fmt: skip
"""What becomes of each is computed, not expected here (`benchmarks.networks.outside`)."""
