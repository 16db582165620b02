"""LIF neurons with a threshold that rises with their own spikes."""

from __future__ import annotations

import math
from typing import Any

import torch
from spikingjelly.activation_based import neuron, surrogate
from torch import Tensor

from snnprune.nn.models.decays import bounded, decay, heterogeneous

MEMBRANE = 20.0
"""tau_m in milliseconds: the mean that the authors draw it with."""

ADAPTATION = 150.0
"""tau_adp in milliseconds: the mean that the authors draw it with for SHD."""

BASE = 0.01
"""b_0: the threshold of a neuron that has been silent."""

RISE = 1.8
"""beta: how far the threshold of a neuron that fires at every step rises."""


class MultiGaussian(surrogate.SurrogateFunctionBase):
    """A spike whose derivative is a Gaussian minus two wider ones (Yin et al. 2021).

    With N(u; m, s) the normal density::

        dy/du = g ((1 + h) N(u; 0, s) - h N(u; s, 6 s) - h N(u; -s, 6 s))      g = s = 0.5, h = 0.15
    """

    def __init__(self, spiking: bool = True) -> None:
        super().__init__(spiking=spiking)

    @staticmethod
    def spiking_function(x: Tensor) -> Tensor:
        """Return 1 where x >= 0, else 0, with the derivative above."""
        spikes: Tensor = _MultiGaussianSpike.apply(x)
        return spikes


class _MultiGaussianSpike(torch.autograd.Function):
    """The step, and its derivative."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return (x >= 0).to(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        around = _normal(x, 0.5, 3.0) + _normal(x, -0.5, 3.0)
        return gradients[0] * 0.5 * (1.15 * _normal(x, 0.0, 0.5) - 0.15 * around)


def _normal(x: Tensor, mean: float, deviation: float) -> Tensor:
    return torch.exp(-0.5 * ((x - mean) / deviation) ** 2) / (deviation * math.sqrt(2 * math.pi))


class AdaptiveLIFNode(neuron.BaseNode):
    """LIF neurons with an adaptive threshold, as Yin et al. (2021) train them on SHD.

    With x the current, y the spikes, a and r the decays of potential and adaptation::

        b[t] = r b[t-1] + (1 - r) y[t-1]                        b[-1] = y[-1] = 0
        B[t] = b_0 + beta b[t]                                  b_0 = 0.01, beta = 1.8
        v[t] = a v[t-1] + (1 - a) x[t] - B[t] y[t-1]            v[-1] = 0
        y[t] = 1 if v[t] >= B[t] else 0

    The decays are one constant for all neurons, or parameters [size] that are trained with the weights, as in
    the paper. **[reading]** The authors' code begins with random potentials; here a neuron begins at rest, so
    that one without input stays silent. It spikes strictly above the threshold; here it spikes at it, as
    SpikingJelly's neurons do. Trained decays have the bounds and the distribution of
    `snnprune.nn.models.decays`; the paper draws them from a normal distribution.

    Source: Yin, Corradi and Bohte, Nature Machine Intelligence 3:905-913, 2021, methods and code. The neuron
    is that of Bellec et al., NeurIPS 2018.

    Args:
        size: number of neurons; None for decays that all neurons share.
        detach_reset: exclude the reset, the term B[t] y[t-1] of the potential, from the gradient.
        step_mode: "m" for currents [T, B, size], "s" for those of one step, [B, size].

    Examples:
        >>> import torch
        >>> from snnprune.nn.models.adaptive import AdaptiveLIFNode
        >>> AdaptiveLIFNode(step_mode="m")(torch.full((8, 1, 1), 0.2)).flatten()  # its threshold rises
        tensor([1., 0., 0., 1., 0., 0., 0., 0.])
    """

    def __init__(self, size: int | None = None, *, detach_reset: bool = False, step_mode: str = "s") -> None:
        super().__init__(
            v_threshold=BASE,
            v_reset=None,
            surrogate_function=MultiGaussian(),
            detach_reset=detach_reset,
            step_mode=step_mode,
        )
        self.register_memory("b", 0.0)
        self.register_memory("y", 0.0)
        self.decay: Tensor | float
        self.adaptation: Tensor | float
        if size is None:
            self.decay, self.adaptation = decay(MEMBRANE), decay(ADAPTATION)
        else:
            self.decay, self.adaptation = heterogeneous(MEMBRANE, size), heterogeneous(ADAPTATION, size)

    def materialize_states(self, inputs: Any, states: Any, step_mode: str) -> Any:
        """Return potential, adaptation and spikes before the first step: 0."""
        x = inputs[0] if step_mode == "s" else inputs[0][0]
        held = isinstance(states[0], Tensor) and states[0].shape == x.shape
        return states if held else tuple(torch.zeros_like(x) for _ in states)

    def single_step_functional_forward(self, inputs: Any, states: Any, **_: Any) -> Any:
        """Compute one step: (current,), (v, b, y of the step before) to (spikes,), (v, b, y)."""
        v, b, y = states
        a, r = bounded(self.decay), bounded(self.adaptation)
        b = r * b + (1 - r) * y
        threshold = self.v_threshold + RISE * b
        v = a * v + (1 - a) * inputs[0] - threshold * (y.detach() if self.detach_reset else y)
        y = self.surrogate_function(v - threshold)
        return (y,), (v, b, y)
