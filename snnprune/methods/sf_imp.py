"""SF-IMP: prune the weights that are least likely to change a spike.

The score is that of the project's collection of methods: a weight changes a spike if the membrane potential
is as near to the threshold as the weight is large. [reading] The paper was not at hand; the equation is.
"""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from snnprune.methods.by_score import ByScore
from snnprune.pruning.criterion import Criterion
from snnprune.pruning.state import NUMBER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from snnprune.network.topology import Projection
    from snnprune.pruning.state import Axes
    from snnprune.pruning.view import View

SPREAD = 1e-12
"""Least variance of a potential: a neuron whose potential never moves is not divided by zero."""


class SpikeFlipCriterion(Criterion):
    """Scores a synapse by the chance that it changes a spike, and a neuron by the mean over its synapses.

    With V the membrane potential of the neuron behind the synapse, theta its threshold, gamma, var_B and eps
    of the batch norm between the two::

        score = |w| |gamma| / sqrt(var_B + eps) N(0; E[V - theta], Var[V])
        N(0; m, s^2) = exp(-m^2 / (2 s^2)) / sqrt(2 pi s^2)

    which is, for small weights, the chance that V lies within the change on one side of theta. Without a norm
    the factor is 1.

    [reading] V is what the neuron holds when `Pruner.step` is called: the potential after the last time step,
    and after its reset. All neurons with a state have it, the fused ones too; the potentials of all steps
    would have to be stored. Mean and variance are over the samples and places of an epoch. [reading] E|w| of
    a synapse is its own |w|; of a neuron, the mean over its living synapses. With gradients that are
    accumulated, the last part of a batch counts.

    A neuron without a potential, such as ReLU, and one that was reset before `Pruner.step`, leave out the
    last factor, and a warning says so once.
    """

    reads: ClassVar[None] = None
    axes: ClassVar[Mapping[str, Axes]] = {"sum": ("post",), "squares": ("post",), "count": NUMBER}
    per_epoch: ClassVar[tuple[str, ...]] = ("sum", "squares", "count")

    def __init__(self) -> None:
        self._said = False

    @torch.no_grad()
    def after_step(self, view: View) -> None:
        """Add the potentials of a batch."""
        for p in view.topology.projections.values():
            if p.frozen is not None or p.output:
                continue
            margin = _margin(view.model, p)
            if margin is None:
                self._say(p)
                continue
            own = self.statistics(p, margin)
            own["sum"].add_(margin.sum(0))
            own["squares"].add_(margin.square().sum(0))
            own["count"].add_(len(margin))

    def _say(self, projection: Projection) -> None:
        if not self._said:
            self._said = True
            warnings.warn(
                f"the neuron behind {projection.name} ({projection.neuron}) holds no membrane potential, so "
                "its weights are scored without their chance to change a spike: call pruner.step(optimizer) "
                "before functional.reset_net(model), or take another method for networks without spikes",
                stacklevel=2,
            )

    def synapse_score(self, projection: Projection, view: View) -> Tensor:
        """Return the score, in the shape of the weight."""
        weight = view.model.get_parameter(projection.weight).detach().abs()
        factor = self._factor(projection, view, weight)
        return weight * factor.view(-1, *(1,) * (weight.ndim - 1))

    def neuron_score(self, projection: Projection, alive: Tensor, view: View) -> Tensor:  # noqa: ARG002
        """Return the mean of the score over living synapses, [post]."""
        number = view.masks.alive(projection).flatten(1).sum(1).clamp_min(1)
        return self.synapse_score(projection, view).flatten(1).sum(1) / number

    def _factor(self, projection: Projection, view: View, like: Tensor) -> Tensor:
        """Return what multiplies the weights of a row, [post]."""
        gain = _gain(view, projection, like)
        own = self.state.get(projection.name)
        if own is None or not own["count"]:
            return gain
        mean = own["sum"] / own["count"]
        variance = (own["squares"] / own["count"] - mean.square()).clamp_min(SPREAD)
        return gain * (density(mean, variance)).to(like.dtype)


def density(mean: Tensor, variance: Tensor) -> Tensor:
    """Return N(0; mean, variance).

    Examples:
        >>> import torch
        >>> from snnprune.methods.sf_imp import density
        >>> density(torch.tensor([0.0, -1.0]), torch.tensor([1.0, 1.0]))
        tensor([0.3989, 0.2420])
    """
    return torch.exp(-mean.square() / (2 * variance)) / (2 * math.pi * variance).sqrt()


def _margin(model: nn.Module, projection: Projection) -> Tensor | None:
    """Return V - theta of the last time step, [samples and places, rows]; None where there is no V."""
    if projection.neuron is None or projection.site is None:
        return None
    neuron: Any = model.get_submodule(projection.neuron)
    potential, axis = getattr(neuron, "v", None), projection.site.axis
    theta = getattr(neuron, "v_threshold", None)
    if not isinstance(potential, Tensor) or theta is None or potential.ndim < -axis:
        return None
    if potential.shape[axis] < projection.site.offset + projection.site.size // projection.site.repeats:
        return None
    margin = potential.detach().to(torch.promote_types(potential.dtype, torch.float32)) - theta
    return projection.site.rows(margin.movedim(axis, -1).flatten(0, -2), -1)


def _gain(view: View, projection: Projection, like: Tensor) -> Tensor:
    """Return |gamma| / sqrt(var_B + eps) of the batch norm behind a layer, [post]; ones without one."""
    ones = torch.ones_like(like.flatten(1)[:, 0])
    if len(projection.outflow) > 1:
        return ones
    writer = None
    for slot in view.topology.populations[projection.outflow[0].population].slots:
        if slot.role == "out":
            writer = slot.module
        elif slot.role == "norm" and slot.tensor == "running_var" and writer == projection.name:
            norm: Any = view.model.get_submodule(slot.module)
            spread = norm.running_var[slot.offset : slot.offset + len(ones)] + norm.eps
            gamma = ones if norm.weight is None else norm.weight.detach()[slot.offset :][: len(ones)]
            return (gamma.abs() / spread.sqrt()).to(like.dtype)
    return ones


class SFIMP(ByScore):
    """Prunes the weights that are least likely to change a spike, until the target is reached.

    Examples:
        >>> import torch
        >>> from spikingjelly.activation_based import neuron
        >>> from torch import nn
        >>> import snnprune
        >>> model = nn.Sequential(nn.Linear(4, 8), neuron.LIFNode(), nn.Linear(8, 2), neuron.LIFNode())
        >>> pruner = snnprune.Pruner(model, torch.rand(16, 4), snnprune.methods.SFIMP(), epochs=60)
        >>> same = snnprune.Pruner(model, torch.rand(16, 4), "sf-imp", epochs=60)
    """

    criterion_class: ClassVar[type[Criterion]] = SpikeFlipCriterion
