"""Time constants of neurons: one for a layer, or one for each neuron."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from snnprune.config.pace import STEP

SHAPE = 3.0
"""Shape of the gamma distribution of heterogeneous time constants (Perez-Nieves et al. 2021)."""

BOUNDS = (math.exp(-1), 0.995)
"""Bounds of a decay that is trained: time constants of 1 to 200 steps. **[reading]** Without bounds a decay
leaves (0, 1), and the potential grows without end."""


def decay(milliseconds: float) -> float:
    """Return exp(-STEP / tau): the share of a potential that is left after one step."""
    return math.exp(-STEP / milliseconds)


def heterogeneous(milliseconds: float, size: int) -> nn.Parameter:
    """Draw a decay for each neuron, to be trained with the weights (Perez-Nieves et al. 2021).

    Time constants have a gamma distribution of shape 3, so that its tail is long. The decays exp(-STEP / tau)
    are kept within `BOUNDS`.

    Args:
        milliseconds: mean of the time constants.
        size: number of neurons.

    Returns:
        A parameter [size], drawn from torch's global generator.
    """
    drawn = torch.distributions.Gamma(SHAPE, SHAPE / milliseconds).sample((size,))
    return nn.Parameter(torch.exp(-STEP / drawn).clamp(*BOUNDS))


def bounded(value: Tensor | float) -> Tensor | float:
    """Return a decay that is trained within `BOUNDS`, and a constant as it is."""
    return value.clamp(*BOUNDS) if isinstance(value, Tensor) else value
