"""A global target: the least important units of the whole network are pruned, in any number per layer.

Scores of different layers are seldom on one scale, so they are normalised by layer before they are ranked
(`snnprune.pruning.normalisation`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from snnprune.pruning.normalisation import NORMALISATIONS
from snnprune.pruning.pricing import per_price
from snnprune.pruning.solver import ROUNDING, columns_left, rows_left

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from snnprune.network.topology import Projection
    from snnprune.pruning.masks import Masks
    from snnprune.pruning.normalisation import Normalisation
    from snnprune.pruning.rule import Candidates, UnitKind
    from snnprune.pruning.solver import Solver


TIED = 0.5
"""Where the units of a layer stand whose scores all tie, on a scale from 0 to 1."""


def spread(
    solver: Solver,
    candidates: Sequence[Candidates],
    fixed: Mapping[str, int],
    masks: Masks,
    *,
    due: float,
    scale: Callable[[UnitKind], Normalisation],
    divides: bool = False,
) -> dict[str, int]:
    """Return how many of each of ``candidates`` to prune, by their key, by one threshold for all layers.

    Units are pruned first, as far as the target's ``structured`` asks, then synapses.

    Args:
        solver: computes the cost of the network, and how much of it should be left.
        candidates: all candidates that are decided on together.
        fixed: how many to prune of the candidates whose number is set, by their key.
        masks: which units and synapses are alive.
        due: share of the units still to be pruned that this decision prunes.
        scale: returns the normalisation of the scores of a kind of units.
        divides: whether scores are divided by the prices of units, once they are on one scale.
    """
    to_go = {c.key: 0 for c in candidates} | dict(fixed)
    open_to_choice = [c for c in candidates if c.key not in fixed]
    neurons, synapses = ([c for c in open_to_choice if c.unit == unit] for unit in ("neuron", "synapse"))
    stay = {c.key: solver.fewest_units[c.name] for c in neurons}
    alive = {name: int(units.sum()) for name, units in masks.units.items()}
    ranking = _Ranking(neurons, stay, scale, divides=divides)
    now, at_last = (to_go | _units(solver, ranking, to_go, alive, part) for part in (due, 1.0))
    left, in_the_end = (
        {name: count - gone.get(f"neurons/{name}", 0) for name, count in alive.items()}
        for gone in (now, at_last)
    )
    to_go = now
    share = {c.key: _staying(masks.topology.projections[c.name], masks, in_the_end) for c in synapses}
    stay = {c.key: math.ceil(solver.fewest[c.name] / share[c.key] - ROUNDING) for c in synapses}
    return to_go | _synapses(
        solver, _Ranking(synapses, stay, scale, divides=divides), to_go, (masks, left), due
    )


class _Ranking:
    """All units that may be pruned, the least important first, without the best ``stay`` of each layer."""

    def __init__(
        self,
        candidates: Sequence[Candidates],
        stay: Mapping[str, int],
        scale: Callable[[UnitKind], Normalisation],
        *,
        divides: bool,
    ) -> None:
        self.keys = [c.key for c in candidates]
        parts = [_in_order(c, stay[c.key], scale(c.unit), divides=divides) for c in candidates]
        owners = [torch.full_like(part, i, dtype=torch.int64) for i, part in enumerate(parts)]
        scores = torch.cat(parts) if parts else torch.zeros(0)
        order = scores.argsort(stable=True)
        self.owner = torch.cat(owners)[order] if owners else torch.zeros(0, dtype=torch.int64)

    def counts(self, first: int) -> dict[str, int]:
        """Return how many of the ``first`` in the ranking belong to each layer."""
        counts = torch.bincount(self.owner[:first], minlength=len(self.keys)).tolist()
        return dict(zip(self.keys, counts, strict=True))


def _in_order(candidates: Candidates, stay: int, normalisation: Normalisation, *, divides: bool) -> Tensor:
    """Return the scores of units that may be pruned, ascending; ties go by the magnitude of the weights."""
    scaled = NORMALISATIONS[normalisation](candidates.score, candidates.alive)
    if scaled is None:  # they tie: neither the first nor the last of all
        scaled = torch.full_like(candidates.score, TIED)
    if divides and candidates.price is not None:
        scaled = per_price(scaled, candidates.price)
    index = candidates.alive.flatten().nonzero().squeeze(1)
    score = scaled.flatten()[index]
    order = candidates.weight.flatten()[index].argsort(stable=True)
    order = order[score[order].argsort(stable=True)]
    return score[order][: max(index.numel() - stay, 0)]


def _units(
    solver: Solver, ranking: _Ranking, to_go: Mapping[str, int], alive: Mapping[str, int], due: float
) -> dict[str, int]:
    """Return how many units of each population to prune.

    The number brings the cost of the units nearest to its goal. It is larger if pruning synapses alone could
    not reach the target; then the synapses take back what a whole unit is too much.
    """

    def cost(count: int, synapses: Mapping[str, float]) -> float:
        gone = {**to_go, **ranking.counts(count)}
        left = {name: count - gone.get(f"neurons/{name}", 0) for name, count in alive.items()}
        return solver.cost(left, synapses)

    def first(wanted: float, synapses: Mapping[str, float], *, nearest: bool) -> int:
        now = cost(0, synapses)
        goal = now - due * max(now - wanted, 0.0)
        low, high = 0, len(ranking.owner)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if cost(middle, synapses) > goal else (low, middle)
        before = low > 0 and goal - cost(low, synapses) > cost(low - 1, synapses) - goal
        return low - 1 if nearest and before else low

    of_units = first(solver.wanted_of_units, {}, nearest=True)
    at_most = first(solver.wanted, solver.thinnest, nearest=not solver.open)
    return ranking.counts(max(of_units, at_most))


def _synapses(
    solver: Solver,
    ranking: _Ranking,
    to_go: Mapping[str, int],
    now_and_then: tuple[Masks, Mapping[str, int]],
    due: float,
) -> dict[str, int]:
    """Return how many synapses of each projection to prune, beside those that go with pruned neurons."""
    masks, left = now_and_then
    projections = masks.topology.projections
    alive = {name: int(masks.alive(p).sum()) for name, p in projections.items()}
    units = {name: int(own.sum()) for name, own in masks.units.items()}
    worth = {name: _worth(solver, p, masks, left, alive[name]) for name, p in projections.items()}
    now = solver.others + sum(solver.spent(p, units, alive[name]) for name, p in projections.items())
    goal = now - due * max(now - solver.wanted, 0.0)
    fixed = {name: to_go.get(f"synapses/{name}", 0) for name in projections}
    remaining = solver.others + sum(worth[name] * (alive[name] - fixed[name]) for name in projections)
    if not ranking.keys or remaining <= goal:
        return {}
    layers = torch.tensor([worth[key.partition("/")[2]] for key in ranking.keys], dtype=torch.float64)
    gone = layers.to(ranking.owner.device)[ranking.owner].cumsum(0)
    first = int(torch.searchsorted(gone, remaining - goal))
    return ranking.counts(min(first + 1, len(ranking.owner)))


def _worth(
    solver: Solver, projection: Projection, masks: Masks, left: Mapping[str, float], alive: int
) -> float:
    """Return what one of the ``alive`` synapses costs, on average, when only ``left`` units stay."""
    staying = _staying(projection, masks, left)
    return solver.spent(projection, left, alive * staying) / alive if alive else 0.0


def _staying(projection: Projection, masks: Masks, left: Mapping[str, float]) -> float:
    """Return the share of a projection's synapses that is left when only ``left`` units stay."""
    columns = columns_left(projection, left) / int(masks.columns(projection).sum())
    return columns * rows_left(projection, left) / int(masks.rows(projection).sum())
