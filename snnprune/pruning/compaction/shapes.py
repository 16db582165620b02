"""Other shapes for a network's tensors, in place: the objects stay, and so does all that refers to them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from snnprune.common.errors import CompactionError
from snnprune.network.leaves import CONVOLUTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor


def tensor_of(model: nn.Module, key: str) -> Tensor:
    """Return the parameter or buffer called ``key``, also where it is in no state_dict."""
    path, _, name = key.rpartition(".")
    tensor = getattr(model.get_submodule(path), name)
    assert isinstance(tensor, torch.Tensor)
    return tensor


@torch.no_grad()
def replace_content(tensor: Tensor, change: Callable[[Tensor], Tensor]) -> None:
    """Let ``change`` decide what a parameter or buffer holds from now on, its gradient too.

    Raises:
        CompactionError: something holds a weak reference to the tensor, which torch then cannot swap.
    """
    new = change(tensor.detach()).clone(memory_format=torch.contiguous_format)
    grad = None if tensor.grad is None else change(tensor.grad).clone(memory_format=torch.contiguous_format)
    if isinstance(tensor, nn.Parameter):
        new = nn.Parameter(new, tensor.requires_grad)
    new.grad = grad
    try:
        torch.utils.swap_tensors(tensor, new)
    except RuntimeError as error:
        raise CompactionError(f"a tensor of the network cannot change its shape in place: {error}") from error


def set_shapes(model: nn.Module, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Give tensors of ``model`` other shapes, in place; what they hold is to be loaded next.

    Args:
        model: the network.
        shapes: by key in the state_dict; tensors that are not named stay as they are.
    """
    for key, shape in shapes.items():
        tensor = tensor_of(model, key)
        if tuple(tensor.shape) != tuple(shape):
            replace_content(tensor, lambda old, shape=shape: old.new_zeros(shape))  # type: ignore[misc]
    fit_sizes(model, shapes)


def conform(model: nn.Module, state: Mapping[str, Any]) -> str | None:
    """Make ``model`` as small as the network whose state_dict is ``state``, so that it can be loaded.

    Nothing is done where the two have other tensors, or where one of ``state`` is larger or has other axes:
    then loading says what is wrong.

    Returns:
        The first tensor whose shape was changed, None where there is none.
    """
    mine, theirs = (
        {key: tuple(t.shape) for key, t in tensors.items() if isinstance(t, torch.Tensor)}
        for tensors in (model.state_dict(), state)
    )
    if mine.keys() != theirs.keys():
        return None
    other = {key: shape for key, shape in theirs.items() if shape != mine[key]}
    for key, shape in other.items():
        now = mine[key]
        if (
            len(now) != len(shape)
            or now[2:] != shape[2:]
            or any(a > b for a, b in zip(shape, now, strict=True))
        ):
            return None
    set_shapes(model, other)
    return next(iter(other), None)


def fit_sizes(model: nn.Module, keys: Mapping[str, object]) -> None:
    """Let the modules that own the tensors ``keys`` say the sizes that their tensors now have."""
    for name in dict.fromkeys(key.rpartition(".")[0] for key in keys):
        _fit(model.get_submodule(name))
    forget_resets(model)


def _fit(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, CONVOLUTIONS):
        _fit_convolution(module)
    elif isinstance(module, _BatchNorm):
        vectors = (module.weight, module.bias, module.running_mean, module.running_var)
        module.num_features = next(len(v) for v in vectors if v is not None)


def _fit_convolution(module: nn.Conv1d | nn.Conv2d | nn.Conv3d) -> None:
    out, columns = module.weight.shape[:2]
    if module.groups > 1 and module.groups == module.in_channels:
        module.groups = out // (module.out_channels // module.groups)  # depthwise: a group is a channel
    module.out_channels, module.in_channels = out, columns * module.groups


def forget_resets(model: nn.Module) -> None:
    """Let SpikingJelly look anew for what ``reset_net`` resets; its list skips what came in later."""
    functional = sys.modules.get("spikingjelly.activation_based.functional")
    if functional is not None and hasattr(functional, "invalidate_reset_cache"):
        for module in model.modules():
            functional.invalidate_reset_cache(module)
