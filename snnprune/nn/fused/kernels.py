"""The kernels of each kind of device, and the error for second derivatives, which none of them has."""

from __future__ import annotations

import functools
import importlib
from typing import Any

import torch

from snnprune.common.errors import UserError


def kernels(device: str) -> Any:
    """Return the module with the kernels of a kind of device. Each module imports its own compiler."""
    return importlib.import_module(f"snnprune.nn.fused.{'gpu' if device == 'cuda' else 'cpu_run'}")


@functools.cache
def step_kernels() -> Any:
    """Return the module with the CPU's kernels for single time steps."""
    return importlib.import_module("snnprune.nn.fused.cpu_steps")


@functools.cache
def norm_kernels() -> Any:
    """Return the module with the CPU's kernels for batch norms in front of neurons."""
    return importlib.import_module("snnprune.nn.fused.cpu_norm")


@functools.cache
def spike_kernels() -> Any:
    """Return the module with the CPU's kernels for lists of spikes."""
    return importlib.import_module("snnprune.nn.fused.cpu_spikes")


def refuse_second_derivative() -> None:
    """Refuse a second derivative.

    Raises:
        UserError: it is called in a backward with ``create_graph=True``.
    """
    if torch.is_grad_enabled():
        raise UserError(
            "the fused LIF neuron has a first derivative only, and create_graph=True asks for a second: "
            "restore SpikingJelly's own neurons with snnprune.restore(model)"
        )
