"""The spiking neuron of the DPAP paper, as SpikingJelly's LIFNode."""

from __future__ import annotations

from spikingjelly.activation_based import neuron, surrogate

DECAY = 0.2
"""lambda of equation (1): the share of a potential that is left after one step."""

THRESHOLD = 0.5
"""V_th of equation (2)."""

WINDOW = 1.0
"""a of equation (4): width of the potentials around V_th through which a gradient passes."""


def lif(detach_reset: bool = False) -> neuron.LIFNode:
    """Return a layer of the paper's neurons: it maps [T, B, ...] to spikes of the same shape.

    With ``u`` the potential, ``o`` the spikes and ``I`` the input current, DPAP equations (1), (2) and (4):

        u[t+1] = lambda * u[t] * (1 - o[t]) + I[t+1]        lambda = 0.2
        o[t]   = 1 if u[t] >= V_th else 0                   V_th = 0.5
        do/du  = 1/a if |u - V_th| < a/2 else 0             a = 1

    SpikingJelly writes the leak as 1 - 1/tau.

    Args:
        detach_reset: exclude the reset, the factor (1 - o[t]), from the gradient. The equations include it.
    """
    return neuron.LIFNode(
        tau=1 / (1 - DECAY),
        decay_input=False,
        v_threshold=THRESHOLD,
        v_reset=0.0,
        surrogate_function=surrogate.Rect(alpha=1 / WINDOW),
        detach_reset=detach_reset,
        step_mode="m",
    )
