"""What methods share that keep a hidden number beside every weight: Deep R, Grad R, STDS, ADMM.

They train single synapses of every layer but the output, convolutions included, and the same share of each
layer lives at the end, solved from the target.

[reading] The papers write plain gradient descent. Here the user's optimiser trains the weights: what it
changed of an active weight counts as the gradient step, so that with SGD the rule is the paper's and with
Adam it is Adam's. Of a dormant synapse, whose moments are kept at zero, lr times the gradient counts, with
the learning rate of the weight's own parameter group.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from snnprune.config.schema import MethodConfig
from snnprune.pruning.method import Method
from snnprune.pruning.target import aim, is_prunable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor, nn

    from snnprune.network.topology import Projection
    from snnprune.pruning.compaction.cut import Cut
    from snnprune.pruning.method import View
    from snnprune.pruning.target import Plan


class HiddenMethod(Method):
    """State beside the weights: tensors by projection and name, each shaped as the weight or a single number.

    Args:
        target: share of all weights to prune.
        target_macs: share of all multiply-accumulates to prune, in place of ``target``.
        layers: shares of single layers by name or glob, within either target.

    Raises:
        ValueError: no target, or one outside [0, 1).
    """

    def __init__(
        self,
        target: float | None = MethodConfig.target,
        *,
        target_macs: float | None = None,
        layers: Mapping[str, float] | None = None,
    ) -> None:
        goal = aim(target, target_macs, layers=layers)
        if goal is None:
            raise ValueError("it has no stopping of its own and needs a target, such as target=0.6")
        self._goal, self.target = goal, goal
        self.state: dict[str, dict[str, Tensor]] = {}
        self._plan: Plan | None = None

    def share(self, view: View, projection: Projection) -> float:
        """Return the share of a projection's synapses that should live at the end."""
        if self._plan is None:
            self._plan = self._goal.plan(view.dense, neurons=False, convolutions=True)
        return self._plan.synapses[projection.name]

    @staticmethod
    def weights(view: View) -> Iterator[tuple[Projection, nn.Parameter]]:
        """Yield the projections whose synapses may die, with their weights."""
        for p in view.topology.projections.values():
            if is_prunable(p, convolutions=True):
                yield p, view.model.get_parameter(p.weight)

    def shrink(self, cut: Cut) -> None:
        """Follow the network, which has been cut."""
        for name, state in self.state.items():
            p = cut.before.projections[name]
            for key, tensor in state.items():
                if tensor.ndim:
                    state[key] = cut.take(p.weight, tensor, p.shape)

    def state_dict(self) -> dict[str, Any]:
        """Return copies of the state."""
        return {name: {k: t.clone() for k, t in state.items()} for name, state in self.state.items()}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Put back what `state_dict` returned."""
        self.state = {
            name: {k: t.to(device, copy=True) for k, t in own.items()} for name, own in state.items()
        }


def learning_rates(view: View) -> dict[nn.Parameter, float]:
    """Return the learning rate of each parameter that an optimiser was seen to train."""
    return {
        parameter: float(group["lr"])
        for optimizer in view.optimizers
        for group in optimizer.param_groups
        for parameter in group["params"]
    }


def signs(weight: Tensor) -> Tensor:
    """Return 1 or -1, int8, in the shape of the weight; 1 for a weight of 0."""
    return torch.where(weight < 0, -1, 1).to(torch.int8)


def awake(weight: Tensor, strength: Tensor) -> Tensor:
    """Return which synapses live, bool: those whose weight is not 0; the strongest where that is nobody."""
    alive = weight != 0
    if not alive.any():
        alive.view(-1)[strength.argmax()] = True
    return alive
