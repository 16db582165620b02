"""The base of criteria that know how often each neuron has fired."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch

from snnprune.pruning.criterion import Criterion

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snnprune.network.topology import Projection
    from snnprune.pruning.state import Axes
    from snnprune.pruning.traces import Activity


class SpikesCriterion(Criterion):
    """Counts the spikes of each neuron: the trace without decay.

    Attributes:
        state: by projection: "spikes", [post].
    """

    tau = 1.0
    axes: ClassVar[Mapping[str, Axes]] = {"spikes": ("post",)}

    @torch.no_grad()
    def observe(self, projection: Projection, activity: Activity, batches: int) -> None:  # noqa: ARG002
        """Count the spikes of a batch."""
        self.statistics(projection, activity.post)["spikes"].add_(activity.post.sum(0))
