"""Magnitude: prune the smallest weights.

Single synapses by |w|: S. Han, J. Pool, J. Tran, W. J. Dally, "Learning both Weights and Connections for
Efficient Neural Networks", NIPS 2015 (one shot, then training on); the gradual schedule: M. Zhu, S. Gupta,
"To prune, or not to prune", arXiv 1710.01878, 2017. Channels and neurons by the sum of their incoming |w|:
H. Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from snnprune.methods.by_score import ByScore
from snnprune.pruning.criterion import Criterion

if TYPE_CHECKING:
    from torch import Tensor

    from snnprune.network.topology import Projection
    from snnprune.pruning.rule import UnitKind
    from snnprune.pruning.view import View


class MagnitudeCriterion(Criterion):
    """Scores a synapse by |w|, and a neuron or channel by the sum of |w| of its incoming synapses.

    Weights of different layers are comparable (global pruning by one threshold, Han et al.). Sums are not,
    because they grow with the number of inputs.
    """

    reads: ClassVar[None] = None
    formerly: ClassVar[tuple[str, ...]] = ("Magnitude",)
    comparable: ClassVar[frozenset[UnitKind]] = frozenset({"synapse"})

    def synapse_score(self, projection: Projection, view: View) -> Tensor:
        """Return |w|, in the shape of the weight."""
        return view.model.get_parameter(projection.weight).detach().abs()

    def neuron_score(self, projection: Projection, alive: Tensor, view: View) -> Tensor:  # noqa: ARG002
        """Return the sum of |w| over the inputs, [post]; pruned weights are zero."""
        return self.synapse_score(projection, view).flatten(1).sum(1)


class Magnitude(ByScore):
    """Prunes the smallest weights, or the units with the smallest sums of them, until the target is reached.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import snnprune
        >>> model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(16, 4)
        >>> pruner = snnprune.Pruner(model, x, snnprune.methods.Magnitude(scope="global"), epochs=60)
        >>> same = snnprune.Pruner(model, x, "magnitude", epochs=60, scope="global")
    """

    criterion_class: ClassVar[type[Criterion]] = MagnitudeCriterion
