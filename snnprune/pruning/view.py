"""What a method sees of the network (`View`), and what it returns (`Decision`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from snnprune.network.topology import Topology
    from snnprune.pruning.clock import Clock
    from snnprune.pruning.compaction.survivors import SurvivingUnits
    from snnprune.pruning.growth import Born
    from snnprune.pruning.masks import Masks
    from snnprune.pruning.measures import Load
    from snnprune.pruning.traces import Activity
    from snnprune.pruning.traffic import Traffic


@dataclass(frozen=True)
class View:
    """What a method sees of the network.

    Attributes:
        model: the network.
        topology: its populations and projections.
        masks: which units and synapses are alive.
        clock: the epoch and the batch.
        traces: activity of each observed projection in this batch (empty between batches).
        generator: the method's own random numbers, equal in every process, on the CPU.
        dense: populations and projections before the first cut; a target is a share of these.
        survivors: indices of the surviving units of ``dense``. A method that draws a number per unit draws
            for the dense network and takes the numbers of these units, so that a cut changes no draw.
        optimizers: the optimisers of the network that have been seen so far.
        samples: number of training samples, or None if it is not known.
        loss: returns the loss of the network as it is, on samples that are held out of training; None where
            the pruner was given none.
        traffic: what the layers had to do in the first batch of this epoch; None where no target asks for it,
            or before the first batch.
        dense_loads: what the layers of the dense network had to do; None as above.

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
    loss: Callable[[], float] | None = None
    traffic: Traffic | None = None
    dense_loads: Mapping[str, Load] | None = None


@dataclass(frozen=True)
class Decision:
    """Which units and synapses are alive from now on; populations and projections not named stay as they are.

    A method with ``permanent = False`` may let pruned units and synapses come back. Those in ``born`` begin
    anew: the pruner gives them their first weights, and moments of zero. Those that it names alive in
    ``units`` and ``synapses`` go on with weights that the method has set itself, before it returns the
    decision.

    Attributes:
        units: bool [size] by population.
        synapses: bool, shape of the weight, by projection.
        born: who of the dead comes to life, once the units and synapses named above are pruned.
        scale: factor by which the living weights of a projection are multiplied once, by its name.
        values: new values of tensors by their key in the state_dict, set once the units and synapses named
            above are pruned; dead entries stay zero. They make up for those that die.
        snapshot: save the network before the units and synapses named here are pruned; replaces an older
            snapshot.
        restore: go back to the snapshot, and to its shapes if the network was cut since. The method's own
            state no longer fits then, so the method clears it before it returns the decision.
        finished: this is the last decision, and training may end; the method is not called again.

    Examples:
        >>> import torch
        >>> from snnprune.pruning import Decision
        >>> decision = Decision(units={"conv1": torch.tensor([True, True, False])})
        >>> decision.finished
        False
    """

    units: dict[str, Tensor] = field(default_factory=dict)
    synapses: dict[str, Tensor] = field(default_factory=dict)
    born: Born | None = None
    scale: dict[str, float] = field(default_factory=dict)
    values: dict[str, Tensor] = field(default_factory=dict)
    snapshot: bool = False
    restore: bool = False
    finished: bool = False
