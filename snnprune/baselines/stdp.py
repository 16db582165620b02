"""Spike-timing-dependent plasticity in BCM's place (DPAP paper, Fig. 4H)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar

from snnprune import dpap
from snnprune.dpap.bcm import SpineCriterion
from snnprune.pruning.traces import spiking_trace

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from snnprune.pruning.traces import Activity, Keep


def earlier(spikes: Tensor, tau: float) -> Tensor:
    """Return each step's trace of the steps before it: x[t] = sum over s < t of tau^(t - s) o[s].

    Args:
        spikes: [T, B, C].
        tau: decay per step.

    Returns:
        [T, B, C].
    """
    steps = spikes.shape[0]
    age: torch.Tensor = spikes.new_tensor(range(steps)).view(-1, 1) - spikes.new_tensor(range(steps))
    weight = (tau**age).where(age > 0, spikes.new_zeros(()))
    return (weight @ spikes.reshape(steps, -1)).reshape(spikes.shape)


class STDP(SpineCriterion):
    """Pairs of spikes: pre before post strengthens, post before pre weakens.

    For every batch, with o the spikes and x their traces from earlier steps::

        STDP[post, pre] += sum over samples and t of o_post[t] x_pre[t] - x_post[t] o_pre[t]

    [reading] Spikes of the same step do not count as a pair; both windows have the trace's tau.
    """

    reads: ClassVar[Keep] = "series"

    def plasticity(self, statistics: dict[str, Tensor], activity: Activity, batches: int) -> None:  # noqa: ARG002
        """Add a batch of series [T, B, C]."""
        pre, post = activity.pre, activity.post
        statistics["sum"].addmm_(post.flatten(0, 1).T, earlier(pre, self.tau).flatten(0, 1))
        statistics["sum"].addmm_(earlier(post, self.tau).flatten(0, 1).T, pre.flatten(0, 1), alpha=-1.0)
        statistics["activity"].add_(spiking_trace(post, self.tau).sum(0))


preset = partial(dpap.preset, criterion=STDP)
