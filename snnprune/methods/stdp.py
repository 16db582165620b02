"""Spike-timing-dependent plasticity in place of BCM (DPAP paper, Fig. 4H)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from snnprune.methods.dpap.bcm import SpineCriterion
from snnprune.methods.dpap.method import DPAP
from snnprune.pruning.traces import spiking_trace

if TYPE_CHECKING:
    from torch import Tensor

    from snnprune.pruning.traces import Activity, Keep


def pairing(steps: int, tau: float, like: Tensor) -> Tensor:
    """Return the contribution of a post spike at step t and a pre spike at step s, [t, s].

    It is tau^(t - s) if the pre spike came first, -tau^(s - t) if the post spike came first, and 0 for the
    same step. Device and dtype are those of ``like``.
    """
    lag = like.new_tensor(range(steps)).view(-1, 1) - like.new_tensor(range(steps))
    return lag.sign() * tau ** lag.abs()


def fired(post: Tensor) -> Tensor | None:
    """Return the indices of the units that fired in a batch [T, B, C]; None for all units.

    The other units contribute nothing, and in a fully connected layer they are often the majority. On a GPU
    the indices would need a synchronisation, which costs more than it saves, so all units are used there.
    """
    if post.device.type != "cpu":
        return None
    indices = post.abs().amax((0, 1)).nonzero().squeeze(1)
    return indices if len(indices) < post.shape[-1] else None


class STDPCriterion(SpineCriterion):
    """Scores synapses by pairs of spikes: pre before post strengthens, post before pre weakens.

    For every batch, with o the spikes and x their traces from earlier steps::

        STDP[post, pre] += sum over samples and t of o_post[t] x_pre[t] - x_post[t] o_pre[t]

    Because x is linear in o, this is one product: the sum over t and s of `pairing`[t, s] o_post[t] o_pre[s].

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
    """`DPAP` with `STDPCriterion` in place of `BCM`; its arguments are those of `DPAP`.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import snnprune
        >>> model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(16, 4)
        >>> pruner = snnprune.Pruner(model, x, snnprune.methods.STDP(target=0.6), epochs=60)
        >>> same = snnprune.Pruner(model, x, "stdp", epochs=60, target=0.6)
    """

    criterion_class: ClassVar[type[SpineCriterion]] = STDPCriterion
