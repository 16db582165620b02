"""States of neurons between two batches: carried over or not, and always without a graph."""

from __future__ import annotations

import copy
import warnings
from typing import TYPE_CHECKING, Any

import torch

from snnprune.common.errors import UserError
from snnprune.network.axes import tensors_in
from snnprune.network.hooks import before
from snnprune.pruning.recorder import CARRIED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import nn
    from torch.utils.hooks import RemovableHandle


class CarriedStates:
    """Says once that a batch begins with the states of the last one, as the recorder of a method does.

    Args:
        model: the network.

    Attributes:
        fresh: a batch begins: the next forward is its first.
    """

    def __init__(self, model: nn.Module) -> None:
        self.fresh = False
        self._said = False
        self._handle: RemovableHandle = before(model, self._look)

    def _look(self, model: nn.Module, _args: Any) -> None:
        first, self.fresh = self.fresh, False
        if first and not self._said and is_carried(model):
            self._said = True
            warnings.warn(CARRIED, stacklevel=2)

    def remove(self) -> None:
        """Remove the hook."""
        self._handle.remove()


def is_carried(model: nn.Module) -> bool:
    """Tell whether SpikingJelly's neurons in ``model`` hold a state; at rest they hold only numbers."""
    return any(
        isinstance(state, torch.Tensor) for module in model.modules() for state in _memories(module).values()
    )


def detach_states(model: nn.Module, neurons: Iterable[type[nn.Module]] = ()) -> None:
    """Detach the states from the graph of the last batch, because ``copy.deepcopy`` fails with a graph.

    Args:
        model: the network; its neurons of SpikingJelly and of the classes ``neurons`` keep their values.
        neurons: classes of other libraries or the user's own.
    """
    for module in model.modules():
        places = [_memories(module)]
        if isinstance(module, tuple(neurons)):
            places += [vars(module), module._buffers]
        for place in places:
            for name, state in place.items():
                if isinstance(state, torch.Tensor) and state.grad_fn is not None:
                    place[name] = state.detach()


def carries_graph(model: nn.Module) -> str | None:
    """Return the name of a module that keeps a tensor with its graph, or None."""
    for name, module in model.named_modules():
        for attribute, value in vars(module).items():
            kept = {} if attribute in {"_parameters", "_modules"} else {attribute: value}
            if any(tensor.grad_fn is not None for tensor in tensors_in(kept)):
                return f"{name or type(module).__name__}.{attribute}"
    return None


def copied(values: dict[str, Any], memo: dict[int, Any], model: nn.Module | None) -> dict[str, Any]:
    """Return a deep copy of ``values``, in which ``model`` may be.

    Raises:
        UserError: a module of ``model`` keeps a tensor with its graph.
    """
    try:
        return copy.deepcopy(values, memo)
    except RuntimeError as error:
        place = carries_graph(model) if model is not None else None
        if place is None:
            raise
        raise UserError(
            f"the network cannot be copied: {place} keeps a tensor with the graph that it was computed "
            "by. Keep tensor.detach(), or put it at rest before the copy"
        ) from error


def _memories(module: nn.Module) -> dict[str, Any]:
    memories = getattr(module, "_memories", None)
    return memories if isinstance(memories, dict) else {}
