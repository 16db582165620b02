"""DPAP with growth: use it or lose it, and sprout where it is used.

The paper ends by wishing for growth; this is ours, out of its own principle. Equations (7) to (17) are those
of DPAP (`snnprune.methods.dpap.method`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from snnprune.config.schema import MethodConfig
from snnprune.methods.dpap.method import DPAP
from snnprune.methods.growing import LAST, Start, check_shares, cosine, highest, lots_of, sparse
from snnprune.pruning.growth import Born
from snnprune.pruning.solver import is_prunable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snnprune.methods.dpap.survival import SurvivalFunction
    from snnprune.pruning.rule import Candidates
    from snnprune.pruning.view import Decision, View


class DPAPGrow(DPAP):
    """DPAP, and synapses grow in fully connected layers where both sides fire together.

    After each epoch e, from DPAP's first decision up to ``last`` of the run, with q the progress between the
    two, of the n living synapses of a layer::

        k = n grow / 2 (1 + cos(pi q)), at most the number of dead ones with BCM > 0
        of those that survive, the k with the lowest F die                      (F of equations 12 to 17)
        the k dead ones with the highest BCM[post, pre] grow, with F = beta     (BCM of equations 7 to 10)

    BCM needs no synapse: it correlates the traces of two units, so that it is known of synapses that are not
    there. Only synapses between units that live on grow. Units and channels that died never come back, so
    that the network can be cut while it trains. The number of synapses follows the target as in DPAP.

    [reading] All of this is ours; the paper has no growth.

    Args:
        target: share of all weights to prune, reached by feedback; None: the paper's fixed epsilon.
        grow: share of the living synapses of a layer that is replaced at the first decision. 0.1: a third of
            what SET and RigL replace, since pruning goes on beside it.
        last: share of the run after which nothing grows any more.
        first_weight: of a synapse that grows: "zero" or "drawn" (see `Born`).
        initial_density: share of the synapses of the layers whose single synapses are pruned that is alive at
            the start, drawn at random; None: all of them, as in the paper.
        rescale: keep the variance of currents of the dense network at the start, with ``initial_density``.
        dpap: options of `DPAP`.

    Raises:
        ValueError: a target, share or constant outside its range, an unknown normalisation or first weight.
        TypeError: ``criterion`` is neither a `Criterion` nor makes one.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import snnprune
        >>> model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(16, 4)
        >>> pruner = snnprune.Pruner(model, x, snnprune.methods.DPAPGrow(target=0.6), epochs=60)
        >>> same = snnprune.Pruner(model, x, "dpap-grow", epochs=60, target=0.6)
    """

    permanent: ClassVar[bool] = False
    permanent_units: ClassVar[bool] = True
    rule: SurvivalFunction

    def __init__(
        self,
        target: float | None = MethodConfig.target,
        *,
        grow: float = 0.1,
        last: float = LAST,
        first_weight: Start = "zero",
        initial_density: float | None = None,
        rescale: bool = True,
        **dpap: Any,
    ) -> None:
        super().__init__(target, **dpap)
        check_shares(grow=grow, last=last, initial_density=initial_density)
        Born(start=first_weight)
        self.grow, self.last, self.first_weight = grow, last, first_weight
        self.initial_density, self.rescale = initial_density, rescale

    @torch.no_grad()
    def start(self, view: View) -> Decision | None:
        """Let a random part of the synapses live, where the run begins sparse."""
        if self.initial_density is None or not self.synapses:
            return None
        layers = [p for p in view.topology.projections.values() if is_prunable(p)]
        shares = {p.name: self.initial_density for p in layers}
        return sparse(view, shares, rescale=self.rescale)

    def challenge(self, candidates: Candidates, view: View) -> Candidates:
        """Return the candidates with the number of synapses that others replace."""
        share = self._replaced(view)
        if candidates.unit == "neuron" or share == 0.0:
            return candidates
        projection = view.topology.projections[candidates.name]
        places = view.masks.between(projection) & ~candidates.alive & (candidates.score > 0)
        return replace(
            candidates, replaced=min(round(share * int(candidates.alive.sum())), int(places.sum()))
        )

    def _replaced(self, view: View) -> float:
        """Return the share of the living synapses that is replaced now."""
        clock = view.clock
        first = self.rule.constants.schedule(clock.epochs).start
        last = min(round(self.last * clock.epochs), clock.epochs - 2)
        if not first <= clock.epoch <= last:
            return 0.0
        return cosine(self.grow, (clock.epoch - first) / (last - first + 1))

    def bear(self, decision: Decision, candidates: Sequence[Candidates], view: View) -> Born | None:
        """Return the dead synapses of the highest scores, as many as were replaced, between living units."""
        after, born = view.masks.after(decision.units), {}
        for each in candidates:
            if each.replaced:
                projection = view.topology.projections[each.name]
                places = after.between(projection) & ~each.alive & (each.score > 0)
                born[each.name] = highest(each.score, lots_of(view, projection), places, each.replaced)
                self.rule.wake(each.key, born[each.name], view.clock)
        return Born(born, start=self.first_weight) if born else None
