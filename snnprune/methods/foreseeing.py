"""The base of methods that work on whole units before these die: some are made weak, and then cut."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch

from snnprune.config.schema import MethodConfig
from snnprune.methods.by_score import ByScore, Unit
from snnprune.pruning.lowest import Schedule  # noqa: TC001 - options are read by their types
from snnprune.pruning.state import NUMBER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from snnprune.network.topology import Population
    from snnprune.pruning.state import Axes
    from snnprune.pruning.view import Decision, View


class Foreseeing(ByScore):
    """Knows in every batch how many units of each population are still to go.

    The number is counted in the first batch of an epoch. By a target that is measured, it is 0 in the first
    epoch.

    Args:
        target: share of all weights to prune.
        unit: "neurons" and channels; with "both", single synapses go by |w| as well.
        schedule: "one-shot": train with the method, cut, train on without it; or "gradual".
        options: those of `ByScore`.
    """

    axes: ClassVar[Mapping[str, Axes]] = {"to_go": NUMBER}

    def __init__(
        self,
        target: float | None = MethodConfig.target,
        *,
        unit: Unit = "neurons",
        schedule: Schedule = "one-shot",
        **options: Any,
    ) -> None:
        super().__init__(target, unit=unit, schedule=schedule, **options)

    @property
    def reads_gradients(self) -> bool:
        """Whether `after_backward` has to be called: it is what such a method changes."""
        return True

    def to_go(self, view: View) -> Iterator[tuple[Population, int]]:
        """Yield the populations that units are still to go of, with their number; none once nothing dies."""
        if view.clock.decisions_left == 0:
            return
        if not self.state:
            self.state = {
                each.name: {"to_go": torch.tensor(each.to_go or 0)}
                for each in self.remaining(view)
                if each.unit == "neuron"
            }
        for name, own in self.state.items():
            if count := int(own["to_go"]):
                yield view.topology.populations[name], count

    @torch.no_grad()
    def end_epoch(self, view: View, metrics: Mapping[str, float] | None) -> Decision:
        """Score and decide; the next epoch counts anew."""
        decision = super().end_epoch(view, metrics)
        self.state = {}
        return decision
