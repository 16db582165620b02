"""The parts of a network: spiking layers with a time axis, or plain layers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import nn

from snnprune.nn.models.initial import initialise

if TYPE_CHECKING:
    from collections.abc import Callable

GAIN = math.sqrt(2)
"""Gain of the initial weights, for ReLUs (He et al. 2015) and spikes: see `snnprune.nn.models.initial`."""

ACTIVATIONS: dict[str, tuple[type[nn.Module], float]] = {
    "relu": (nn.ReLU, GAIN),
    "gelu": (nn.GELU, GAIN),
    "sigmoid": (nn.Sigmoid, 1.0),
}
"""Neurons of networks without time, and the gain of their initial weights (1: Glorot and Bengio 2010)."""


@dataclass(frozen=True)
class Kit:
    """The parts of a network, in a spiking and in a plain version.

    Attributes:
        layers: the module with ``Conv2d``, ``Linear`` and the others; SpikingJelly uses torch's names.
        extra: keyword arguments for each of these layers.
        neuron: makes a layer of neurons.
        suffix: of the names of layers of neurons.
        gain: of the initial weights of hidden layers, see `snnprune.nn.models.initial`.
        output: initial gain and bias of the output layer.
        spiking: whether the network has a time axis, and neurons at its output.
        loss: the loss that the network is trained with.
        dropout: share of the hidden fully connected units that each training step drops.
    """

    layers: Any
    neuron: Callable[[], nn.Module]
    suffix: str
    gain: float
    output: tuple[float, float]
    spiking: bool
    loss: str
    dropout: float = 0.0
    extra: dict[str, Any] = field(default_factory=dict)

    def weighted(self, kind: str, *args: Any, output: bool = False, **options: Any) -> nn.Module:
        """Make a convolution or linear layer with its initial weights."""
        layer = self.make(kind, *args, **options)
        initialise(layer, *(self.output if output else (self.gain,)))
        return layer

    def make(self, kind: str, *args: Any, **options: Any) -> nn.Module:
        """Make the layer that torch calls ``kind``."""
        layer: nn.Module = getattr(self.layers, kind)(*args, **options, **self.extra)
        return layer


def spiking(detach_reset: bool = False, dropout: float = 0.0) -> Kit:
    """Return the kit of SpikingJelly's multi-step layers, each followed by the paper's LIF neurons."""
    from spikingjelly.activation_based import layer  # noqa: PLC0415  ANNs work without SpikingJelly

    from snnprune.nn.models.lif import THRESHOLD, lif  # noqa: PLC0415

    return Kit(
        layers=layer,
        neuron=lambda: lif(detach_reset),
        suffix="lif",
        gain=GAIN,
        output=(0.1, 0.75 * THRESHOLD),
        spiking=True,
        loss="mse",
        dropout=dropout,
        extra={"step_mode": "m"},
    )


def analogue(activation: str = "relu", dropout: float = 0.0) -> Kit:
    """Return the kit of torch's layers, each followed by an activation. The output layer returns logits."""
    neuron, gain = ACTIVATIONS[activation]
    return Kit(
        layers=nn,
        neuron=neuron,
        suffix=activation,
        gain=gain,
        output=(1.0, 0.0),
        spiking=False,
        loss="cross-entropy",
        dropout=dropout,
    )
