"""Hebbian plasticity in BCM's place (DPAP paper, Fig. 4H)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from snnprune.methods import dpap
from snnprune.methods.dpap.bcm import SpineCriterion

if TYPE_CHECKING:
    from torch import Tensor

    from snnprune.pruning.traces import Activity


class Hebb(SpineCriterion):
    """Synapses between neurons that are active together: sum over samples of S_post S_pre."""

    def plasticity(self, statistics: dict[str, Tensor], activity: Activity, batches: int) -> None:  # noqa: ARG002
        """Add a batch."""
        statistics["sum"].addmm_(activity.post.T, activity.pre)
        statistics["activity"].add_(activity.post.sum(0))


preset = partial(dpap.preset, criterion=Hebb)
