"""Recurrent layers: those whose spikes come back to them one time step later."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from snnprune.network.leaves import spiking_base

if TYPE_CHECKING:
    from torch import Tensor

_KINDS = {
    "snnprune.nn.recurrent": ("Recurrent",),
    "spikingjelly.activation_based.layer": ("LinearRecurrentContainer", "ElementWiseRecurrentContainer"),
}
"""Where they come from: a network that has one has imported the module."""


def recurrent_kinds() -> tuple[type[nn.Module], ...]:
    """Return the classes of recurrent layers that have been imported."""
    found = ((sys.modules.get(place), names) for place, names in _KINDS.items())
    return tuple(getattr(module, name) for module, names in found if module is not None for name in names)


def recurrent_layers(model: nn.Module) -> dict[str, Any]:
    """Return the recurrent layers of ``model`` by name, in the order of its modules."""
    return {name: module for name, module in model.named_modules() if isinstance(module, recurrent_kinds())}


def inner(layer: Any) -> tuple[str, Any]:
    """Return the name, inside of the recurrent ``layer``, of the module that fires, and this module."""
    name = "neuron" if hasattr(layer, "neuron") else "sub_module"
    return name, getattr(layer, name)


@dataclass(frozen=True)
class Wiring:
    """The synapses of a recurrent layer: its neurons read ``forward(x[t]) + feedback y[t-1]``.

    Attributes:
        forward: a linear layer, None for the input itself.
        feedback: weight [units, units].
    """

    forward: nn.Module | None
    feedback: Tensor


def wiring(layer: Any, units: int) -> Wiring:
    """Return the synapses of the recurrent ``layer`` of ``units`` neurons that `why_not_wired` accepts."""
    if hasattr(layer, "feedback"):
        return Wiring(None, layer.feedback.weight.detach())
    if not hasattr(layer, "rc"):
        return Wiring(None, torch.eye(units))
    both, bias = layer.rc.weight.detach(), layer.rc.bias
    forward = nn.Linear(units, units, bias is not None, device=both.device, dtype=both.dtype)
    with torch.no_grad():
        forward.weight.copy_(both[:, :units])
        if bias is not None:
            forward.bias.copy_(bias)
    return Wiring(forward, both[:, units:])


def why_not_wired(layer: Any) -> str | None:
    """Return why the recurrent ``layer`` is not a layer of neurons with linear synapses, or None."""
    _, module = inner(layer)
    if not isinstance(module, spiking_base()):
        return f"it feeds back the output of a {type(module).__name__}, not of one layer of neurons"
    if hasattr(layer, "element_wise_function"):
        y, x = torch.randn(2, 64, generator=torch.Generator().manual_seed(0))
        if not torch.equal(layer.element_wise_function(y, x), x + y):
            return "it joins its input and its last spikes in another way than by adding them"
    return None
