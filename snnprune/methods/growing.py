"""The base of methods that are sparse from the first step and rewire synapses while they train."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Unpack

import torch

from snnprune.config.schema import MethodConfig
from snnprune.methods.per_synapse import PerSynapse
from snnprune.pruning.aims import FurtherTargets  # noqa: TC001 - options are read by their types
from snnprune.pruning.distribution import Scope  # noqa: TC001 - options are read by their types
from snnprune.pruning.growth import Born, Start, lots
from snnprune.pruning.rule import lowest
from snnprune.pruning.view import Decision

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from snnprune.network.topology import Projection
    from snnprune.pruning.clock import Clock
    from snnprune.pruning.view import View

LAST = 0.75
"""Share of the run after which nothing is rewired any more: what was born last has to be trained (Evci et al.
2020: T_end is three quarters of the training)."""


class GrowingMethod(PerSynapse):
    """A method whose network is sparse from the first step; a subclass says when it rewires, and which.

    Before the first forward, a random share of each layer's synapses dies. The share alive is, at progress q
    in [0, 1] of the run up to ``last`` (Zhu and Gupta 2017, equation 1)::

        d(q) = d_f + (d_i - d_f) (1 - q)^3

    with d_f from the target and d_i from ``initial_density``. [reading] q counts whole epochs.

    Args:
        target: share of all weights to prune.
        scope: how the synapses are spread over layers: "erk", Erdős-Rényi-Kernel (see `Target`), or "local",
            the same share of each.
        initial_density: share of the synapses alive at the start, of the layers that are pruned; None: as
            many as at the end.
        last: share of the run after which nothing is rewired any more, in (0, 1].
        first_weight: of a synapse that grows: "zero" or "drawn" (see `Born`).
        rescale: multiply the first weights of each layer by 1 / sqrt(density), so that the variance of
            currents is that of the dense network. Without it, neurons of a network that is very sparse from
            the start do not reach their threshold.
        aims: further targets: the options of `Aims`. By one that is measured, the network is sparse after its
            first batch.

    Raises:
        ValueError: no target, a share outside its range, or an unknown scope or start.
    """

    permanent: ClassVar[bool] = False
    permanent_units: ClassVar[bool] = True

    def __init__(
        self,
        target: float | None = MethodConfig.target,
        *,
        scope: Scope = "erk",
        initial_density: float | None = None,
        last: float = LAST,
        first_weight: Start = "zero",
        rescale: bool = True,
        **aims: Unpack[FurtherTargets],
    ) -> None:
        super().__init__(target, scope=scope, **aims)
        check_shares(initial_density=initial_density, last=last)
        Born(start=first_weight)
        self.initial_density, self.last = initial_density, last
        self.first_weight, self.rescale = first_weight, rescale

    # --- densities

    def progress(self, clock: Clock) -> float:
        """Return the part of the rewiring that is over, in [0, 1]."""
        return min(clock.epoch / max(self.last_epoch(clock), 1), 1.0)

    def progress_after(self, clock: Clock) -> float:
        """Return the same for a decision at the end of an epoch, of which there is one less."""
        return min((clock.epoch + 1) / max(self.last_epoch(clock), 1), 1.0)

    def grows_after(self, clock: Clock) -> bool:
        """Tell whether synapses grow at the end of the present epoch: some of the run has to train them."""
        return clock.epoch < self.last_epoch(clock)

    def last_epoch(self, clock: Clock) -> int:
        """Return the epoch, from 0, in which the last synapses grow."""
        return min(round(self.last * clock.epochs), clock.epochs - 1)

    def density(self, view: View, projection: Projection, progress: float) -> float:
        """Return the share of a layer's synapses that should be alive at ``progress``."""
        final = self.share(view, projection)
        first = self._initial(view).get(projection.name, final)
        return final + (max(first, final) - final) * (1.0 - progress) ** 3

    def _initial(self, view: View) -> Mapping[str, float]:
        """Return the shares alive at the start, by layer; an empty dict where they are those of the end."""
        if self.initial_density is None:
            return {}
        plan = self.plan(view)
        return {} if plan is None else plan.solver.of_density(self.initial_density)

    # --- decisions

    @torch.no_grad()
    def start(self, view: View) -> Decision:
        """Let a random part of each layer live, as large as its density."""
        shares = {p.name: self.density(view, p, 0.0) for p, _ in self.weights(view)}
        shares = {name: share for name, share in shares.items() if share < 1.0}
        return sparse(view, shares, rescale=self.rescale)

    def counts(self, view: View, projection: Projection, share: float, progress: float) -> tuple[int, int]:
        """Return how many synapses of a layer die, and how many grow.

        Args:
            view: the network.
            projection: the layer.
            share: of its living synapses that die.
            progress: says how many should be alive afterwards.
        """
        alive, most = int(view.masks.alive(projection).sum()), int(view.masks.between(projection).sum())
        goal = min(self.wanted(view, projection, progress), most)
        dying = max(round(share * alive), alive - goal)
        return dying, goal - (alive - dying)

    def wanted(self, view: View, projection: Projection, progress: float) -> int:
        """Return how many synapses of a layer should be alive at ``progress``."""
        size = math.prod(view.dense.projections[projection.name].shape)
        return max(round(self.density(view, projection, progress) * size), 1)

    def rewired(self, kept: Mapping[str, Tensor], stays: Mapping[str, Tensor]) -> Decision:
        """Return the decision that leaves ``stays`` alive, by layer: all begin anew but those of ``kept``."""
        born = {name: now & ~kept[name] for name, now in stays.items()}
        return Decision(synapses=dict(kept), born=Born(born, start=self.first_weight))


def lots_of(view: View, projection: Projection) -> Tensor:
    """Return a number in [0, 1) per synapse, on the device of its weight; no cut changes it."""
    drawn = lots(view.dense, view.survivors, projection, view.generator)
    return drawn.to(view.model.get_parameter(projection.weight).device)


def sparse(view: View, shares: Mapping[str, float], *, rescale: bool) -> Decision:
    """Return the decision to begin with a random part of each layer, of one synapse at least.

    Args:
        view: the network.
        shares: of the synapses of layers, by name.
        rescale: multiply the first weights by 1 / sqrt(share).
    """
    decision = Decision()
    for name, share in shares.items():
        lot = lots_of(view, view.topology.projections[name])
        count = max(round(share * lot.numel()), 1)
        decision.synapses[name] = lowest(lot, lot, torch.ones_like(lot, dtype=torch.bool), count)
        if rescale:
            decision.scale[name] = math.sqrt(lot.numel() / count)
    return decision


def highest(score: Tensor, tie: Tensor, among: Tensor, count: int) -> Tensor:
    """Return a bool mask of the ``count`` entries of ``among`` with the highest scores, ties by ``tie``."""
    return lowest(-score, tie, among, count)


def check_shares(**shares: float | None) -> None:
    """Check that each is a share in (0, 1].

    Raises:
        ValueError: one is not.
    """
    for name, value in shares.items():
        if value is not None and not 0.0 < value <= 1.0:
            raise ValueError(f"{name} is a share in (0, 1], came {value}")


def cosine(first: float, progress: float) -> float:
    """Return first / 2 (1 + cos(pi q)): from ``first`` at the beginning to 0 at the end."""
    return first / 2.0 * (1.0 + math.cos(math.pi * progress))
