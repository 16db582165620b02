"""Which units of the dense network are left: how a cut network is still spoken of as the one that it was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from snnprune.common.errors import CompactionError
from snnprune.network.resizing import resized, resized_shape, segments
from snnprune.pruning.compaction.cut import Cut
from snnprune.pruning.compaction.shapes import tensor_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

    from snnprune.network.topology import Topology
    from snnprune.pruning.compaction.transaction import Transaction

_ATTRIBUTE = "snnprune_survivors"


class SurvivingUnits(Mapping[str, "Tensor"]):
    """Indices of a dense network's units that are left: int64, ascending, on the CPU, by population.

    A network that was cut carries one beside its state_dict (`survivors_of`), for `verify` and `save`; a
    pruner has one, since rates and targets mean the network that training began with. It does not change: a
    cut makes another one.

    Args:
        sizes: units of each population before the first cut.
        left: their indices; all where a population is not named.
        shapes: of tensors before the first cut, by their key in the state_dict, where they have changed.
    """

    def __init__(
        self,
        sizes: Mapping[str, int],
        left: Mapping[str, Tensor] | None = None,
        shapes: Mapping[str, tuple[int, ...]] | None = None,
    ) -> None:
        self.sizes, self.shapes = dict(sizes), dict(shapes or {})
        self._left = {name: torch.arange(size) for name, size in sizes.items()}
        self._left |= {name: units.cpu() for name, units in (left or {}).items()}

    @staticmethod
    def all_of(topology: Topology) -> SurvivingUnits:
        """Return what is left of a network that was not cut."""
        return SurvivingUnits({p.name: p.size for p in topology.populations.values()})

    def __getitem__(self, population: str) -> Tensor:
        return self._left[population]

    def __iter__(self) -> Iterator[str]:
        return iter(self._left)

    def __len__(self) -> int:
        return len(self._left)

    @property
    def cut_sizes(self) -> dict[str, int]:
        """Units before the first cut, of the populations that have lost some."""
        return {name: size for name, size in self.sizes.items() if len(self[name]) < size}

    def after(self, cut: Cut) -> SurvivingUnits:
        """Return what a further cut leaves."""
        stays = {name: units.cpu().nonzero().squeeze(1) for name, units in cut.units.items()}
        sizes = {name: cut.before.populations[name].size for name in stays}
        left = {name: self[name][units] if name in self else units for name, units in stays.items()}
        return SurvivingUnits(sizes | self.sizes, self._left | left)

    def then(self, later: SurvivingUnits) -> SurvivingUnits:
        """Return what is left where the units that ``later`` begins with are those that this one has left."""
        left = {name: self[name][units] if name in self else units for name, units in later.items()}
        return SurvivingUnits(later.sizes | self.sizes, self._left | left)

    def cut(self, dense: Topology) -> Cut:
        """Return the cut that makes the network as it is of the dense one."""
        units = {}
        for name, left in self.items():
            units[name] = torch.zeros(self.sizes[name], dtype=torch.bool)
            units[name][left] = True
        return Cut(dense, units)

    # --- checkpoints

    def state_dict(self) -> dict[str, dict[str, Any]]:
        """Return, for each population that was cut, its dense size and the indices left."""
        return {name: {"size": size, "units": self[name].clone()} for name, size in self.cut_sizes.items()}

    def restored(self, state: Mapping[str, Mapping[str, Any]], now: Topology) -> tuple[SurvivingUnits, Cut]:
        """Return what `state_dict` held, and the cut that makes the network as it is the one it was saved of.

        The network may be dense still (or less cut than it was), or as small as it was already.

        Args:
            state: of another network of the same make.
            now: topology of the network as it is.

        Raises:
            CompactionError: the state is of another network, or of this one before it was cut.
        """
        left = {name: entry["units"].cpu() for name, entry in state.items()}
        sizes = {name: int(entry["size"]) for name, entry in state.items()}
        if sizes.keys() <= self.keys():
            if all(self.sizes[name] == size for name, size in sizes.items()):
                saved = SurvivingUnits(self.sizes, left)
                return saved, Cut(now, {name: self._stays(name, saved) for name in self})
            if not self.cut_sizes and all(self.sizes[name] == len(units) for name, units in left.items()):
                return SurvivingUnits(self.sizes | sizes, left), Cut(now, {})
        raise CompactionError(
            f"this state is of another network: expected populations {self.sizes}, came a state whose cut "
            f"populations had {sizes} units before the cut and "
            f"{ {name: len(units) for name, units in left.items()} } after it"
        )

    def _stays(self, name: str, saved: SurvivingUnits) -> Tensor:
        if not bool(torch.isin(saved[name], self[name]).all()):
            raise CompactionError(
                f"population {name} has lost units that this state still has: build the network anew and "
                "load the state into the new one"
            )
        return torch.isin(self[name], saved[name])


def dense_topology(now: Topology, survivors: SurvivingUnits) -> Topology:
    """Return the topology before the first cut."""
    return resized(now, survivors.cut_sizes)


def survivors_of(model: nn.Module) -> SurvivingUnits:
    """Return what a network that was cut carries; a record of no population for one that never was."""
    found = vars(model).get(_ATTRIBUTE)
    return found if isinstance(found, SurvivingUnits) else SurvivingUnits({})


def note(changes: Transaction, model: nn.Module, survivors: SurvivingUnits, now: Topology) -> None:
    """Let ``model`` carry ``survivors``, with the shapes that its tensors had before the first cut.

    Args:
        changes: in which this is done.
        model: the network.
        survivors: which of its units are left.
        now: its topology as it is.
    """
    sizes = survivors.cut_sizes
    shapes = {
        key: resized_shape(now, sizes, key, tuple(tensor_of(model, key).shape))
        for key, axes in segments(now).items()
        if any(s.population in sizes for on in axes.values() for s in on)
    }
    left = {name: survivors[name] for name in sizes}
    record = SurvivingUnits(sizes, left, shapes | survivors_of(model).shapes)
    carry(changes, model, record)


def carry(changes: Transaction, model: nn.Module, survivors: SurvivingUnits) -> None:
    """Let ``model`` carry ``survivors``, which know the shapes of its tensors already."""
    changes.remember(model, _ATTRIBUTE)
    setattr(model, _ATTRIBUTE, survivors)
