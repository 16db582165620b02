"""The base of methods with hidden values beside every weight: Deep R, Grad R, STDS, ADMM.

They prune single synapses of every layer but the output, convolutions included. The same share of each layer
is left at the end, solved from the target. A layer whose share is 0 is trained as without the method.

[reading] The papers use plain gradient descent. Here the user's optimiser trains the weights. For an active
synapse, the change that the optimiser made counts as the gradient step: with SGD the rule is the paper's, and
with Adam the step is Adam's. For a dormant synapse, whose moments are kept at zero, the step is lr times the
gradient, with the learning rate of the weight's parameter group.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch

from snnprune.config.schema import MethodConfig
from snnprune.pruning.aims import Aims
from snnprune.pruning.method import Method
from snnprune.pruning.plans import Plans
from snnprune.pruning.solver import is_prunable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

    from snnprune.network.topology import Projection
    from snnprune.pruning.distribution import Scope
    from snnprune.pruning.target import Plan
    from snnprune.pruning.view import View


class HiddenMethod(Aims, Method):
    """A method with a state beside the weights, which a subclass declares in ``axes``.

    Args:
        target: share of all weights to prune.
        aims: further targets, and how they are distributed: the options of `Aims`.

    Raises:
        ValueError: no target, or one outside [0, 1); a scope that ranks scores or looks at a trained network.
    """

    scopes: ClassVar[tuple[Scope, ...]] = ("local", "erk")  # their layers are sparse before there are scores

    def __init__(self, target: float | None = MethodConfig.target, **aims: Any) -> None:
        Aims.__init__(self, target, **aims)
        self.need()
        self.target = self.targets[0]
        self._plans = Plans(self.targets, neurons=False, convolutions=True)

    def plans(self, view: View) -> list[Plan]:
        """Return what each target leaves at the end (see `share`)."""
        return self._plans.of(view)

    def share(self, view: View, projection: Projection) -> float:
        """Return the share of a projection's synapses to leave at the end, by the tightest target."""
        return min((plan.synapses[projection.name] for plan in self._plans.of(view)), default=1.0)

    def weights(self, view: View) -> Iterator[tuple[Projection, nn.Parameter]]:
        """Yield the projections whose synapses are to be pruned, with their weights.

        A layer of which a target of 0 leaves everything is trained by the optimiser alone.
        """
        for p in view.topology.projections.values():
            if is_prunable(p, convolutions=True) and (self.target is None or self.share(view, p) < 1.0):
                yield p, view.model.get_parameter(p.weight)


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
