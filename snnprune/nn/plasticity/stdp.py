"""Spike-timing-dependent plasticity by traces: a rule that changes the weights of one layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch

from snnprune.nn.plasticity.kernels import sum_at_spikes
from snnprune.nn.plasticity.watching import Rule

if TYPE_CHECKING:
    from torch import Tensor, nn

    from snnprune.nn.plasticity.watching import Watched

Kind = Literal["target", "pair"]


class TraceSTDP(Rule):
    """Changes the weights of a linear layer by the spikes before and behind it.

    With x_pre and x_post the traces, x[t] = x[t-1] - x[t-1] / tau + spikes[t] from 0 for each sample, and
    sums over the steps and samples of a batch, a weight w from input i to unit j changes by::

        target   eta sum_t s_j[t] (x_pre_i[t] - x_target) (w_max - w)^mu
        pair     eta (sum_t s_j[t] x_pre_i[t] (w_max - w)^mu - depression sum_t s_i[t] x_post_j[t] w^mu)

    and is then kept in [0, w_max]. With a ``total``, the weights of each unit are scaled so that they sum up
    to it. Weights that are not alive are 0 and take no part.

    Source: target: Querlioz et al., IEEE TNANO 12:288, 2013, as Diehl and Cook, Frontiers in Computational
    Neuroscience 9:99, 2015, use it; pair: the pairs of spikes of `spikingjelly`'s ``STDPLearner``, with soft
    bounds. **[reading]** The authors change weights at each spike. Here those of a batch are changed once, by
    the sum over its samples; with batches of one sample they move from sample to sample. Where ``total``
    makes a weight larger than w_max, it only falls.

    Args:
        layer: a linear layer.
        neurons: the neurons behind it. ``adapt(spikes)`` is called after each batch where they have it.
        kind: "target" or "pair".
        eta: learning rate.
        tau: time constant of the traces, in steps.
        target: x_target: inputs whose trace is below it at a spike are weakened.
        mu: how much a change depends on the weight.
        depression: weight of a unit's spikes that come before an input's, of "pair".
        largest: w_max.
        total: what the weights of a unit sum up to; None for no such sum.

    Raises:
        ValueError: tau is below 1, or there is no such kind.

    Examples:
        >>> import torch
        >>> from spikingjelly.activation_based import functional, layer, neuron
        >>> from torch import nn
        >>> from snnprune.nn.plasticity import TraceSTDP
        >>> net = nn.Sequential(layer.Linear(4, 3, bias=False), neuron.IFNode())
        >>> _ = functional.set_step_mode(net, "m")
        >>> rule = TraceSTDP(net[0], net[1], eta=0.1)
        >>> with rule.watching() as seen:
        ...     _ = net(torch.ones(5, 2, 4))
        >>> rule.step(seen)
    """

    def __init__(
        self,
        layer: nn.Linear,
        neurons: nn.Module,
        *,
        kind: Kind = "target",
        eta: float = 0.02,
        tau: float = 2.0,
        target: float = 0.4,
        mu: float = 1.0,
        depression: float = 1.0,
        largest: float = 1.0,
        total: float | None = None,
    ) -> None:
        if tau < 1 or kind not in {"target", "pair"}:
            raise ValueError(f"tau must be at least 1 step, and kind target or pair: {tau} and {kind!r} came")
        super().__init__(layer, neurons)
        self.kind: Kind = kind
        self.eta, self.tau, self.target, self.mu = eta, tau, target, mu
        self.depression, self.largest, self.total = depression, largest, total

    @torch.no_grad()
    def change(self, pre: Tensor, post: Tensor) -> Tensor:
        """Return the change of the weights [N, I], before bounds and sums.

        Args:
            pre: spikes [T, B, I] before the layer.
            post: spikes [T, B, N] behind it.
        """
        weight = self.layer.weight.detach()
        pre, post = pre.to(weight), post.to(weight)
        room = (self.largest - weight).clamp_(min=0).pow_(self.mu)
        seen = _traced(pre, post, self.tau)
        if self.kind == "target":
            return room.mul_(seen.sub_(post.sum((0, 1)).unsqueeze(1), alpha=self.target)).mul_(self.eta)
        late = _traced(post, pre, self.tau).T.mul(weight.clamp(min=0).pow(self.mu))
        return room.mul_(seen).sub_(late, alpha=self.depression).mul_(self.eta)

    @torch.no_grad()
    def step(self, seen: Watched, alive: Tensor | None = None) -> None:
        """Change the weights by a batch that was watched.

        Args:
            seen: what `watching` has handed out.
            alive: bool [N, I], the synapses that there are; None: all.

        Raises:
            UserError: no forward was watched.
        """
        pre, post = seen.both()
        weight = self.layer.weight.detach()
        weight.add_(self.change(pre, post)).clamp_(0, self.largest)
        if alive is not None:
            weight.mul_(alive)
        if self.total is not None:
            sums = weight.sum(1, keepdim=True)
            weight.mul_(torch.where(sums > 0, self.total / sums.clamp(min=1e-12), 1.0))
        adapt: Any = getattr(self.neurons, "adapt", None)
        if adapt is not None:
            adapt(post)


def _traced(traced: Tensor, spikes: Tensor, tau: float) -> Tensor:
    """Return [N, I]: the traces of one side [T, B, I], summed at the spikes [T, B, N] of the other."""
    sums = spikes.new_zeros(spikes.shape[2], traced.shape[2])
    if spikes.device.type == "cpu":
        number: Any = sums.numpy().dtype.type
        arrays = (each.contiguous().numpy() for each in (traced, spikes))
        sum_at_spikes(*arrays, number(tau), sums.numpy())
        return sums
    trace = torch.zeros_like(traced[0])
    for now, fired in zip(traced, spikes, strict=True):
        trace = trace - trace / tau + now
        sums.addmm_(fired.T, trace)
    return sums
