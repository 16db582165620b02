"""The leaky integrator: a readout that does not spike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from spikingjelly.activation_based import base

if TYPE_CHECKING:
    from torch import Tensor


class LeakyIntegrator(base.MemoryModule):
    """Units with a potential that leaks and never spikes; the potential is the output.

    With x the current and k the decay::

        v[t] = k v[t-1] + (1 - k) x[t]          v[-1] = 0

    This is the readout of Cramer et al. (IEEE TNNLS 33, 2022), a LIF neuron that never reaches its threshold,
    and of Yin et al. (Nature Machine Intelligence 3, 2021). SpikingJelly's ``NonSpikingLIFNode`` is not used:
    it answers with a list of steps, and has no single-step mode.

    Args:
        decay: k, the share of a potential that is left after a step, in [0, 1).
        step_mode: "m" for currents [T, B, ...], "s" for those of one step, [B, ...].

    Raises:
        ValueError: the decay is out of its bounds.

    Examples:
        >>> import torch
        >>> from snnprune.nn.models.integrator import LeakyIntegrator
        >>> LeakyIntegrator(0.5)(torch.tensor([[[8.0]], [[0.0]], [[4.0]]])).flatten()
        tensor([4., 2., 3.])
    """

    def __init__(self, decay: float, *, step_mode: str = "m") -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"the decay of a potential must be at least 0 and below 1, and is {decay}")
        super().__init__()
        self.decay = decay
        self.register_memory("v", 0.0)
        self.step_mode = step_mode

    def materialize_states(self, inputs: Any, states: Any, step_mode: str) -> Any:
        """Return the potential before the first step: 0."""
        x = inputs[0] if step_mode == "s" else inputs[0][0]
        v = states[0]
        return (v if isinstance(v, torch.Tensor) and v.shape == x.shape else torch.zeros_like(x),)

    def single_step_functional_forward(self, inputs: Any, states: Any, **_: Any) -> Any:
        """Compute one step: (current [B, ...],), (potential,) to the new potential, twice."""
        v: Tensor = self.decay * states[0] + (1 - self.decay) * inputs[0]
        return (v,), (v,)

    def extra_repr(self) -> str:
        """Return the constants."""
        return f"decay={self.decay:.4g}, step_mode={self.step_mode}"
