"""Which units of the dense network are left: how a cut network is still spoken of as the one that it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from snnprune.common.errors import CompactionError
from snnprune.network.resizing import resized, resized_shape, segments
from snnprune.pruning.compaction.cut import Cut
from snnprune.pruning.compaction.origin import Origin

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from snnprune.network.topology import Topology

State = dict[str, dict[str, Any]]


class Kept:
    """Indices of the dense network's units that are left.

    Args:
        dense: the network before the first cut.
        units: ascending indices by population; all where a population is not named.

    Attributes:
        units: int64 [units left] by population, on the CPU.
    """

    def __init__(self, dense: Topology, units: Mapping[str, Tensor] | None = None) -> None:
        self.dense = dense
        self.units = {p.name: torch.arange(p.size) for p in dense.populations.values()} | dict(units or {})

    def shrink(self, cut: Cut) -> None:
        """Follow the network, which has been cut."""
        for name, stays in cut.units.items():
            self.units[name] = self.units[name][stays.cpu()]

    def expand(
        self, small: Topology, units: Mapping[str, Tensor], synapses: Mapping[str, Tensor]
    ) -> dict[str, dict[str, Tensor]]:
        """Lay masks of the network as it is out for the dense one; what is gone is dead.

        Args:
            small: the network as it is.
            units: bool [units left] by population.
            synapses: bool, shape of the weight as it is, by projection.
        """
        assert all(len(self.units[p.name]) == p.size for p in small.populations.values())
        cut = Cut(self.dense, {name: self._mask(name) for name in self.units})
        whole: dict[str, Tensor] = {}
        for name, alive in units.items():
            whole[name] = torch.zeros(self.dense.populations[name].size, dtype=torch.bool)
            whole[name][self.units[name]] = alive.cpu()
        weights: dict[str, Tensor] = {}
        for name, alive in synapses.items():
            p = self.dense.projections[name]
            rows, columns = (cut.stays(p.weight, axis, p.shape[axis]).nonzero() for axis in (0, 1))
            weights[name] = torch.zeros(p.shape, dtype=torch.bool)
            weights[name][rows, columns.T] = alive.cpu()
        return {"units": whole, "synapses": weights}

    def _mask(self, name: str) -> Tensor:
        left = torch.zeros(self.dense.populations[name].size, dtype=torch.bool)
        left[self.units[name]] = True
        return left

    # --- checkpoints

    def state_dict(self) -> State:
        """Return, for each population that was cut, its dense size and the indices left."""
        sizes = {p.name: p.size for p in self.dense.populations.values()}
        return {
            name: {"size": sizes[name], "units": units.clone()}
            for name, units in self.units.items()
            if len(units) < sizes[name]
        }

    def restored(self, state: State) -> tuple[Kept, Cut]:
        """Return what `state_dict` held, and the cut that makes the network as it is the one it was saved of.

        The network may be dense still (or less cut than it was), or as small as it was already.

        Raises:
            CompactionError: the state is of another network, or of this one before it was cut.
        """
        left = {name: entry["units"].cpu() for name, entry in state.items()}
        sizes = {name: int(entry["size"]) for name, entry in state.items()}
        mine = {p.name: p.size for p in self.dense.populations.values()}
        now = {name: len(units) for name, units in self.units.items()}
        if sizes.keys() <= mine.keys():
            if all(mine[name] == size for name, size in sizes.items()):
                kept = Kept(self.dense, left)
                return kept, self._cut_to(kept)
            if now == mine and all(mine[name] == len(units) for name, units in left.items()):
                return Kept(resized(self.dense, sizes), left), Cut(self.dense, {})
        raise CompactionError(
            f"this state is of another network: expected populations {mine}, came one whose cut populations "
            f"had {sizes} units and kept { {name: len(units) for name, units in left.items()} }"
        )

    def _cut_to(self, other: Kept) -> Cut:
        for name, units in self.units.items():
            if not bool(torch.isin(other.units[name], units).all()):
                raise CompactionError(
                    f"population {name} has lost units that this state still has: build the network anew and "
                    "load the state into that"
                )
        stays = {name: torch.isin(units, other.units[name]) for name, units in self.units.items()}
        small = resized(self.dense, {name: len(units) for name, units in self.units.items()})
        return Cut(small, stays)

    def origin(self, model: nn.Module) -> Origin:
        """Return what there is to say of where ``model``, the network as it is, comes from."""
        state = self.state_dict()
        sizes = {name: int(entry["size"]) for name, entry in state.items()}
        small = resized(self.dense, {name: len(units) for name, units in self.units.items()})
        tensors = dict(model.named_parameters()) | dict(model.named_buffers())
        shapes = {
            key: resized_shape(small, sizes, key, tuple(tensors[key].shape))
            for key, axes in segments(small).items()
            if any(s.population in sizes for on in axes.values() for s in on)
        }
        return Origin(sizes, {name: entry["units"] for name, entry in state.items()}, shapes)
