"""SD-SNN: spines bound the weights, neurons of small spines die, synapses regrow where gradients stay large.

B. Han, F. Zhao, Y. Zeng, W. Pan, "Adaptive Sparse Structure Development with Pruning and Regeneration for
Spiking Neural Networks", arXiv 2211.12219, 2022; and the authors' public code (BrainCog).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Unpack

import torch

from snnprune.config.schema import MethodConfig
from snnprune.methods.gradient_growth import GradientGrowth
from snnprune.methods.growing import LAST, Scope, Start, highest, lots_of
from snnprune.network.runs import summed
from snnprune.pruning.aims import FurtherTargets  # noqa: TC001 - options are read by their types
from snnprune.pruning.chains import connected
from snnprune.pruning.normalisation import quantile
from snnprune.pruning.rule import lowest, rounded
from snnprune.pruning.state import WEIGHT
from snnprune.pruning.view import Decision

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from snnprune.network.topology import Projection
    from snnprune.pruning.clock import Clock
    from snnprune.pruning.state import Axes
    from snnprune.pruning.view import View

SHRINK = 0.75
"""Factor of a bound whose weight has shrunk for so long: that of the authors' code."""

LOWEST, RISE, HIGHEST = 0.65, 1.1, 0.99
"""The share of a layer's gradients below which nothing regrows: 65 + 1.1^k per cent after k epochs, at most
99, as in the authors' code."""

REGROWN = 0.3
"""Most synapses that regrow at once, as a share of those that are to be alive: what SET and RigL replace.
Without a bound all that live are replaced where few are left."""

PATIENCE = 18 / 600
"""Epochs in a row that move a bound or let a synapse regrow, as a share of the run, in the authors' code."""


