"""Initial weights that leave no layer silent and none saturated."""

from __future__ import annotations

from torch import nn


def initialise(network: nn.Module, gain: float) -> None:
    """Draw the weights of ``network`` from N(0, gain^2 / fan-in) and set its biases to zero, in place.

    An input of root mean square r gives a current with standard deviation gain * r. For a spiking layer the
    gain is 1 / V_th. Without leak and reset a neuron fires when a standard normal number z passes
    V_th / (gain * r), so from one fully connected layer to the next the share of spikes p follows

        p' = P(z > V_th / (gain * sqrt(p)))

    which for gain 1 / V_th = 2 has a stable fixed point near 0.3 (near 0.2 behind an average over four):
    rates are drawn to it from both sides at any depth. PyTorch's default has gain 1 / sqrt(3), and there the
    only fixed point is silence. For a ReLU the gain is sqrt(2) (He et al. 2015).

    Args:
        network: any module; convolutions and linear layers in it are initialised.
        gain: see above.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan_in = module.weight[0].numel()
            nn.init.normal_(module.weight, std=gain / fan_in**0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
