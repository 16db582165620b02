"""Hebbian plasticity in place of BCM (DPAP paper, Fig. 4H)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from snnprune.methods.dpap.bcm import SpineCriterion
from snnprune.methods.dpap.method import DPAP

if TYPE_CHECKING:
    from torch import Tensor

    from snnprune.pruning.traces import Activity


class HebbCriterion(SpineCriterion):
    """Scores synapses by joint activity: the sum over samples of S_post S_pre."""

    formerly: ClassVar[tuple[str, ...]] = ("Hebb",)

    def plasticity(self, statistics: dict[str, Tensor], activity: Activity, batches: int) -> None:  # noqa: ARG002
        """Add a batch."""
        statistics["sum"].addmm_(activity.post.T, activity.pre)
        statistics["activity"].add_(activity.post.sum(0))


class Hebb(DPAP):
    """`DPAP` with `HebbCriterion` in place of `BCM`; its arguments are those of `DPAP`.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import snnprune
        >>> model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(16, 4)
        >>> pruner = snnprune.Pruner(model, x, snnprune.methods.Hebb(target=0.6), epochs=60)
        >>> same = snnprune.Pruner(model, x, "hebb", epochs=60, target=0.6)
    """

    criterion_class: ClassVar[type[SpineCriterion]] = HebbCriterion