class SDSNN(GradientGrowth):
    """Clips weights to spines that follow their use, removes neurons of small spines, and regrows synapses.

    Every weight w of the layers that are pruned has a bound M, at first the largest |w| of its layer. After
    each epoch, with T epochs in a row::

        |w| >= M in T of them:          M <- M + the mean of |w| - M over these
        |w| smaller than before in T:   M <- 0.75 M
        w <- clip(w, -M, M)             after the first T epochs

    From epoch 2 T + 1 on, once an epoch, in each layer: a dead synapse grows whose |dE/dw| was above the
    share r of the layer's in more than T epochs in a row, where r rises from 0.65 to 0.99, at most `REGROWN`
    of those that are to be alive, the largest first [reading]; and neurons, or channels, die in the order of
    the sum of M over their living incoming synapses, so many that the wanted number of synapses is left; of
    the last one, those with the smallest M. A neuron dies by its incoming synapses, and any of them may
    regrow. Once nothing regrows any more, units without an incoming
    synapse die for good.

    [reading] One bound for both signs, where the code has one for each. The number of synapses falls from all
    of them to the target by the cubic schedule (`GrowingMethod`); the paper's own rates follow from constants
    for its networks, and stop by themselves. Synapses of convolutions regrow one by one, not by kernels.

    Args:
        target: share of all weights to prune.
        patience: T in epochs; None: 3 % of the run, at least 1.
        every: steps between two looks at the gradients; None: one in each epoch, in its first batch.
        scope: "erk" or "local".
        initial_density: share of the synapses alive at the start. 1, as in the paper.
        last: share of the run after which nothing dies or regrows any more.
        first_weight: of a synapse that grows: "zero" or "drawn".
        rescale: keep the variance of currents of the dense network, where the start is sparse.
        aims: further targets: the options of `Aims`.

    Raises:
        ValueError: no target, a share outside its range, or a number of epochs or steps below 1.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import snnprune
        >>> model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(16, 4)
        >>> pruner = snnprune.Pruner(model, x, snnprune.methods.SDSNN(target=0.6), epochs=60)
        >>> same = snnprune.Pruner(model, x, "sd-snn", epochs=60, target=0.6)
    """

    axes: ClassVar[Mapping[str, Axes]] = dict.fromkeys(
        ("bound", "over", "excess", "shrunk", "before", "wished"), WEIGHT
    )

    def __init__(
        self,
        target: float | None = MethodConfig.target,
        *,
        patience: int | None = None,
        every: int | None = None,
        scope: Scope = "erk",
        initial_density: float | None = 1.0,
        last: float = LAST,
        first_weight: Start = "zero",
        rescale: bool = True,
        **aims: Unpack[FurtherTargets],
    ) -> None:
        super().__init__(
            target,
            every=every,
            scope=scope,
            initial_density=initial_density,
            last=last,
            first_weight=first_weight,
            rescale=rescale,
            **aims,
        )
        if patience is not None and patience < 1:
            raise ValueError(f"patience is a number of epochs from 1 on, or None, came {patience}")
        self.patience = patience

    def in_a_row(self, clock: Clock) -> int:
        """Return T."""
        return max(round(PATIENCE * clock.epochs), 1) if self.patience is None else self.patience

    def first_epoch(self, clock: Clock) -> int:
        """Return the first epoch, from 0, in which neurons die."""
        return max(min(2 * self.in_a_row(clock) + 1, self.last_epoch(clock) - 1), 1)

    def progress(self, clock: Clock) -> float:
        """Return the part of the pruning that is over, in [0, 1]."""
        first, last = self.first_epoch(clock), self.last_epoch(clock)
        return min(max((clock.epoch - first + 1) / max(last - first + 1, 1), 0.0), 1.0)

    # --- spines

    @torch.no_grad()
    def end_epoch(self, view: View, metrics: Mapping[str, float] | None) -> Decision:  # noqa: ARG002
        """Move the bounds and clip the weights; at the end, let units die that nothing feeds."""
        times = self.in_a_row(view.clock)
        for p, weight in self.weights(view):
            state = self.state.get(p.name)
            if state is None:
                self.state[p.name] = _spines(weight)
                continue
            self._move(state, weight.abs(), view.masks.alive(p), times)
            if view.clock.epoch >= times:
                torch.clamp(weight, -state["bound"], state["bound"], out=weight)
            state["before"].copy_(weight.abs())
        if self.grows_after(view.clock) or view.clock.decisions_left == 0:
            return Decision()
        return Decision(units=connected(view.masks, {}, read=False, spared=self.spared(view)))

    def _move(self, state: dict[str, Tensor], size: Tensor, alive: Tensor, times: int) -> None:
        bound, over, excess, shrunk = (state[n] for n in ("bound", "over", "excess", "shrunk"))
        beyond = alive & (size >= bound)
        over.add_(1).mul_(beyond)
        excess.add_(size - bound).mul_(beyond)
        wider = over >= times
        shrunk.add_(1).mul_(alive & (size < state["before"]))
        narrower = shrunk >= times
        bound.add_(torch.where(wider, excess / times, 0.0))
        bound.mul_(torch.where(narrower, SHRINK, 1.0))
        for counter, due in ((over, wider), (excess, wider), (shrunk, narrower)):
            counter.masked_fill_(due, 0)

    # --- death and regrowth

    @torch.no_grad()
    def update(self, view: View, gradients: Mapping[str, Tensor]) -> Decision:
        """Let synapses regrow that have been wished for, and neurons of small spines die."""
        kept: dict[str, Tensor] = {}
        stays: dict[str, Tensor] = {}
        first, times = self.first_epoch(view.clock), self.in_a_row(view.clock)
        for p, _ in self.weights(view):
            state = self.state.get(p.name)
            if state is None or p.name not in gradients:
                continue
            alive, between = view.masks.alive(p), view.masks.between(p)
            share = min(LOWEST + RISE ** (view.clock.epoch - first) / 100, HIGHEST)
            large = gradients[p.name] > quantile(gradients[p.name][between], share)
            state["wished"].add_(1).mul_(large & between & ~alive)
            if view.clock.epoch < first:
                continue
            most = round(REGROWN * self.wanted(view, p, self.progress(view.clock)))
            grown = highest(gradients[p.name], lots_of(view, p), state["wished"] > times, most)
            state["wished"].masked_fill_(grown, 0)
            kept[p.name] = alive & ~self._dying(view, p, stays, grown)
            stays[p.name] = kept[p.name] | grown
            self._renew(state, grown)
        return self.rewired(kept, stays)

    def _dying(
        self, view: View, projection: Projection, stays: Mapping[str, Tensor], grown: Tensor
    ) -> Tensor:
        """Return, bool, which synapses of a layer die: with those that grow, the wanted number is left.

        Synapses of units that nothing feeds count as dead, since these units die at the end; and so do those
        by which layers that are kept whole read them.
        """
        after = view.masks.after(connected(view.masks, stays, read=False, spared=self.spared(view)))
        useful = view.masks.alive(projection) & after.between(projection)
        price = self._price(view, projection)
        spent = int(useful.sum()) + int(grown.sum()) + int(price[useful.flatten(1).any(1)].sum())
        most = int(view.masks.between(projection).sum())
        goal = min(self.wanted(view, projection, self.progress(view.clock)), most) + int(price.sum())
        return weakest_rows(self.state[projection.name]["bound"], useful, price, spent - goal)

    def _price(self, view: View, projection: Projection) -> Tensor:
        """Return how many synapses of layers that are kept whole read each row, [rows]."""
        price = torch.zeros(projection.shape[0], dtype=torch.int64)
        pruned = {p.name for p, _ in self.weights(view)}
        for own in projection.outflow:
            for reader in view.topology.outgoing(own.population):
                if reader.name not in pruned:
                    each = torch.full((reader.columns,), reader.shape[0] * math.prod(reader.shape[2:]))
                    entries = own.per_entry(summed(reader.inflow, own.population, each))
                    price[own.offset : own.stop] += entries
        return price.to(view.masks.units[projection.outflow[0].population].device)

    def _renew(self, state: dict[str, Tensor], grown: Tensor) -> None:
        """Give synapses that grow the widest spine of the layer, and nothing to remember."""
        state["bound"].masked_fill_(grown, float(state["bound"].max()))
        for name in ("over", "excess", "shrunk", "before"):
            state[name].masked_fill_(grown, 0)


