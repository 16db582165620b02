"""Change the shapes of a network's tensors in place: objects and references to them stay valid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from snnprune.network.imported import spikingjelly
from snnprune.network.sizes import sizes, tensor_of
from snnprune.pruning.compaction.transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from torch import nn


def set_shapes(model: nn.Module, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Give tensors of ``model`` new shapes, in place, before their values are loaded.

    Args:
        model: the network.
        shapes: new shapes, by key in the state_dict; tensors not named keep theirs.

    Raises:
        CompactionError: a tensor cannot change its shape. No tensor has changed then.
    """
    wanted = {}
    for key, shape in shapes.items():
        tensor = tensor_of(model, key)
        if tuple(tensor.shape) != tuple(shape):
            grad = None if tensor.grad is None else tensor.new_zeros(shape)
            wanted[key] = (tensor, tensor.new_zeros(shape), grad)
    with Transaction() as changes:
        changes.replace(wanted)
        fit_sizes(model, shapes, changes)


def conform(
    model: nn.Module,
    state: Mapping[str, Any],
    dense: Mapping[str, tuple[int, ...]] | None = None,
    numbers: Mapping[str, tuple[int, int]] | None = None,
) -> str | None:
    """Make ``model`` as small as the network whose state_dict is ``state``, so that it can be loaded.

    Nothing changes if the two have different tensors, or if a tensor of ``state`` is larger or has other
    axes. Loading then raises an error that names the difference.

    Args:
        model: the network.
        state: the other network's state_dict.
        dense: shapes up to which tensors may also grow, by key; without them a tensor may only shrink.
        numbers: integers of modules in the other network, as `SurvivingUnits` has them.

    Returns:
        The key of the first tensor whose shape was changed, None if there is none.
    """
    mine, theirs = (
        {key: tuple(t.shape) for key, t in tensors.items() if isinstance(t, torch.Tensor)}
        for tensors in (model.state_dict(), state)
    )
    if mine.keys() != theirs.keys():
        return None
    other = {key: shape for key, shape in theirs.items() if shape != mine[key]}
    largest = mine | dict(dense or {})
    for key, shape in other.items():
        now = largest[key]
        if (
            len(now) != len(shape)
            or now[2:] != shape[2:]
            or any(a > b for a, b in zip(shape, now, strict=True))
        ):
            return None
    set_shapes(model, other)
    with Transaction() as changes:
        set_numbers(numbered(model, numbers or {}), changes)
    return next(iter(other), None)


def fit_sizes(model: nn.Module, keys: Mapping[str, object], changes: Transaction) -> None:
    """Update the size attributes of the modules that own the tensors ``keys`` to their present shapes."""
    changes.on_failure(lambda: forget_resets(model))
    set_numbers(sizes(model, keys), changes)
    forget_resets(model)


def set_numbers(numbers: Iterable[tuple[nn.Module, str, int]], changes: Transaction) -> None:
    """Set integers of modules that follow numbers of units."""
    for module, attribute, value in numbers:
        changes.remember(module, attribute)
        setattr(module, attribute, value)


def numbered(
    model: nn.Module, numbers: Mapping[str, tuple[int, int]]
) -> Iterator[tuple[nn.Module, str, int]]:
    """Yield integers of modules, by "module.attribute", with their present values."""
    for key, (now, _) in numbers.items():
        path, _, attribute = key.rpartition(".")
        yield model.get_submodule(path), attribute, now


def forget_resets(model: nn.Module) -> None:
    """Clear SpikingJelly's list of the modules that ``reset_net`` resets: it misses modules added later."""
    functional = spikingjelly("functional")
    if functional is not None and hasattr(functional, "invalidate_reset_cache"):
        for module in model.modules():
            functional.invalidate_reset_cache(module)
