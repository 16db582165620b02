"""Which units of the dense network survive: they relate a cut network to the one before the first cut."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from snnprune.common.errors import CompactionError
from snnprune.network.cut import Cut
from snnprune.network.resizing import resized, resized_shape, segments
from snnprune.network.sizes import tensor_of
from snnprune.network.wrappers import inside, prefix
from snnprune.pruning.compaction.transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor, nn

    from snnprune.network.topology import Topology

_ATTRIBUTE = "snnprune_survivors"


class SurvivingUnits(Mapping[str, "Tensor"]):
    """Indices of a dense network's surviving units: int64, ascending, on the CPU, by population.

    A network that was cut carries this mapping beside its state_dict (`survivors_of`), for `verify` and
    `save`. A pruner has one, because rates and targets refer to the network at the start of training. The
    mapping is immutable: a cut returns a new one.

    Args:
        sizes: number of units of each population before the first cut.
        left: indices of the surviving units; a population not named keeps all.
        shapes: shapes before the first cut of the tensors that were cut, by their key in the state_dict.
        numbers: integers of modules that follow numbers of units, by "module.attribute": now, and before the
            first cut.
    """

    def __init__(
        self,
        sizes: Mapping[str, int],
        left: Mapping[str, Tensor] | None = None,
        shapes: Mapping[str, tuple[int, ...]] | None = None,
        numbers: Mapping[str, tuple[int, int]] | None = None,
    ) -> None:
        self.sizes, self.shapes, self.numbers = dict(sizes), dict(shapes or {}), dict(numbers or {})
        self._left = {name: torch.arange(size) for name, size in sizes.items()}
        self._left |= {name: units.cpu() for name, units in (left or {}).items()}

    @staticmethod
    def all_of(topology: Topology) -> SurvivingUnits:
        """Return the surviving units of a network that was not cut: all of them."""
        return SurvivingUnits({p.name: p.size for p in topology.populations.values()})

    def __getitem__(self, population: str) -> Tensor:
        return self._left[population]

    def __iter__(self) -> Iterator[str]:
        return iter(self._left)

    def __len__(self) -> int:
        return len(self._left)

    def __deepcopy__(self, memo: dict[int, Any]) -> SurvivingUnits:
        return self

    def renamed(self, rename: Callable[[str], str]) -> SurvivingUnits:
        """Return the same with other names of populations and tensors."""
        return SurvivingUnits(
            {rename(name): size for name, size in self.sizes.items()},
            {rename(name): units for name, units in self.items()},
            {rename(key): shape for key, shape in self.shapes.items()},
            {rename(key): values for key, values in self.numbers.items()},
        )

    @property
    def cut_sizes(self) -> dict[str, int]:
        """Number of units before the first cut, for the populations that have lost some."""
        return {name: size for name, size in self.sizes.items() if len(self[name]) < size}

    def after(self, cut: Cut) -> SurvivingUnits:
        """Return the surviving units after a further cut."""
        stays = {name: units.cpu().nonzero().squeeze(1) for name, units in cut.units.items()}
        sizes = {name: cut.before.populations[name].size for name in stays}
        left = {name: self[name][units] if name in self else units for name, units in stays.items()}
        numbers = _numbers(cut.after, sizes | self.sizes)
        return SurvivingUnits(sizes | self.sizes, self._left | left, numbers=self.numbers | numbers)

    def then(self, later: SurvivingUnits) -> SurvivingUnits:
        """Return the surviving units after ``later``, whose dense units are the survivors of this one."""
        left = {name: self[name][units] if name in self else units for name, units in later.items()}
        numbers = {
            k: (now, self.numbers.get(k, (now, dense))[1]) for k, (now, dense) in later.numbers.items()
        }
        return SurvivingUnits(later.sizes | self.sizes, self._left | left, numbers=self.numbers | numbers)

    def cut(self, dense: Topology) -> Cut:
        """Return the cut from the dense network to the present one."""
        units = {}
        for name, left in self.items():
            units[name] = torch.zeros(self.sizes[name], dtype=torch.bool)
            units[name][left] = True
        return Cut(dense, units)

    # --- checkpoints

    def state_dict(self) -> dict[str, dict[str, Any]]:
        """Return, for each population that was cut, its dense size and the indices of its surviving units.

        The first one holds the integers of modules that follow numbers of units, too, if there are any.
        """
        state: dict[str, dict[str, Any]] = {
            name: {"size": size, "units": self[name].clone()} for name, size in self.cut_sizes.items()
        }
        if self.numbers and state:
            next(iter(state.values()))["numbers"] = {k: list(values) for k, values in self.numbers.items()}
        return state

    def restored(self, state: Mapping[str, Mapping[str, Any]]) -> SurvivingUnits:
        """Return the survivors in ``state``.

        Where this network was never cut, it may also be the network of ``state`` in its present size; the
        sizes before the first cut are then those of ``state``.

        Args:
            state: the `state_dict` of a network of the same structure.

        Raises:
            CompactionError: the state is of another network.
        """
        left = {name: entry["units"].cpu() for name, entry in state.items()}
        sizes = {name: int(entry["size"]) for name, entry in state.items()}
        if sizes.keys() <= self.keys():
            numbers = numbers_in(state)
            if all(self.sizes[name] == size for name, size in sizes.items()):
                return SurvivingUnits(self.sizes, left, numbers=numbers)
            if not self.cut_sizes and all(self.sizes[name] == len(units) for name, units in left.items()):
                return SurvivingUnits(self.sizes | sizes, left, numbers=numbers)
        raise CompactionError(
            f"this state is of another network: expected populations {self.sizes}, came a state whose cut "
            f"populations had {sizes} units before the cut and "
            f"{ {name: len(units) for name, units in left.items()} } after it"
        )

    def lost(self, other: SurvivingUnits) -> str | None:
        """Return the name of a population that has lost units which ``other`` still has, None if none has."""
        return next((name for name in self if not bool(torch.isin(other[name], self[name]).all())), None)

    def cut_to(self, other: SurvivingUnits, now: Topology) -> Cut:
        """Return the cut from the present network, of topology ``now``, to the one of ``other``."""
        return Cut(now, {name: torch.isin(self[name], other[name]) for name in self})


class _Record(SurvivingUnits):
    """What a network carries: a file holds plain values, so that it is read without snnprune."""

    def __reduce__(self) -> Any:
        own = {"sizes": self.sizes, "left": self._left, "shapes": self.shapes, "numbers": self.numbers}
        return dict, (own,)


def _numbers(now: Topology, dense: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """Return integers of modules as they are now, and with ``dense`` sizes of populations."""
    sizes = {p.name: p.size for p in now.populations.values()}
    return {n.key: (n.value(sizes), n.value(sizes | dict(dense))) for n in now.numbers}


def numbers_in(kept: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[int, int]]:
    """Return the integers of modules in a `SurvivingUnits.state_dict`: now, and before the first cut."""
    return {k: (int(a), int(b)) for e in kept.values() for k, (a, b) in e.get("numbers", {}).items()}


def dense_topology(now: Topology, survivors: SurvivingUnits) -> Topology:
    """Return the topology before the first cut."""
    return resized(now, survivors.cut_sizes)


def survivors_of(model: nn.Module) -> SurvivingUnits:
    """Return the surviving units of a network; an empty mapping if it was never cut."""
    found = vars(inside(model)).get(_ATTRIBUTE)
    if isinstance(found, dict):  # the network was read from a file
        found = SurvivingUnits(**found)
    return found.renamed(lambda name: prefix(model) + name) if found else SurvivingUnits({})


def note(changes: Transaction, model: nn.Module, survivors: SurvivingUnits, now: Topology) -> None:
    """Store ``survivors`` on ``model``, with the shapes of its tensors before the first cut.

    Args:
        changes: the transaction that undoes it on failure.
        model: the network.
        survivors: its surviving units.
        now: its present topology.
    """
    sizes = survivors.cut_sizes
    shapes = {
        key: resized_shape(now, sizes, key, tuple(tensor_of(model, key).shape))
        for key, axes in segments(now).items()
        if any(s.population in sizes for on in axes.values() for s in on)
    }
    left = {name: survivors[name] for name in sizes}
    numbers = {key: both for key, both in _numbers(now, sizes).items() if both[0] != both[1]}
    record = SurvivingUnits(sizes, left, shapes | survivors_of(model).shapes, numbers)
    carry(changes, model, record)


def carry(changes: Transaction, model: nn.Module, survivors: SurvivingUnits) -> None:
    """Store ``survivors``, which hold the shapes of the tensors already, on ``model``.

    They stand on the network itself, by its own names, whatever stands around it.
    """
    network, before = inside(model), prefix(model)
    changes.remember(network, _ATTRIBUTE)
    own = survivors.renamed(lambda name: name.removeprefix(before))
    setattr(network, _ATTRIBUTE, _Record(own.sizes, own, own.shapes, own.numbers))


def note_kept(
    model: nn.Module, kept: Mapping[str, Mapping[str, Any]], shapes: Mapping[str, tuple[int, ...]]
) -> None:
    """Note on a network that it is small, before the state is loaded that has made it so.

    Args:
        model: the network, with the shapes of the state.
        kept: `SurvivingUnits.state_dict` of the state.
        shapes: of the tensors that were cut, before the first cut.
    """
    sizes = {name: int(entry["size"]) for name, entry in kept.items()}
    left = {name: entry["units"] for name, entry in kept.items()}
    with Transaction() as changes:
        carry(changes, model, SurvivingUnits(sizes, left, shapes, numbers_in(kept)))
