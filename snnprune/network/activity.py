"""Synaptic operations as a number that gradients pass through: what an activity penalty is made of.

A spike is weighted by the alive synapses that it reaches, so that the penalty falls where energy is spent.
The gradient comes through the neurons' surrogate functions.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from snnprune.network.hooks import Hook, before
from snnprune.network.synops import reached

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from torch import Tensor, nn

    from snnprune.network.topology import Projection, Topology


class SynapticActivity:
    """Sums the spikes that layers read, each times the synapses that it reaches, while a network is trained.

    Only inputs that gradients pass through are counted: what a recording holds is no activity of the network.
    [reading] A value between 0 and 1, as behind an average pool, counts as the share of a spike that it is;
    `SpikeCounter` counts it as one operation.

    Args:
        model: the network.
        topology: its topology.
        alive: returns which synapses of a layer are alive, bool in the shape of the weight; None: all.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import snnprune
        >>> from snnprune.network.activity import SynapticActivity
        >>> model, x = nn.Sequential(nn.Linear(4, 8), nn.Sigmoid(), nn.Linear(8, 2)), torch.rand(16, 4)
        >>> activity = SynapticActivity(model, snnprune.discover(model, x))
        >>> with activity.watching() as seen:
        ...     loss = model(x).square().mean()
        >>> (loss + 0.1 * seen.share()).backward()
    """

    def __init__(
        self,
        model: nn.Module,
        topology: Topology,
        alive: Callable[[Projection], Tensor | None] = lambda _: None,
    ) -> None:
        self.model, self.topology, self.alive = model, topology, alive
        self._reach: dict[tuple[str, torch.Size], Tensor] = {}

    @contextmanager
    def watching(self) -> Iterator[Seen]:
        """Watch the forwards inside; layers that are fused stay so."""
        seen, handles = Seen(), []
        modules = dict(self.model.named_modules())
        try:
            for projection in self.topology.projections.values():
                hook = Hook(torch.compiler.disable(self._add(projection, seen)))
                hook.only_reads = True
                handles.append(before(modules[projection.name], hook, with_kwargs=True))
            yield seen
        finally:
            for handle in handles:
                handle.remove()

    def _add(self, projection: Projection, seen: Seen) -> Callable[..., None]:
        places = 1 if projection.kind == "linear" else len(projection.shape) - 1

        def hook(
            module: nn.Module, args: tuple[Tensor, ...], kwargs: Mapping[str, Tensor] | None = None
        ) -> None:
            x = args[0] if args else next(iter((kwargs or {}).values()))
            if not (x.requires_grad and torch.is_grad_enabled()):
                return
            reach = self._reach_of(projection, module, x.shape[x.ndim - places :])
            own = x.float() if x.element_size() < reach.element_size() == 4 else x
            seen.add(
                (own.reshape(-1, *reach.shape).sum(0) * reach.to(own)).sum(),
                own.numel() // reach.numel(),
                reach,
            )

        return hook

    def _reach_of(self, projection: Projection, module: nn.Module, sample: torch.Size) -> Tensor:
        if (projection.name, sample) not in self._reach:
            reach = reached(module, projection, (1, *sample), self.alive(projection))
            self._reach[projection.name, sample] = reach.reshape(sample).float()
        return self._reach[projection.name, sample]


class Seen:
    """What was seen of some forwards."""

    def __init__(self) -> None:
        self.operations: Tensor | float = 0.0
        self.most: Tensor | float = 0.0

    def add(self, operations: Tensor, calls: int, reach: Tensor) -> None:
        """Add the operations of ``calls`` samples and time steps of a layer."""
        self.operations = self.operations + operations
        self.most = self.most + calls * reach.sum()

    def share(self) -> Tensor:
        """Return the operations over those of inputs that all fire in every step, in [0, 1]."""
        share = torch.as_tensor(self.operations)
        return share / torch.as_tensor(self.most).clamp_min(1.0)
