"""The base of methods that prune single synapses of every layer but the output, convolutions included."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Unpack

from snnprune.config.schema import MethodConfig
from snnprune.pruning.aims import AimOptions, Aims
from snnprune.pruning.method import Method
from snnprune.pruning.plans import Plans
from snnprune.pruning.solver import is_prunable, share_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from snnprune.network.topology import Projection
    from snnprune.pruning.distribution import Scope
    from snnprune.pruning.target import Plan
    from snnprune.pruning.view import View


class PerSynapse(Aims, Method):
    """A method that leaves a share of the synapses of each layer, solved from a target.

    A layer whose share is 1 is trained as without the method.

    Args:
        target: share of all weights to prune.
        aims: further targets, and how they are distributed: the options of `Aims`.

    Raises:
        ValueError: no target, or one outside [0, 1); a scope that ranks scores or looks at a trained network.
    """

    scopes: ClassVar[tuple[Scope, ...]] = ("local", "erk")  # layers are sparse before there are scores

    def __init__(self, target: float | None = MethodConfig.target, **aims: Unpack[AimOptions]) -> None:
        Aims.__init__(self, target, **aims)
        self.need()
        self.target = self.targets[0]
        self._plans = Plans(self.targets, neurons=False, convolutions=True)

    def plans(self, view: View) -> list[Plan]:
        """Return what each target leaves at the end (see `share`)."""
        return self._plans.of(view)

    def share(self, view: View, projection: Projection) -> float:
        """Return the share of a projection's synapses to leave at the end, by the tightest target."""
        return min((plan.synapses[projection.name] for plan in self._plans.of(view)), default=1.0)

    def spared(self, view: View) -> set[str]:
        """Return the populations of layers that a target lets keep everything, by name."""
        shares = [
            (p.name, share_of(t.layers, p.producers)) for t in self.targets for p in view.topology.free()
        ]
        return {name for name, share in shares if share == 0.0}

    def weights(self, view: View) -> Iterator[tuple[Projection, nn.Parameter]]:
        """Yield the projections whose synapses are to be pruned, with their weights.

        A layer of which a target of 0 leaves everything is trained by the optimiser alone.
        """
        for p in view.topology.projections.values():
            if is_prunable(p, convolutions=True) and (self.target is None or self.share(view, p) < 1.0):
                yield p, view.model.get_parameter(p.weight)
