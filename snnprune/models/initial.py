"""Initial weights that leave no layer silent and none saturated."""

from __future__ import annotations

from torch import nn


def initialise(network: nn.Module, gain: float) -> None:
    """Draw the weights of ``network`` from N(0, gain^2 / fan-in) and set its biases to zero, in place.

    An input of root mean square r gives a current with standard deviation gain * r. Two things bound the
    gain of a spiking layer. PyTorch's default has gain 1 / sqrt(3), and the output is silent. Gain 2 keeps
    a third of all neurons firing at any depth, but most membranes then stand outside the window of the
    surrogate, 0 < u < 2 V_th, where alone a gradient passes: after three epochs on the simulated digits
    such a network had learnt half of what others had (46 % of the test set against 83 to 88 %). With
    sqrt(2), the gain of ReLUs (He et al. 2015), 3 to 16 % of the neurons of every layer fire, on
    recordings and on images.

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
