"""Recurrent layers: those whose spikes come back to them one time step later."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

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
