"""Spike-timing-dependent plasticity in BCM's place (DPAP paper, Fig. 4H)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from snnprune.methods.dpap.bcm import SpineCriterion
from snnprune.methods.dpap.method import DPAP
from snnprune.pruning.traces import spiking_trace

if TYPE_CHECKING:
    from torch import Tensor

    from snnprune.pruning.traces import Activity, Keep


def pairing(steps: int, tau: float, like: Tensor) -> Tensor:
    """Return what a spike of post at step t and one of pre at step s are worth together, [t, s].

    tau^(t - s) where pre was first, -tau^(s - t) where post was, 0 for the same step. On the device and in
    the dtype of ``like``.
    """
    lag = like.new_tensor(range(steps)).view(-1, 1) - like.new_tensor(range(steps))
    return lag.sign() * tau ** lag.abs()


def fired(post: Tensor) -> Tensor | None:
    """Return the indices of the units that fired at all in a batch [T, B, C]; None for "take them all".

    The others add nothing, and in a fully connected layer they are often most. A GPU would have to wait for
    the answer, which costs it more than the product.
    """
    if post.device.type != "cpu":
        return None
    indices = post.abs().amax((0, 1)).nonzero().squeeze(1)
    return indices if len(indices) < post.shape[-1] else None


class STDPCriterion(SpineCriterion):
    """Pairs of spikes: pre before post strengthens, post before pre weakens.

    For every batch, with o the spikes and x their traces from earlier steps::

        STDP[post, pre] += sum over samples and t of o_post[t] x_pre[t] - x_post[t] o_pre[t]

    As x is linear in o, that is one product, sum over t and s of `pairing`[t, s] o_post[t] o_pre[s].

    [reading] Spikes of the same step do not count as a pair; both windows have the trace's tau.
    """

    reads: ClassVar[Keep] = "series"
    formerly: ClassVar[tuple[str, ...]] = ("STDP",)

    def plasticity(self, statistics: dict[str, Tensor], activity: Activity, batches: int) -> None:  # noqa: ARG002
        """Add a batch of series [T, B, C]."""
        pre, post = activity.pre, activity.post
        statistics["activity"].add_(spiking_trace(post, self.tau).sum(0))
        firing = fired(post)
        if firing is not None:
            post = post.index_select(-1, firing)
        steps = post.shape[0]
        paired = (pairing(steps, self.tau, post).T @ post.reshape(steps, -1)).view_as(post)
        if firing is None:
            statistics["sum"].addmm_(paired.flatten(0, 1).T, pre.flatten(0, 1))
        else:
            statistics["sum"].index_add_(0, firing, paired.flatten(0, 1).T @ pre.flatten(0, 1))


class STDP(DPAP):
    """`DPAP` with `STDPCriterion` in BCM's place; its arguments are those of `DPAP`.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import snnprune
        >>> model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(16, 4)
        >>> pruner = snnprune.Pruner(model, x, snnprune.methods.STDP(target=0.6), epochs=60)
        >>> same = snnprune.Pruner(model, x, "stdp", epochs=60, target=0.6)
    """

    criterion_class: ClassVar[type[SpineCriterion]] = STDPCriterion
