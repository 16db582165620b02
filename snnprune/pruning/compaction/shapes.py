"""Change the shapes of a network's tensors in place: objects and references to them stay valid."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from snnprune.network.leaves import CONVOLUTIONS, TRANSPOSED
from snnprune.pruning.compaction.transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor


def tensor_of(model: nn.Module, key: str) -> Tensor:
    """Return the parameter or buffer called ``key``, even if it is in no state_dict."""
    path, _, name = key.rpartition(".")
    tensor = getattr(model.get_submodule(path), name)
    assert isinstance(tensor, torch.Tensor)
    return tensor


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
    model: nn.Module, state: Mapping[str, Any], dense: Mapping[str, tuple[int, ...]] | None = None
) -> str | None:
    """Make ``model`` as small as the network whose state_dict is ``state``, so that it can be loaded.

    Nothing changes if the two have different tensors, or if a tensor of ``state`` is larger or has other
    axes. Loading then raises an error that names the difference.

    Args:
        model: the network.
        state: the other network's state_dict.
        dense: shapes up to which tensors may also grow, by key; without them a tensor may only shrink.

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
    return next(iter(other), None)


def fit_sizes(model: nn.Module, keys: Mapping[str, object], changes: Transaction) -> None:
    """Update the size attributes of the modules that own the tensors ``keys`` to their present shapes."""
    changes.on_failure(lambda: forget_resets(model))
    for container, size in _containers(model):
        changes.remember(container, _WIDTH)
        setattr(container, _WIDTH, size)
    for name in dict.fromkeys(key.rpartition(".")[0] for key in keys):
        module = model.get_submodule(name)
        for attribute, size in _sizes(module):
            changes.remember(module, attribute)
            setattr(module, attribute, size)
    forget_resets(model)


_WIDTH = "sub_module_out_features"


def _containers(model: nn.Module) -> Iterator[tuple[nn.Module, int]]:
    """Yield SpikingJelly's containers with a recurrent layer, and how many units each feeds back now.

    These are the rows of the last layer inside that has as many as the container says; the recurrent layer
    itself, where there is none.
    """
    library = sys.modules.get("spikingjelly.activation_based.layer")
    if library is None:
        return
    for container in model.modules():
        if isinstance(container, library.LinearRecurrentContainer):
            layers = [container.rc, *(m for m in container.sub_module.modules() if isinstance(m, nn.Linear))]
            fed = [m for m in layers if m.out_features == getattr(container, _WIDTH)]
            if fed:
                yield container, len(fed[-1].weight)


def _sizes(module: nn.Module) -> list[tuple[str, int]]:
    """Return the size attributes of a module, by name, computed from its tensors."""
    if isinstance(module, nn.Linear):
        return list(zip(("out_features", "in_features"), module.weight.shape, strict=True))
    if isinstance(module, TRANSPOSED) and module.groups == 1:
        return list(zip(("in_channels", "out_channels"), module.weight.shape, strict=False))
    if isinstance(module, (*CONVOLUTIONS, *TRANSPOSED)):
        out, columns = module.weight.shape[:2]
        groups = module.groups
        if groups > 1 and groups == module.in_channels:
            groups = out // (module.out_channels // groups)  # depthwise: a group is a channel
        return [("groups", groups), ("out_channels", out), ("in_channels", columns * groups)]
    if isinstance(module, _NormBase):
        vectors = (module.weight, module.bias, module.running_mean, module.running_var)
        return [("num_features", next(len(v) for v in vectors if v is not None))]
    if isinstance(module, nn.PReLU):
        return [("num_parameters", len(module.weight))]
    return []


def forget_resets(model: nn.Module) -> None:
    """Clear SpikingJelly's list of the modules that ``reset_net`` resets: it misses modules added later."""
    functional = sys.modules.get("spikingjelly.activation_based.functional")
    if functional is not None and hasattr(functional, "invalidate_reset_cache"):
        for module in model.modules():
            functional.invalidate_reset_cache(module)
