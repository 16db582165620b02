"""What the layers of a network have to do for a sample, measured in the first batch of every epoch.

A target of operations, energy or latency is steered by these numbers (`measures`). They are those of a
training batch, in training mode, from the network as it is: with fewer units and synapses the others fire
more or less than before, so that each decision starts from new numbers.
"""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from snnprune.common import ranks
from snnprune.network.synops import SpikeCounter
from snnprune.pruning.forwards import is_training
from snnprune.pruning.measures import Load

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from snnprune.network.cut import Cut
    from snnprune.network.topology import Topology
    from snnprune.pruning.masks import Masks


@dataclass(frozen=True)
class LayerTraffic:
    """What one layer reads in one sample, over all time steps, on average.

    Attributes:
        reads: of each synapse, whole numbers; divided by ``per`` they are of a sample. In a shape that can be
            expanded to the weight's.
        columns: values other than zero of each input column, [columns], in the same way.
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
        left = int(columns.sum())
        return Load(
            float(own.sum()) / max(synapses, 1) / self.per,
            float(self.columns[columns].sum()) / max(left, 1) / self.per,
            self.analogue,
        )

    def each(self) -> Tensor:
        """Return what each synapse reads in a sample, in a shape that can be expanded to the weight's."""
        return self.reads / self.per

    def to(self, device: torch.device) -> LayerTraffic:
        """Return the same on a device."""
        return replace(self, reads=self.reads.to(device), columns=self.columns.to(device))

    def cut(self, rows: Tensor, columns: Tensor) -> LayerTraffic:
        """Return what is left of it.

        Args:
            rows: bool, which rows of the weight stay.
            columns: bool, which of its columns.
        """
        reads = self.reads
        for axis, stays in enumerate((rows, columns)):
            if reads.shape[axis] == len(stays):  # and not 1, of all rows
                reads = reads.index_select(axis, stays.nonzero().squeeze(1).to(reads.device))
        return replace(self, reads=reads, columns=self.columns[columns.to(self.columns.device)])


@dataclass(frozen=True)
class Traffic:
    """What the layers of a network read.

    Attributes:
        layers: by name; a layer that was not called is not there.
        loads: of each layer, of what was alive of it when it was measured.
    """

    layers: Mapping[str, LayerTraffic]
    loads: Mapping[str, Load]

    def loads_of(self, masks: Masks) -> dict[str, Load]:
        """Return the load of each layer, of what is alive of it."""
        return _loads(self.layers, masks)

    def cut(self, cut: Cut) -> Traffic:
        """Return the traffic of what a cut leaves of the network."""
        return replace(self, layers={n: own.cut(cut.post(n), cut.pre(n)) for n, own in self.layers.items()})


def _loads(layers: Mapping[str, LayerTraffic], masks: Masks) -> dict[str, Load]:
    known = masks.topology.projections
    return {n: own.load(masks.alive(known[n]), masks.columns(known[n])) for n, own in layers.items()}


class BatchTraffic:
    """Measures the traffic of the first batch after each `open`, in training alone.

    Args:
        model: the network.

    Attributes:
        now: of the last batch that was measured, in the size that the network has; None before the first one.
        loads: of what was alive when `settle` was called last, by name; None before the first batch.
        dense: loads of the network as long as nothing was pruned, by name, of the last such batch; None
            before the first one. Where something was pruned before that, they are of what was left, taken
            for all.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.now: Traffic | None = None
        self.loads: Mapping[str, Load] | None = None
        self.dense: Mapping[str, Load] | None = None
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
            self.loads = self.now.loads_of(masks)

    def follow(self, topology: Topology, cut: Cut | None) -> None:
        """Follow the network to another size.

        Args:
            topology: of the network in its new size.
            cut: how it came from the present one; None: otherwise than by a cut.
        """
        self.now = None if self.now is None or cut is None else self.now.cut(cut)
        if self.is_open:
            self.open(topology)

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
            of_all_groups = own.columns.view(-1, p.columns).sum(0)
            reads, columns, numbers = ranks.summed(
                [own.synapses, of_all_groups, torch.tensor(facts, dtype=torch.float64)]
            )
            calls, places, processes, analogue = numbers.tolist()
            if calls:
                per = calls * (places / processes) / p.positions
                layers[p.name] = LayerTraffic(reads, columns, per, bool(analogue))
        if not layers:
            return
        self.now = Traffic(layers, _loads(layers, masks))
        self.loads = self.now.loads
        if whole or self.dense is None:
            self.dense = self.loads

    def state_dict(self) -> dict[str, Any]:
        """Return what was measured, and whether a batch is waited for."""
        measured = {} if self.now is None else {n: vars(own).copy() for n, own in self.now.layers.items()}
        of_it = None if self.now is None else self.now.loads
        loads = {"dense": self.dense, "loads": self.loads, "of_it": of_it}
        return {"now": measured, "waits": self.is_open} | {k: _numbers(own) for k, own in loads.items()}

    def load_state_dict(self, state: Mapping[str, Any], topology: Topology, device: torch.device) -> None:
        """Restore what `state_dict` returned, for the network in the size that it had."""
        self.dense, self.loads, of_it = (_loads_in(state.get(key)) for key in ("dense", "loads", "of_it"))
        layers = {n: LayerTraffic(**own).to(device) for n, own in state.get("now", {}).items()}
        self.now = Traffic(layers, of_it or {}) if layers else None
        self.stop()
        if state.get("waits", False):
            self.open(topology)

    def __deepcopy__(self, memo: dict[int, Any]) -> BatchTraffic:
        """Return the same for a copy of the model, which measures its next batch where this one does."""
        twin = type(self)(copy.deepcopy(self.model, memo))
        memo[id(self)] = twin
        twin.now, twin.loads, twin.dense = self.now, self.loads, self.dense
        if self._counter is not None:
            twin.open(copy.deepcopy(self._counter.topology, memo))
        return twin


def _numbers(loads: Mapping[str, Load] | None) -> dict[str, dict[str, Any]]:
    return {name: asdict(load) for name, load in (loads or {}).items()}


def _loads_in(numbers: Mapping[str, Mapping[str, Any]] | None) -> dict[str, Load] | None:
    return {name: Load(**load) for name, load in (numbers or {}).items()} or None
