"""The plans of a method with one or several targets, each solved when what it depends on is known."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from snnprune.pruning.measures import MEASURED
from snnprune.pruning.pricing import PRICED, per_price, priced, relative, worth
from snnprune.pruning.rule import ascending
from snnprune.pruning.target import Target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snnprune.network.topology import Topology
    from snnprune.pruning.criterion import Criterion
    from snnprune.pruning.distribution import Sensitive
    from snnprune.pruning.rule import Candidates
    from snnprune.pruning.target import Plan
    from snnprune.pruning.traffic import Traffic
    from snnprune.pruning.view import View


class Plans:
    """Solves the plans of targets that hold together.

    Args:
        targets: what is to be reached.
        neurons: whether the method prunes units.
        synapses: whether the method prunes single synapses.
        convolutions: whether the method prunes single synapses of convolutions, too.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        *,
        neurons: bool = True,
        synapses: bool = True,
        convolutions: bool = False,
    ) -> None:
        self.targets = tuple(targets)
        self._plan = partial(Target.plan, neurons=neurons, synapses=synapses, convolutions=convolutions)
        self._sensitive: Sensitive | None = None
        self._solved: list[Plan] = []
        self._of: tuple[Topology, Traffic | None] | None = None

    @property
    def sensitive(self) -> Sensitive | None:
        """The distribution of scope "sensitivity", None until it is measured."""
        return self._sensitive

    @sensitive.setter
    def sensitive(self, measured: Sensitive | None) -> None:
        self._sensitive, self._of = measured, None

    def of(self, view: View) -> list[Plan]:
        """Return what should be left at the end, by each target; none by one that waits for its first batch.

        A target of what is measured is solved anew in every epoch, for what the layers have to do now.

        Raises:
            UserError: a target cannot be reached.
        """
        if self._of is None or self._of[0] is not view.dense or self._of[1] is not view.traffic:
            plans = (self._plan_of(target, view) for target in self.targets)
            self._solved, self._of = [p for p in plans if p is not None], (view.dense, view.traffic)
        return self._solved

    def _plan_of(self, target: Target, view: View) -> Plan | None:
        if target.measure not in MEASURED:
            return self._plan(target, view.dense, sensitive=self._sensitive)
        if view.traffic is None:
            return None
        costs = target.costs(view.traffic.loads)
        dense = target.costs(view.dense_loads).dense(view.dense)
        return self._plan(target, view.dense, sensitive=self._sensitive, costs=costs, dense=dense)


def assigned(
    plans: Sequence[Plan], candidates: Sequence[Candidates], view: View, due: float, criterion: Criterion
) -> list[Candidates]:
    """Return the candidates with the number of each to prune now: the most that any of ``plans`` asks for.

    Where scores are to be taken per operation, the candidates have these scores.
    """
    to_go = [0] * len(candidates)
    found = list(candidates)
    for plan in plans:
        own, target = list(candidates), plan.target
        divides = target.divides(criterion)
        if target.measure in PRICED:
            own = relative(priced(candidates, target.measure, view))
        own = plan.assign(own, view.masks, due, criterion.comparable, divides=divides)
        if divides:
            own = [replace(c, score=per_price(c.score, c.price)) for c in own if c.price is not None]
            found = own
        counts = [_worth(c) for c in own]
        to_go = [max(pair) for pair in zip(to_go, counts, strict=True)]
    return [replace(c, to_go=count, price=None) for c, count in zip(found, to_go, strict=True)]


def _worth(candidates: Candidates) -> int:
    """Return how many of the lowest cost as much as the number that is to go does on average."""
    count = candidates.to_go or 0
    if candidates.price is None or not count:
        return count
    return worth(candidates, ascending(candidates.score, candidates.weight, candidates.alive), count)