def _spines(weight: Tensor) -> dict[str, Tensor]:
    size = weight.abs()
    count = torch.zeros_like(size, dtype=torch.int16)
    return {
        "bound": torch.full_like(size, float(size.max())),
        "excess": torch.zeros_like(size),
        "before": size,
        **{name: count.clone() for name in ("over", "shrunk", "wished")},
    }


def weakest_rows(bound: Tensor, alive: Tensor, price: Tensor, count: int) -> Tensor:
    """Return, bool, which living synapses die: rows in the order of their sum of ``bound``.

    A row that dies as a whole takes ``price`` further synapses with it. Of a row that would be too much, only
    so many of the smallest bounds die that one is left at least.

    Args:
        bound: shape of a weight.
        alive: bool, the same shape.
        price: int64 [rows].
        count: how many synapses die.

    Examples:
        >>> import torch
        >>> from snnprune.methods.sd_snn import weakest_rows
        >>> bound = torch.tensor([[3.0, 1.0], [0.5, 0.4], [2.0, 1.0]])
        >>> none = torch.zeros(3, dtype=torch.int64)
        >>> weakest_rows(bound, torch.ones(3, 2, dtype=torch.bool), none, 3)  # sums of 4, 0.9 and 3
        tensor([[False, False],
                [ True,  True],
                [False,  True]])
    """
    chosen = torch.zeros_like(alive)
    rows = alive.flatten(1)
    order = rounded((bound.flatten(1) * rows).sum(1)).argsort(stable=True)
    counts, prices = rows.sum(1).tolist(), price.tolist()
    for row in order.tolist():
        here = counts[row]
        if count <= 0 or not here:
            continue
        whole = here + prices[row] <= count
        some = here if whole else min(count, here - 1)
        chosen[row] = alive[row] if whole else lowest(bound[row], bound[row], alive[row], some)
        count -= some + prices[row] * whole
    return chosen
