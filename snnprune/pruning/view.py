"""What a method is shown of the network, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from snnprune.network.topology import Topology
    from snnprune.pruning.clock import Clock
    from snnprune.pruning.compaction.survivors import SurvivingUnits
    from snnprune.pruning.masks import Masks
    from snnprune.pruning.traces import Activity


@dataclass(frozen=True)
class View:
    """What a method sees of the network.

    Attributes:
        model: the network.
        topology: its populations and projections.
        masks: who is alive.
        clock: when.
        traces: activity of each observed projection in this batch (empty between batches).
        generator: random numbers of the method's own, equal on every process, on the CPU.
        dense: populations and projections before the first cut: what a target is a share of.
        survivors: which units of `dense` are left; a method that draws a number per unit draws for the dense
            network and takes these, so that a cut changes no draw.
        optimizers: those that train the network, as far as they have been seen.
        samples: of the training set, where that is known.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import snnprune
        >>> class Look(snnprune.pruning.Method):
        ...     def begin(self, view):
        ...         print(list(view.topology.populations), view.clock)
        >>> model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(16, 4)
        >>> pruner = snnprune.Pruner(model, x, Look(), epochs=3)
        ['0', '2'] Clock(epochs=3, epoch=0, batches=0)
    """

    model: nn.Module
    topology: Topology
    masks: Masks
    clock: Clock
    traces: Mapping[str, Activity]
    generator: torch.Generator
    dense: Topology
    survivors: SurvivingUnits
    optimizers: tuple[Optimizer, ...] = ()
    samples: int | None = None


@dataclass(frozen=True)
class Decision:
    """Who is alive from now on; what is not named stays as it is.

    What a method with ``permanent = False`` names may wake what was dead; it writes the weights of the woken
    itself, before it answers.

    Attributes:
        units: bool [size] by population.
        synapses: bool, shape of the weight, by projection.
        snapshot: keep the network as it is, before anything named here dies, in place of an older snapshot.
        restore: go back to the snapshot, with its shapes where the network was cut since. What the method has
            of its own by slots is of another network then: it lets go of that before it answers.
        finished: nothing more is to be decided, and training may end; the method is not asked again.

    Examples:
        >>> import torch
        >>> from snnprune.pruning import Decision
        >>> decision = Decision(units={"conv1": torch.tensor([True, True, False])})
        >>> decision.finished
        False
    """

    units: dict[str, Tensor] = field(default_factory=dict)
    synapses: dict[str, Tensor] = field(default_factory=dict)
    snapshot: bool = False
    restore: bool = False
    finished: bool = False
