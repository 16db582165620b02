"""Random: prune units at random, the baseline of every criterion."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch

from snnprune.methods.by_score import ByScore
from snnprune.pruning.criterion import Criterion
from snnprune.pruning.growth import lots

if TYPE_CHECKING:
    from torch import Tensor

    from snnprune.network.topology import Projection
    from snnprune.pruning.rule import UnitKind
    from snnprune.pruning.view import View


class RandomCriterion(Criterion):
    """Scores each unit by a random number in [0, 1), drawn anew for every decision.

    Numbers are drawn for the dense network, on the CPU, so that neither a cut nor the device changes them.
    """

    reads: ClassVar[None] = None
    formerly: ClassVar[tuple[str, ...]] = ("Random",)
    comparable: ClassVar[frozenset[UnitKind]] = frozenset({"neuron", "synapse"})

    def synapse_score(self, projection: Projection, view: View) -> Tensor:
        """Return a number per synapse, in the shape of the weight."""
        left = lots(view.dense, view.survivors, projection, view.generator)
        return left.to(view.model.get_parameter(projection.weight).device)

    def neuron_score(self, projection: Projection, alive: Tensor, view: View) -> Tensor:  # noqa: ARG002
        """Return a number per row, [post]; those of all rows of a unit are summed."""
        drawn = torch.rand(view.dense.projections[projection.name].shape[0], generator=view.generator)
        left = view.survivors.cut(view.dense).post(projection.name)
        return drawn[left].to(view.model.get_parameter(projection.weight).device)


class Random(ByScore):
    """Prunes units at random, until the target is reached.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import snnprune
        >>> model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(16, 4)
        >>> pruner = snnprune.Pruner(model, x, snnprune.methods.Random(target=0.6), epochs=60)
        >>> same = snnprune.Pruner(model, x, "random", epochs=60, target=0.6)
    """

    criterion_class: ClassVar[type[Criterion]] = RandomCriterion
