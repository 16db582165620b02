"""Meta filter pruning: in each round the criterion decides whose cut changes the network least.

Y. He, P. Liu, L. Zhu, Y. Yang, "Meta Filter Pruning to Accelerate Deep Convolutional Neural Networks",
arXiv 1904.03961, 2019. [reading] The text was not at hand beyond its abstract.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch

from snnprune.config.schema import MethodConfig
from snnprune.methods.by_score import ByScore, Unit
from snnprune.methods.magnitude import MagnitudeCriterion
from snnprune.methods.units import numbers, rows
from snnprune.pruning.lowest import Schedule  # noqa: TC001 - options are read by their types

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from snnprune.network.topology import Population
    from snnprune.pruning.criterion import Criterion
    from snnprune.pruning.rule import UnitKind
    from snnprune.pruning.view import Decision, View


def _apart(order: float) -> Callable[[Tensor], Tensor]:
    """Return the sum of Minkowski distances of each filter from all others."""
    exact = "donot_use_mm_for_euclid_dist"  # products of long filters would leave little of a small distance
    return lambda filters: torch.cdist(filters, filters, p=order, compute_mode=exact).sum(1)


def _turned(filters: Tensor) -> Tensor:
    """Return the sum of 1 - cosine of each filter with all others; a filter of zeros has no direction."""
    ways = torch.nn.functional.normalize(filters)
    return (1 - ways @ ways.T).fill_diagonal_(0).sum(1)


CRITERIA: dict[str, Callable[[Tensor], Tensor]] = {
    "l1": lambda filters: filters.abs().sum(1),
    "l2": lambda filters: filters.square().sum(1).sqrt(),
    "minkowski-1": _apart(1.0),
    "minkowski-2": _apart(2.0),
    "cosine": _turned,
}
"""Scores [living filters] of the filters [living filters, weights] of a layer: norms, and sums of distances
from the others, of which the smallest belong to a filter that the others can stand for."""


DIGITS = 12
"""Of a change of the meta attribute: what rounding leaves of a difference says nothing."""


class MetaCriterion(MagnitudeCriterion):
    """Scores filters by one of `CRITERIA`, and single synapses by |w|.

    Attributes:
        chosen: name of the criterion that scores.
    """

    comparable: ClassVar[frozenset[UnitKind]] = frozenset({"synapse"})
    formerly: ClassVar[tuple[str, ...]] = ()

    def __init__(self) -> None:
        self.chosen = "l1"

    @torch.no_grad()
    def unit_score(self, population: Population, view: View) -> Tensor | None:
        """Return the score among living filters, [size]; 0 for the dead."""
        places = rows(population, view)
        filters = numbers(population, view, places)
        if filters is None:
            return None
        alive = view.masks.units[population.name]
        score = torch.zeros_like(filters[:, 0])
        score[alive] = CRITERIA[self.chosen](filters[alive])
        return score.to(view.model.get_parameter(places[0].key).dtype)

    def get_extra_state(self) -> dict[str, Any]:
        """Return which criterion scores."""
        return {"chosen": self.chosen}

    def set_extra_state(self, extra: dict[str, Any]) -> None:
        """Restore which criterion scores."""
        self.chosen = extra["chosen"]


class MetaFilters(ByScore):
    """Prunes the filters that one of several criteria finds least important, by rounds.

    A round is a decision. For each of `CRITERIA`, the network is looked at as it would be after its cut. The
    criterion is taken that changes the meta attribute least, the first one where several do.

    [reading] The meta attribute is the mean |w| of the weights that are left, over all layers, the output
    included. [reading] A filter is pruned for good, where the paper sets it to zero and lets it learn on
    between rounds. [reading] One criterion decides for all layers in a round. A filter is all incoming
    weights of a unit; units of fully connected layers are filters, too.

    Args:
        target: share of all weights to prune.
        unit: "neurons" and channels; with "both", single synapses go by |w| as well.
        schedule: "gradual": a round after each epoch; or "one-shot".
        options: those of `ByScore`.

    Raises:
        ValueError: no target, a value outside its range, or a criterion.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import snnprune
        >>> model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(16, 4)
        >>> pruner = snnprune.Pruner(model, x, snnprune.methods.MetaFilters(target=0.5), epochs=60)
        >>> same = snnprune.Pruner(model, x, "meta-filters", epochs=60, target=0.5)
    """

    criterion_class: ClassVar[type[Criterion]] = MetaCriterion
    swappable: ClassVar[bool] = False
    criterion: MetaCriterion

    def __init__(
        self,
        target: float | None = MethodConfig.target,
        *,
        unit: Unit = "neurons",
        schedule: Schedule = "gradual",
        **options: Any,
    ) -> None:
        super().__init__(target, unit=unit, schedule=schedule, **options)

    @torch.no_grad()
    def end_epoch(self, view: View, metrics: Mapping[str, float] | None) -> Decision:
        """Let each criterion decide, and take the decision that changes the network least."""
        if not self.rule.decides(view.clock):
            return super().end_epoch(view, metrics)
        before, changes = scale(view), {}
        for name in CRITERIA:
            self.criterion.chosen = name
            decision = super().end_epoch(view, metrics)
            changes[name] = round(abs(scale(view, decision) - before), DIGITS), decision
        self.criterion.chosen = min(changes, key=lambda name: changes[name][0])
        return changes[self.criterion.chosen][1]


def scale(view: View, decision: Decision | None = None) -> float:
    """Return the mean |w| of the weights that are alive, after ``decision`` where there is one."""
    after = view.masks if decision is None else view.masks.after(decision.units, decision.synapses)
    total, count = 0.0, 0
    for p in view.topology.projections.values():
        alive = after.alive(p)
        total += float(view.model.get_parameter(p.weight).detach().abs().double()[alive].sum())
        count += int(alive.sum())
    return total / max(count, 1)
