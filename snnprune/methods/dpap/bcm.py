"""Trace-based BCM with a sliding threshold (DPAP, equations 7-10), and dendritic spines (11)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch

from snnprune.pruning.criterion import Criterion

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from snnprune.network.topology import Projection
    from snnprune.pruning.state import Axes
    from snnprune.pruning.traces import Activity
    from snnprune.pruning.view import View


FEW = 0.4
"""Share of the units of a layer up to which their rows are gathered for a product; more cost more than they
save (measured on a CPU: half of the product's time at 0.4, a sixth at 0.1, more than all of it at 0.7)."""

LARGE = 1 << 16
"""Synapses of a layer below which looking for silent units costs more than they save."""


class SpineCriterion(Criterion):
    """Scores a synapse by a sum of plasticity, and a neuron by the plasticity of its dendritic spines.

    A subclass defines in `plasticity` what a batch adds to a synapse; DPAP uses `BCM`.

    Args:
        tau: decay of the spiking trace per time step. 0.5 is the paper's.

    Examples:
        >>> from snnprune.dpap import DPAP, SpineCriterion
        >>> class Together(SpineCriterion):
        ...     def plasticity(self, statistics, activity, batches):
        ...         statistics["sum"].addmm_(activity.post.T, activity.pre)
        ...         statistics["activity"].add_(activity.post.sum(0))
        >>> method = DPAP(target=0.6, criterion=Together)
    """

    axes: ClassVar[Mapping[str, Axes]] = {"sum": ("post", "pre"), "activity": ("post",)}
    per_epoch: ClassVar[tuple[str, ...]] = ("sum", "activity")

    def __init__(self, tau: float = 0.5) -> None:
        self.tau = tau

    @torch.no_grad()
    def observe(self, projection: Projection, activity: Activity, batches: int) -> None:
        """Add a batch: samples are summed (DPAP, equation 10, from zero each epoch)."""
        statistics = self.statistics(projection, activity.post)
        self.plasticity(statistics, activity, batches)

    def plasticity(self, statistics: dict[str, Tensor], activity: Activity, batches: int) -> None:
        """Add a batch to ``statistics["sum"]`` and ``statistics["activity"]``."""
        raise NotImplementedError

    def synapse_score(self, projection: Projection, view: View) -> Tensor | None:  # noqa: ARG002
        """Return this epoch's sum, [post, columns]."""
        statistics = self.state.get(projection.name)
        return None if statistics is None else statistics["sum"]

    def neuron_score(self, projection: Projection, alive: Tensor, view: View) -> Tensor | None:  # noqa: ARG002
        """Return D = (sum of S_post) (sum over alive synapses of the plasticity), [post] (equation 11).

        [reading] the second sum runs over the synapses alive before this epoch's decision.
        """
        statistics = self.state.get(projection.name)
        return None if statistics is None else statistics["activity"] * (statistics["sum"] * alive).sum(1)


class BCM(SpineCriterion):
    """Trace-based BCM with a sliding threshold.

    For every batch, with S the traces of its samples and theta one threshold per post neuron::

        BCM[post, pre] += sum over samples of S_post (S_post - theta) S_pre                      (7, 10)
        theta          += (mean over samples of S_post - theta) / Num                             (8)

    Num counts batches since training began, from 1 (9). [reading] theta starts at 0 and BCM uses its value
    from before the batch.

    Examples:
        >>> import torch
        >>> from snnprune.dpap import BCM
        >>> from snnprune.pruning import Activity
        >>> statistics = {"sum": torch.zeros(1, 1), "activity": torch.zeros(1), "theta": torch.zeros(1)}
        >>> activity = Activity(pre=torch.tensor([[0.5]]), post=torch.tensor([[2.0]]))
        >>> BCM().plasticity(statistics, activity, batches=1)
        >>> statistics["sum"], statistics["theta"]  # 2 (2 - 0) 0.5, and the mean of S_post
        (tensor([[2.]]), tensor([2.]))
    """

    axes: ClassVar[Mapping[str, Axes]] = {**SpineCriterion.axes, "theta": ("post",)}
    averaged: ClassVar[tuple[str, ...]] = ("theta",)

    def plasticity(self, statistics: dict[str, Tensor], activity: Activity, batches: int) -> None:
        """Add a batch and update the threshold."""
        pre, post, theta = activity.pre, activity.post, statistics["theta"]
        add_product(statistics["sum"], post * (post - theta), pre)
        statistics["activity"].add_(post.sum(0))
        theta.lerp_(post.mean(0), 1.0 / batches)


def add_product(to: Tensor, post: Tensor, pre: Tensor) -> None:
    """Add post^T pre to ``to``; rows of units that are zero in every sample are left out if they are many.

    Args:
        to: [post, pre].
        post: [B, post].
        pre: [B, pre].
    """
    if to.device.type != "cpu" or to.numel() < LARGE:  # a GPU would wait for the indices
        to.addmm_(post.T, pre)
        return
    active = post.any(0).nonzero().squeeze(1)
    if len(active) > FEW * len(to):
        to.addmm_(post.T, pre)
    else:
        to.index_add_(0, active, post.index_select(1, active).T @ pre)
