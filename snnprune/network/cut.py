"""A cut: which units of each population stay, and which entries of every tensor stay with them."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import torch

from snnprune.network.resizing import resized, segments
from snnprune.network.runs import alive_along

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from torch import Tensor, nn

    from snnprune.network.resizing import Segments
    from snnprune.network.topology import Topology


class Cut:
    """The units that stay, for every population that loses some.

    Args:
        topology: topology of the network before the cut.
        units: bool [size] by population, True for a unit that stays; populations not named stay whole.
    """

    def __init__(self, topology: Topology, units: Mapping[str, Tensor]) -> None:
        self.before = topology
        self.units = {name: stays for name, stays in units.items() if not bool(stays.all())}

    def __bool__(self) -> bool:
        return bool(self.units)

    @cached_property
    def after(self) -> Topology:
        """The topology of the smaller network."""
        return resized(self.before, {name: int(stays.sum()) for name, stays in self.units.items()})

    @cached_property
    def segments(self) -> Segments:
        """The runs of each tensor that are cut, by the tensor's key in the state_dict and by axis."""
        touched = {
            key: {a: on for a, on in axes.items() if any(s.population in self.units for s in on)}
            for key, axes in segments(self.before).items()
        }
        return {key: axes for key, axes in touched.items() if axes}

    def numbers(self, model: nn.Module) -> Iterator[tuple[nn.Module, str, int]]:
        """Yield the numbers of modules that follow the units, as they are in the smaller network."""
        left = {p.name: p.size for p in self.after.populations.values()}
        for number in self.before.numbers:
            if any(name in self.units for name in number.populations):
                yield model.get_submodule(number.module), number.attribute, number.value(left)

    def stays(self, key: str, axis: int, length: int) -> Tensor:
        """Return bool [length]: which entries of an axis of tensor ``key`` stay."""
        stays = torch.ones(length, dtype=torch.bool)
        lost = [s for s in self.segments.get(key, {}).get(axis, []) if s.population in self.units]
        return alive_along(lost, self.units, stays)

    def take(self, key: str, tensor: Tensor, shape: tuple[int, ...] | None = None) -> Tensor:
        """Return the entries of ``tensor`` that stay; its axes are those of tensor ``key``.

        Args:
            key: key in the state_dict of the tensor whose axes are cut.
            tensor: that tensor, or another one with the same axes; an axis of length 1 stays whole.
            shape: shape of the tensor named ``key``, if ``tensor`` is another one.
        """
        for axis in self.segments.get(key, {}):
            whole = tensor.shape[axis] if shape is None else shape[axis]
            if tensor.shape[axis] == whole:
                index = self.stays(key, axis, whole).nonzero().squeeze(1)
                tensor = tensor.index_select(axis, index.to(tensor.device))
        return tensor

    def take_output(self, number: int, tensor: Tensor) -> Tensor:
        """Return what is left of tensor ``number`` of the network's output: a state loses units, too."""
        handed = self.before.handed[number] if number < len(self.before.handed) else None
        lost = [] if handed is None else [run for run in handed.runs if run.population in self.units]
        if handed is None or not lost:
            return tensor
        stays = alive_along(lost, self.units, torch.ones(tensor.shape[handed.axis], dtype=torch.bool))
        return tensor.index_select(handed.axis, stays.nonzero().squeeze(1).to(tensor.device))

    def unit(self, population: str) -> Tensor:
        """Return bool [size]: which units of a population stay."""
        whole = torch.ones(self.before.populations[population].size, dtype=torch.bool)
        return self.units.get(population, whole)

    def post(self, projection: str) -> Tensor:
        """Return bool [rows]: which outputs of a projection stay."""
        return self._side(projection, 0)

    def pre(self, projection: str) -> Tensor:
        """Return bool [columns]: which columns of a projection stay."""
        return self._side(projection, 1)

    def _side(self, projection: str, side: int) -> Tensor:
        p = self.before.projections[projection]
        return self.stays(p.weight, p.axes[side], p.shape[side])


def half_of(topology: Topology, populations: Iterable[str]) -> Cut:
    """Return the cut that leaves the first half of each of some populations."""
    sizes = {name: topology.populations[name].size for name in populations}
    return Cut(topology, {name: torch.arange(size) < -(-size // 2) for name, size in sizes.items()})
