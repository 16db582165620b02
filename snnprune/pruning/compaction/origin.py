"""Where a smaller network comes from: what it kept of the one that it was cut from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor, nn

    from snnprune.pruning.compaction.cut import Cut

_ATTRIBUTE = "snnprune_origin"


@dataclass(frozen=True)
class Origin:
    """What a network was before it was cut; it travels with the module, beside its state_dict.

    Attributes:
        sizes: units of each population that was ever cut, before the first cut.
        kept: which of those units are left, ascending, on the CPU.
        shapes: shape of every tensor that was ever cut, before the first cut, by its key in the state_dict.
    """

    sizes: dict[str, int] = field(default_factory=dict)
    kept: dict[str, Tensor] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)


def origin_of(model: nn.Module) -> Origin:
    """Return where ``model`` comes from; an empty record for a network that was never cut."""
    found = vars(model).get(_ATTRIBUTE)
    return found if isinstance(found, Origin) else Origin()


def set_origin(model: nn.Module, origin: Origin) -> None:
    """Note where ``model`` comes from."""
    setattr(model, _ATTRIBUTE, origin)


def note_cut(model: nn.Module, cut: Cut, shapes: dict[str, tuple[int, ...]]) -> None:
    """Note that ``model``, whose tensors had ``shapes``, was cut."""
    old = origin_of(model)
    kept = dict(old.kept)
    for name, stays in cut.units.items():
        before = kept.get(name, torch.arange(cut.before.populations[name].size))
        kept[name] = before[stays.cpu()]
    sizes = {name: cut.before.populations[name].size for name in cut.units}
    set_origin(model, Origin(sizes | old.sizes, kept, shapes | old.shapes))
