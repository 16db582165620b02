"""The base of methods with hidden values beside every weight: Deep R, Grad R, STDS, ADMM.

The same share of each layer is left at the end, solved from the target.

[reading] The papers use plain gradient descent. Here the user's optimiser trains the weights. For an active
synapse, the change that the optimiser made counts as the gradient step: with SGD the rule is the paper's, and
with Adam the step is Adam's. For a dormant synapse, whose moments are kept at zero, the step is lr times the
gradient, with the learning rate of the weight's parameter group.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from snnprune.methods.per_synapse import PerSynapse

if TYPE_CHECKING:
    from torch import Tensor, nn

    from snnprune.pruning.view import View


class HiddenMethod(PerSynapse):
    """A method with a state beside the weights, which a subclass declares in ``axes``."""


def learning_rates(view: View) -> dict[nn.Parameter, float]:
    """Return the learning rate of each parameter of the optimisers that the pruner has seen."""
    return {
        parameter: float(group["lr"])
        for optimizer in view.optimizers
        for group in optimizer.param_groups
        for parameter in group["params"]
    }


def signs(weight: Tensor) -> Tensor:
    """Return 1 or -1, int8, in the shape of the weight; 1 for a weight of 0."""
    return torch.where(weight < 0, -1, 1).to(torch.int8)


def active(weight: Tensor, strength: Tensor) -> Tensor:
    """Return, bool, which synapses are active: those whose weight is not 0, or else the strongest one."""
    alive = weight != 0
    if not alive.any():
        alive.view(-1)[strength.argmax()] = True
    return alive
