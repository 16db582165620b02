"""A bounded sample of a network's neurons and synapses, to be followed through all cuts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from snnprune.network.runs import summed
from snnprune.network.weights import weight_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from snnprune.network.topology import Projection
    from snnprune.pruning.pruned import Pruned

UNITS = 512
"""Largest sample of a population: all units of the papers' layers, but for the widest two-layer networks."""

SYNAPSES = 256
"""Largest sample of synapses of a fully connected layer: a picture can show as many lines."""

MAP = 96
"""Most rows and columns of the map of a fully connected layer: a column of a paper can show as many."""

GOLDEN = 0.6180339887498949  # fractions of its multiples fill a row evenly, for any width of a layer


class Sample:
    """A sample of the dense network's units, with values read from the network in its present size.

    It is drawn from the dense network alone, so that a unit can be followed even if the network is cut.

    Args:
        pruned: the network.
        scores: of the method, by kind and name; see `Pruner.importance`.
    """

    def __init__(self, pruned: Pruned, scores: Mapping[str, Tensor]) -> None:
        self.pruned, self.scores = pruned, scores
        self.linear = [p for p in pruned.dense.projections.values() if p.kind == "linear"]
        sizes = {p.name: p.size for p in pruned.dense.populations.values()}
        self._cut = pruned.survivors.cut(pruned.dense)
        self._alive = pruned.masks.all_alive()
        self._units = {
            name: _places(self._cut.unit(name), _spread(size, UNITS)) for name, size in sizes.items()
        }

    def survival(self, survival: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return F of neurons and synapses, from that of the whole network by kind and name."""
        found = {}
        for key, state in survival.items():
            unit, _, name = key.partition("/")
            if unit == "neurons":
                found[key] = _read(state, self.pruned.masks.units[name], self._units[name])
            elif name in {p.name for p in self.linear}:
                rows, columns = self._synapses(self.pruned.dense.projections[name])
                found[key] = _read(state, self._alive[name], _flat(rows, columns, state.shape[1]))
        return found

    def fan_in(self) -> dict[str, Tensor]:
        """Return the number of alive synapses into each neuron, int64 [sample] by population; -1: pruned."""
        found = {}
        for name, places in self._units.items():
            counts = [
                summed(p.outflow, name, self._alive[p.name].flatten(1).sum(1))
                for p in self.pruned.topology.incoming(name)
            ]
            found[name] = _read(torch.stack(counts).sum(0), self.pruned.masks.units[name], places, dead=-1)
        return found

    def importance(self) -> dict[str, Tensor]:
        """Return scores: [sample] of neurons, [rows, columns] of the synapses of fully connected layers."""
        found = {}
        for name, places in self._units.items():
            key = f"neurons/{name}"
            if key in self.scores:
                found[key] = _read(self.scores[key], self.pruned.masks.units[name], places)
        for p in self.linear:
            key, weight = f"synapses/{p.name}", weight_of(self.pruned.model.get_submodule(p.name)).detach()
            rows = _places(self._cut.post(p.name), _spread(p.shape[0], MAP))
            columns = _places(self._cut.pre(p.name), _spread(p.shape[1], MAP))
            flat = _flat(rows[:, None], columns[None, :], weight.shape[1])
            values = _read(self.scores.get(key, weight), self._alive[p.name], flat)
            found[key] = values if key in self.scores else values.abs()
        return found

    def _synapses(self, projection: Projection) -> tuple[Tensor, Tensor]:
        """Return the current rows and columns of the sample, -1 where they were cut."""
        size, width = projection.shape[0] * projection.shape[1], projection.shape[1]
        turns = torch.arange(min(SYNAPSES, size))
        flat = turns if size <= SYNAPSES else ((turns + 0.5) * GOLDEN % 1.0 * size).long().sort().values
        rows, columns = flat // width, flat % width
        return (
            _places(self._cut.post(projection.name), rows),
            _places(self._cut.pre(projection.name), columns),
        )


def _spread(size: int, limit: int) -> Tensor:
    """Return ``limit`` indices spread evenly over ``size``, or all indices if there are fewer."""
    return torch.arange(min(size, limit)) * size // min(size, limit)


def _places(stays: Tensor, chosen: Tensor) -> Tensor:
    """Return the current index of each ``chosen`` entry of the dense network, -1 where it was cut."""
    now = stays.cumsum(0) - 1
    return torch.where(stays[chosen], now[chosen], -1)


def _flat(rows: Tensor, columns: Tensor, width: int) -> Tensor:
    return torch.where((rows >= 0) & (columns >= 0), rows * width + columns, -1)


def _read(values: Tensor, alive: Tensor, places: Tensor, dead: float = torch.nan) -> Tensor:
    """Return entries of flattened ``values`` at ``places``; ``dead`` where a place is -1 or not ``alive``."""
    places = places.to(values.device)
    there = places.clamp(min=0)
    living = (places >= 0) & alive.flatten()[there]
    return torch.where(living, values.flatten()[there], dead)
