"""Which kernels run where, and what none of them does."""

from __future__ import annotations

import importlib
from typing import Any

import torch

from snnprune.common.errors import UserError


def kernels(device: str) -> Any:
    """Return the module with the kernels of a kind of device; each imports what it compiles with."""
    return importlib.import_module(f"snnprune.nn.fused.{'gpu' if device == 'cuda' else 'cpu_run'}")


def refuse_second_derivative() -> None:
    """Refuse to be differentiated once more.

    Raises:
        UserError: it is called in a backward that makes a graph.
    """
    if torch.is_grad_enabled():
        raise UserError(
            "the fused LIF neuron has a first derivative only, and create_graph=True asks for a second: "
            "restore SpikingJelly's own neurons with snnprune.restore(model)"
        )
