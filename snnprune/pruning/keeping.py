"""The last word on a decision: what a rule prunes beyond the fewest that stay is alive again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from snnprune.network.topology import Projection
    from snnprune.pruning.masks import Masks
    from snnprune.pruning.rule import Candidates
    from snnprune.pruning.view import Decision


def keep_fewest(
    decision: Decision, candidates: Sequence[Candidates], fewest: Mapping[str, int], masks: Masks
) -> None:
    """Give back to each population and layer those of its units that a decision has too few of.

    Those with the highest scores come back, and only those that were alive before the decision. Only synapses
    between units that stay are counted. Where these are too few, units come back that have the most of the
    others.

    Args:
        decision: what the rule has decided on each of ``candidates``; it is changed in place.
        candidates: all that the rule has decided on.
        fewest: least number that stays, by the candidates' key.
        masks: which units and synapses were alive before the decision.
    """
    neurons = {each.name: each for each in candidates if each.unit == "neuron"}
    for name, each in neurons.items():
        alive = decision.units[name]
        decision.units[name] = alive | _best(each, ~alive, fewest[each.key] - int(alive.sum()))
    for each in candidates:
        if each.unit == "synapse":
            _keep_synapses(decision, each, fewest[each.key], masks, neurons)


def _keep_synapses(
    decision: Decision, layer: Candidates, fewest: int, masks: Masks, neurons: Mapping[str, Candidates]
) -> None:
    projection, alive = masks.topology.projections[layer.name], decision.synapses[layer.name]
    ends = [run.population for run in (*projection.outflow, *projection.inflow)]
    sides = [name for name in dict.fromkeys(ends) if name in neurons]
    while True:
        after = masks.after(decision.units)
        between = after.alive(projection)
        missing = fewest - int((alive & between).sum())
        back = _best(layer, between & ~alive, missing)
        dying = {name: masks.units[name] & ~decision.units[name] for name in sides}
        if missing <= int(back.sum()) or not any(bool(units.any()) for units in dying.values()):
            decision.synapses[layer.name] = alive | back
            return
        name, unit = _fullest(layer, projection, dying, after)
        decision.units[name][unit] = True


def _fullest(
    layer: Candidates, projection: Projection, dying: Mapping[str, Tensor], after: Masks
) -> tuple[str, int]:
    """Return the population and the index of the dying unit that has the most living synapses of a layer.

    Those count whose other unit stays; where no dying unit has any, all of them.
    """
    synapses = layer.alive.view(*layer.alive.shape[:2], -1).sum(2).float()
    found = []
    for whole in (False, True):
        columns, rows = after.columns(projection).float(), after.rows(projection).float()
        of_rows = synapses.sum(1) if whole else synapses @ columns
        of_columns = synapses.sum(0) if whole else rows @ synapses
        counts: dict[str, Tensor | int] = {}
        for side, runs in ((of_rows, projection.outflow), (of_columns, projection.inflow)):
            for run in runs:
                counts[run.population] = counts.get(run.population, 0) + run.per_unit(side).sum(1)
        for name, units in dying.items():
            count, index = torch.where(units, counts[name], -1).max(0)
            found.append((int(count), name, int(index)))
        if max(found)[0] > 0:
            break
    return max(found)[1:]


def _best(candidates: Candidates, among: Tensor, count: int) -> Tensor:
    """Return, bool, the ``count`` of the living candidates in ``among`` with the highest scores."""
    chosen = torch.zeros_like(candidates.alive)
    if count > 0:
        index = (candidates.alive & among).flatten().nonzero().squeeze(1)
        order = candidates.score.flatten()[index].argsort(descending=True, stable=True)
        chosen.view(-1)[index[order[:count]]] = True
    return chosen
