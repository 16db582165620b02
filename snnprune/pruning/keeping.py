"""The last word on a decision: what a rule prunes beyond the fewest that stay is alive again."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from snnprune.pruning.masks import Masks
    from snnprune.pruning.rule import Candidates
    from snnprune.pruning.view import Decision


def keep_fewest(
    decision: Decision, candidates: Sequence[Candidates], fewest: Mapping[str, int], masks: Masks
) -> None:
    """Give back to each population and layer those of its units that a decision has too few of.

    Those with the highest scores come back, and only those that were alive before the decision. Only synapses
    between units that stay are counted.

    Args:
        decision: what the rule has decided on each of ``candidates``; it is changed in place.
        candidates: all that the rule has decided on.
        fewest: least number that stays, by the candidates' key.
        masks: which units and synapses were alive before the decision.
    """
    for each in candidates:
        if each.unit == "neuron":
            alive = decision.units[each.name]
            decision.units[each.name] = alive | _best(each, ~alive, fewest[each.key] - int(alive.sum()))
    after = copy.copy(masks)
    after.units = masks.units | decision.units
    for each in candidates:
        if each.unit == "synapse":
            alive, between = decision.synapses[each.name], after.alive(masks.topology.projections[each.name])
            missing = fewest[each.key] - int((alive & between).sum())
            decision.synapses[each.name] = alive | _best(each, between & ~alive, missing)


def _best(candidates: Candidates, among: Tensor, count: int) -> Tensor:
    """Return, bool, the ``count`` of the living candidates in ``among`` with the highest scores."""
    chosen = torch.zeros_like(candidates.alive)
    if count > 0:
        index = (candidates.alive & among).flatten().nonzero().squeeze(1)
        order = candidates.score.flatten()[index].argsort(descending=True, stable=True)
        chosen.view(-1)[index[order[:count]]] = True
    return chosen
