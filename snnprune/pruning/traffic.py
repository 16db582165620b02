"""What the layers of a network have to do for a sample, measured in the first batch of every epoch.

A target of operations, energy or latency is steered by these numbers (`measures`). They are those of a
training batch, in training mode, from the network as it is: with fewer units and synapses the others fire
more or less than before, so that each decision starts from new numbers.
"""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from snnprune.common import ranks
from snnprune.network.synops import SpikeCounter
from snnprune.pruning.forwards import is_training
from snnprune.pruning.measures import Load

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from snnprune.network.topology import Topology
    from snnprune.pruning.masks import Masks


@dataclass(frozen=True)
class LayerTraffic:
    """What one layer reads in one sample, over all time steps, on average.

    Attributes:
        reads: of each synapse, whole numbers; divided by ``per`` they are of a sample. In a shape that can be
            expanded to the weight's.
        columns: values other than zero of each input column, in the same way.
        per: what these numbers are divided by.
        analogue: whether its input is analogue.
    """

    reads: Tensor
    columns: Tensor
    per: float
    analogue: bool

    def load(self, alive: Tensor, columns: Tensor) -> Load:
        """Return the load of the layer, of what is alive of it.

        Args:
            alive: bool, shape of the weight.
            columns: bool, which input columns are alive.
        """
        # Sums of whole numbers are exact in any order: a network that was cut has the same.
        synapses = int(alive.sum())
        own = (self.reads * alive.sum(0, keepdim=True)) if len(self.reads) == 1 else self.reads * alive
        each = self.columns.view(-1, len(columns)).sum(0)  # of a column in all groups
        left = int(columns.sum())
        return Load(
            float(own.sum()) / max(synapses, 1) / self.per,
            float(each[columns].sum()) / max(left, 1) / self.per,
            self.analogue,
        )

    def each(self) -> Tensor:
        """Return what each synapse reads in a sample, in a shape that can be expanded to the weight's."""
        return self.reads / self.per


@dataclass(frozen=True)
class Traffic:
    """What the layers of a network read.

    Attributes:
        layers: by name; a layer that was not called is not there.
    """

    layers: Mapping[str, LayerTraffic]

    def loads(self, masks: Masks) -> dict[str, Load]:
        """Return the load of each layer, of what is alive of it."""
        known = masks.topology.projections
        return {
            name: layer.load(masks.alive(known[name]), masks.columns(known[name]))
            for name, layer in self.layers.items()
        }


class BatchTraffic:
    """Measures the traffic of the first batch after each `open`, in training alone.

    Args:
        model: the network.

    Attributes:
        now: of the last batch that was measured, in the size that the network had; None before the first one.
        loads: of what was alive when `settle` was called last, by name; None before the first batch.
        dense: loads of the network as long as nothing was pruned, by name, of the last such batch; None
            before the first one. Where something was pruned before that, they are of what was left, taken
            for all.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.now: Traffic | None = None
        self.loads: dict[str, Load] | None = None
        self.dense: dict[str, Load] | None = None
        self._counter: SpikeCounter | None = None

    @property
    def is_open(self) -> bool:
        """Whether a batch is waited for."""
        return self._counter is not None

    def open(self, topology: Topology) -> None:
        """Measure the next batch of the network, which has ``topology``."""
        self.stop()
        self._counter = SpikeCounter(self.model, topology, when=lambda: is_training(self.model))

    def stop(self) -> None:
        """Measure no batch, and remove the hooks."""
        if self._counter is not None:
            self._counter.close()
        self._counter = None

    def settle(self, masks: Masks) -> None:
        """Take the loads of what is alive now; a cut may come next, which tensors do not follow."""
        if self.now is not None:
            self.loads = self.now.loads(masks)

    def close(self, masks: Masks, *, whole: bool) -> None:
        """Take the batch that has been; all processes have to call it together.

        Args:
            masks: of the network.
            whole: nothing is pruned yet.
        """
        if self._counter is None:
            return
        counted = self._counter.reads()
        self.stop()
        layers = {}
        for p in masks.topology.projections.values():
            own = counted[p.name]
            facts = [own.calls, own.places, bool(own.calls), own.analogue]
            reads, columns, numbers = ranks.summed(
                [own.synapses, own.columns, torch.tensor(facts, dtype=torch.float64)]
            )
            calls, places, processes, analogue = numbers.tolist()
            if calls:
                per = calls * (places / processes) / p.positions
                layers[p.name] = LayerTraffic(reads, columns, per, bool(analogue))
        if not layers:
            return
        self.now = Traffic(layers)
        self.settle(masks)
        if whole or self.dense is None:
            self.dense = self.loads

    def state_dict(self) -> dict[str, Any]:
        """Return the loads of the dense network, as numbers."""
        return {name: asdict(load) for name, load in (self.dense or {}).items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned; what was measured last is measured again."""
        self.dense = {name: Load(**load) for name, load in state.items()} or None
        self.now = self.loads = None

    def __deepcopy__(self, memo: dict[int, Any]) -> BatchTraffic:
        """Return the same for a copy of the model, which measures its next batch where this one does."""
        twin = type(self)(copy.deepcopy(self.model, memo))
        memo[id(self)] = twin
        twin.now, twin.loads, twin.dense = self.now, self.loads, self.dense
        if self._counter is not None:
            twin.open(copy.deepcopy(self._counter.topology, memo))
        return twin
