"""The state of a method: tensors by owner and name, each with what its axes index.

A method, a criterion or a rule declares its tensors once, in ``axes``. Checkpoints and cuts then handle them
alike.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from snnprune.common.errors import CompactionError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from snnprune.network.cut import Cut

Axes = tuple[str, ...]
Tensors = dict[str, dict[str, "Tensor"]]

WEIGHT: Axes = ("weight",)
"""Axes of a tensor in the shape of its owner's weight; the owner is a projection."""
SCORES: Axes = ("scores",)
"""Axes of a tensor in the shape of scores; the owner is a `Candidates.key`, such as "neurons/fc1"."""
NUMBER: Axes = ()
"""Axes of a single number: none."""

_EXTRA = "_extra_state"


class Stateful:
    """An object with tensors of its own beside the network's, which declares what their axes index.

    Attributes:
        axes: names of the tensors, each with what its axes index: "post" and "pre" are the rows and the
            columns of the weight of a projection, "unit" the units of a population. `WEIGHT`, `SCORES` and
            `NUMBER` stand for a whole shape.

    Examples:
        >>> from snnprune.pruning import Method
        >>> from snnprune.pruning.state import WEIGHT
        >>> class Moved(Method):
        ...     axes = {"last": WEIGHT}  # cuts and checkpoints take it along
        ...     def begin(self, view):
        ...         for p in view.topology.projections.values():
        ...             self.state[p.name] = {"last": view.model.get_parameter(p.weight).detach().clone()}
    """

    axes: ClassVar[Mapping[str, Axes]] = {}

    @cached_property
    def state(self) -> Tensors:
        """The tensors ``state[owner][name]``; an owner is a projection, a population or a candidates' key."""
        return {}

    def get_extra_state(self) -> dict[str, Any]:
        """Return further values for a checkpoint: numbers and strings, in dicts and lists."""
        return {}

    def set_extra_state(self, extra: dict[str, Any]) -> None:
        """Restore what `get_extra_state` returned."""

    @property
    def can_shrink(self) -> bool:
        """Whether the object can follow a cut: ``axes`` declares its state, or it overrides `shrink`."""
        cls = type(self)
        return cls.shrink is not Stateful.shrink or cls.state_dict is Stateful.state_dict

    @property
    def can_regrow(self) -> bool:
        """Whether `load_state_dict` restores all that `shrink` cuts, so that a cut can be taken back."""
        cls = type(self)
        return cls.shrink is Stateful.shrink or cls.load_state_dict is not Stateful.load_state_dict

    def shrink(self, cut: Cut) -> None:
        """Cut the tensors as the network was cut.

        Raises:
            CompactionError: a tensor has a name that `axes` does not declare.
        """
        self.state = {
            owner: {name: self._left(cut, owner, name, tensor) for name, tensor in tensors.items()}
            for owner, tensors in self.state.items()
        }

    def _left(self, cut: Cut, owner: str, name: str, tensor: Tensor) -> Tensor:
        if name not in self.axes:
            raise CompactionError(
                f"{type(self).__name__} keeps a tensor '{name}' of {owner} and does not say what its axes "
                f"index, so it cannot follow a cut: add '{name}' to {type(self).__name__}.axes, which has "
                f"{sorted(self.axes)}"
            )
        axes = self.axes[name]
        if axes == SCORES:
            kind, _, owner = owner.partition("/")
            axes = WEIGHT if kind == "synapses" else ("unit",)
        if axes == WEIGHT:
            projection = cut.before.projections[owner]
            return cut.take(projection.weight, tensor, projection.shape)
        stays = {"post": cut.post, "pre": cut.pre, "unit": cut.unit}
        for dim, axis in enumerate(axes):
            tensor = tensor.index_select(dim, stays[axis](owner).nonzero().squeeze(1).to(tensor.device))
        return tensor

    def state_dict(self) -> dict[str, Any]:
        """Return copies of the tensors, by owner and name, and the extra state if there is any."""
        tensors = {owner: {k: t.clone() for k, t in own.items()} for owner, own in self.state.items()}
        extra = self.get_extra_state()
        return tensors | {_EXTRA: extra} if extra else tensors

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Restore what `state_dict` returned, in this version or in version 0.1."""
        tensors, extra = _read(state, self.axes)
        self.state = {
            owner: {name: t.to(device, copy=True) for name, t in own.items()}
            for owner, own in tensors.items()
        }
        if extra:
            self.set_extra_state(extra)


def _read(state: Mapping[str, Any], axes: Mapping[str, Axes]) -> tuple[Tensors, dict[str, Any]]:
    """Return tensors by owner and name, and the extra state.

    Version 0.1 saved a single tensor of an owner without its name (rules, BSP). It saved the tensors of
    BDNN-sp by name and then owner, beside numbers.
    """
    tensors: Tensors = {}
    extra = dict(state.get(_EXTRA, {}))
    for key, value in state.items():
        if key == _EXTRA:
            continue
        if isinstance(value, torch.Tensor):
            tensors[key] = dict.fromkeys(axes, value)
        elif key in axes and not value.keys() <= axes.keys():
            for owner, tensor in value.items():
                tensors.setdefault(owner, {})[key] = tensor
        elif isinstance(value, dict):
            tensors[key] = value
        else:
            extra[key] = value
    return tensors, extra
