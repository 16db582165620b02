"""The base of methods that prune single synapses of every layer but the output, convolutions included."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snnprune.config.schema import MethodConfig
from snnprune.pruning.method import Method
from snnprune.pruning.solver import is_prunable
from snnprune.pruning.target import Target, aim, required

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import nn

    from snnprune.network.topology import Projection
    from snnprune.pruning.target import Plan
    from snnprune.pruning.view import View


class PerSynapse(Method):
    """A method that leaves a share of the synapses of each layer, solved from a target.

    A layer whose share is 1 is trained as without the method.

    Args:
        target: share of all weights to prune.
        target_macs: share of all multiply-accumulates to prune, in place of ``target``.
        layers: shares of single layers by name or glob, within either target.
        floor: smallest share of its synapses that every layer keeps (see `Target`).

    Raises:
        ValueError: no target, or one outside [0, 1).
    """

    def __init__(
        self,
        target: float | None = MethodConfig.target,
        *,
        target_macs: float | None = None,
        layers: Mapping[str, float] | None = None,
        floor: float = Target.floor,
    ) -> None:
        self._goal = required(aim(target, target_macs, layers=layers, floor=floor))
        self.target = self._goal
        self._plan: Plan | None = None

    def plan(self, view: View) -> Plan | None:
        """Return what should be left at the end (see `share`)."""
        return self._solved(view)

    def _solved(self, view: View) -> Plan:
        if self._plan is None or self._plan.solver.topology is not view.dense:
            self._plan = self._goal.plan(view.dense, neurons=False, convolutions=True)
        return self._plan

    def share(self, view: View, projection: Projection) -> float:
        """Return the share of a projection's synapses that should be left at the end."""
        return self._solved(view).synapses[projection.name]

    def weights(self, view: View) -> Iterator[tuple[Projection, nn.Parameter]]:
        """Yield the projections whose synapses are to be pruned, with their weights.

        A layer of which a target of 0 leaves everything is trained by the optimiser alone.
        """
        for p in view.topology.projections.values():
            if is_prunable(p, convolutions=True) and (self.target is None or self.share(view, p) < 1.0):
                yield p, view.model.get_parameter(p.weight)
