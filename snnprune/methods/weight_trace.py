"""Weight times trace: prune the synapses that carry the least current.

A weight matters as much as what comes through it: S. Han et al., NIPS 2015, count the weight alone, and the
activity before it is that of Wanda (M. Sun, Z. Liu, A. Bair, J. Z. Kolter, "A Simple and Effective Pruning
Approach for Large Language Models", ICLR 2024), here a spiking trace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch

from snnprune.config.schema import MethodConfig
from snnprune.methods.by_score import ByScore
from snnprune.pruning.criterion import Criterion

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from snnprune.network.topology import Projection
    from snnprune.pruning.state import Axes
    from snnprune.pruning.traces import Activity
    from snnprune.pruning.view import View


class WeightTraceCriterion(Criterion):
    """Scores a synapse by |w| times the trace before it, and a neuron by the sum over its synapses.

    With S the traces of the epoch's samples (DPAP, equations 5 and 6)::

        score[post, pre] = |w[post, pre]| sum of S_pre                      |w| x pre
        score[post, pre] = |w[post, pre]| sum of S_pre  sum of S_post       with ``post``

    [reading] S is a sum, where Wanda has the Euclidean norm: the mean current through a synapse is wanted. In
    a convolution S_pre is of the whole channel, and each weight of a kernel is scored by itself. Scores of
    layers are not on one scale, because traces of channels grow with the number of places.

    Args:
        tau: decay of the trace.
        post: multiply by the trace behind the synapse, too.

    Examples:
        >>> from snnprune.methods.weight_trace import WeightTraceCriterion
        >>> from snnprune.dpap import SurvivalFunction
        >>> from snnprune.pruning import CriterionMethod, Target
        >>> method = CriterionMethod(WeightTraceCriterion(), SurvivalFunction(), target=Target(0.6))
    """

    axes: ClassVar[Mapping[str, Axes]] = {"pre": ("pre",), "post": ("post",)}
    per_epoch: ClassVar[tuple[str, ...]] = ("pre", "post")

    def __init__(self, tau: float = 0.5, *, post: bool = False) -> None:
        self.tau, self.post = tau, post

    @torch.no_grad()
    def observe(self, projection: Projection, activity: Activity, batches: int) -> None:  # noqa: ARG002
        """Add a batch."""
        statistics = self.statistics(projection, activity.post)
        statistics["pre"].add_(activity.pre.sum(0))
        statistics["post"].add_(activity.post.sum(0))

    def synapse_score(self, projection: Projection, view: View) -> Tensor | None:
        """Return |w| times the trace, in the shape of the weight."""
        seen = self.state.get(projection.name)
        if seen is None:
            return None
        weight = view.model.get_parameter(projection.weight).detach().abs()
        kernel = (1,) * (weight.ndim - 2)
        score = weight * seen["pre"].view(1, -1, *kernel)
        return score * seen["post"].view(-1, 1, *kernel) if self.post else score

    def neuron_score(self, projection: Projection, alive: Tensor, view: View) -> Tensor | None:  # noqa: ARG002
        """Return the sum over the synapses, [post]; pruned weights are zero."""
        score = self.synapse_score(projection, view)
        return None if score is None else score.flatten(1).sum(1)


class WeightTrace(ByScore):
    """Prunes the smallest weight times trace, until the target is reached.

    Args:
        target: share of all weights to prune.
        tau: decay of the trace.
        post: multiply by the trace behind the synapse, too.
        options: those of `ByScore`.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import snnprune
        >>> model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(16, 4)
        >>> pruner = snnprune.Pruner(model, x, snnprune.methods.WeightTrace(post=True), epochs=60)
        >>> same = snnprune.Pruner(model, x, "weight-trace", epochs=60, post=True)
    """

    criterion_class: ClassVar[type[Criterion]] = WeightTraceCriterion

    def __init__(
        self,
        target: float | None = MethodConfig.target,
        *,
        tau: float = WeightTraceCriterion.tau,
        post: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(target, criterion=WeightTraceCriterion(tau, post=post), **options)
