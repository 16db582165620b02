"""snnprune: spiking neural networks that prune themselves while they learn.

>>> pruner = snnprune.Pruner(model, example_input, method="dpap", epochs=60)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from snnprune.export import load, save
    from snnprune.network import Topology, discover
    from snnprune.nn.fused import accelerate
    from snnprune.pruning import Masks, Pruner, compact, verify
    from snnprune.training.callbacks.pruning import PruningCallback

__version__ = "0.1.0"

__all__ = [
    "Masks",
    "Pruner",
    "PruningCallback",
    "Topology",
    "__version__",
    "accelerate",
    "compact",
    "discover",
    "load",
    "save",
    "verify",
]

# Imported when first asked for, so that the command line answers at once and DPAP needs no trainer.
_PLACES = {
    "Masks": "snnprune.pruning",
    "Pruner": "snnprune.pruning",
    "PruningCallback": "snnprune.training.callbacks.pruning",
    "Topology": "snnprune.network",
    "accelerate": "snnprune.nn.fused",
    "compact": "snnprune.pruning",
    "discover": "snnprune.network",
    "load": "snnprune.export",
    "save": "snnprune.export",
    "verify": "snnprune.pruning",
}


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name]), name)
    if name in {"dpap", "pruning", "network", "nn", "methods"}:
        return importlib.import_module(f"snnprune.{name}")
    raise AttributeError(f"module 'snnprune' has no attribute '{name}'")
