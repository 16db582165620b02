"""LIF neurons with a time constant of their own each, which is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from spikingjelly.activation_based import neuron, surrogate

from snnprune.nn.models.decays import bounded, heterogeneous

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


class HeterogeneousLIFNode(neuron.BaseNode):
    """LIF neurons whose decays are parameters, one for each neuron (Perez-Nieves et al. 2021).

    With x the current, y the spikes and a the decays [size], kept within `snnprune.nn.models.decays.BOUNDS`::

        u[t] = a v[t-1] + (1 - a) x[t]
        y[t] = 1 if u[t] >= 1 else 0
        v[t] = u[t] (1 - y[t])                  v[-1] = 0

    The reset is that of SpikingJelly's ``LIFNode``, which this neuron is where all decays are equal.
    **[reading]** The paper trains the time constants of synapses as well. Here the current of a spike lasts
    one step, which at frames of 10 ms is about as long as the paper's synapses take.

    Source: Perez-Nieves, Leung, Dragotti and Goodman, Nature Communications 12:5791, 2021.

    Args:
        size: number of neurons.
        milliseconds: mean of the time constants at first (`decays.heterogeneous`).
        surrogate_function: the derivative of the spike.
        detach_reset: exclude the reset, the factor (1 - y[t]), from the gradient.
        step_mode: "m" for currents [T, B, size], "s" for those of one step, [B, size].

    Examples:
        >>> import torch
        >>> from snnprune.nn.models.heterogeneous import HeterogeneousLIFNode
        >>> node = HeterogeneousLIFNode(2, step_mode="m")
        >>> _ = node.decay.data.copy_(torch.tensor([0.5, 0.9]))
        >>> node(torch.full((3, 1, 2), 1.5)).detach().squeeze(1)
        tensor([[0., 0.],
                [1., 0.],
                [0., 0.]])
    """

    def __init__(
        self,
        size: int,
        milliseconds: float = 20.0,
        surrogate_function: Callable[[Tensor], Tensor] | None = None,
        *,
        detach_reset: bool = False,
        step_mode: str = "s",
    ) -> None:
        super().__init__(
            v_threshold=1.0,
            v_reset=0.0,
            surrogate_function=surrogate_function or surrogate.SoftSign(alpha=2.0),
            detach_reset=detach_reset,
            step_mode=step_mode,
        )
        self.decay = heterogeneous(milliseconds, size)

    def single_step_functional_forward(self, inputs: Any, states: Any, **_: Any) -> Any:
        """Compute one step: (current [B, size],), (potential,) to (spikes,), (potential,)."""
        a = bounded(self.decay)
        u = a * states[0] + (1 - a) * inputs[0]
        y = self.surrogate_function(u - self.v_threshold)
        reset = y.detach() if self.detach_reset else y
        return (y,), (self.apply_hard_reset(u, reset, self.v_reset),)
