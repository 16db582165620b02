"""The weight of a layer, whether it is a parameter or computed from other tensors.

`torch.nn.utils.weight_norm`, `spectral_norm`, `prune` and every parametrisation take the parameter away and
compute the weight anew in each forward. Discovery freezes such a layer; counting and reading still need it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.modules.conv import _ConvTransposeNd

from snnprune.network.untouched import untouched

if TYPE_CHECKING:
    from collections.abc import Iterable

PARTS = ("_orig", "_mask", "_g", "_v")
"""Ends of the names under which `torch.nn.utils` keeps what it computes a tensor from."""

TENSORS = ("weight", "bias")
"""Tensors that layers and norms hold as parameters; any other plain tensor may be a neuron's state."""


@torch.no_grad()
def weight_of(layer: nn.Module) -> torch.Tensor:
    """Return the weight that ``layer`` computes with, in evaluation mode; the layer is left as it was."""
    own = layer._parameters.get("weight")
    if own is not None:
        return own
    with untouched(layer):
        weight: torch.Tensor = layer.weight  # type: ignore[assignment]
        return weight.detach().clone()


def synapses_of(layer: nn.Module) -> torch.Tensor:
    """Return, bool [post, columns, ...], which weights of ``layer`` are not zero."""
    weight = weight_of(layer).detach()
    if isinstance(layer, _ConvTransposeNd):
        weight = _turned(weight, layer.groups)
    return weight != 0


_PLAIN: tuple[Any, ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED: tuple[Any, ...] = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)


def apply_weight(layer: Any, weight: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return what a layer of the geometry of ``layer`` makes of ``x`` with another weight and no bias.

    Args:
        layer: a convolution or linear layer; nothing of its own forward is called.
        weight: [post, columns, ...], also of a transposed convolution.
        x: [B, columns, ...].
    """
    if isinstance(layer, nn.Linear):
        return F.linear(x, weight)
    place = len(layer.kernel_size) - 1
    if isinstance(layer, _ConvTransposeNd):
        moves = (layer.stride, layer.padding, layer.output_padding, layer.groups, layer.dilation)
        return _TRANSPOSED[place](x, _turned(weight, layer.groups), None, *moves)
    return _PLAIN[place]._conv_forward(layer, x, weight, None)


def _turned(weight: torch.Tensor, groups: int) -> torch.Tensor:
    """Return [columns, post / groups, ...] for [post, columns / groups, ...], and the other way round."""
    return weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)


def fixed_layers(model: nn.Module, layers: Iterable[str]) -> tuple[str, ...]:
    """Return which of ``layers`` do not learn: no parameter behind their weight asks for a gradient.

    There are none in a network of which no parameter learns: it is looked at, and not trained by gradients.
    """
    if not any(p.requires_grad for p in model.parameters()):
        return ()
    return tuple(name for name in layers if not _learns(model.get_submodule(name)))


def _learns(layer: nn.Module) -> bool:
    weight = layer._parameters.get("weight")
    return any(p.requires_grad for p in (layer.parameters() if weight is None else [weight]))


def device_of(layer: nn.Module) -> torch.device:
    """Return where the tensors of ``layer`` are."""
    held = (*layer.parameters(), *layer.buffers(), *vars(layer).values())
    return next((t.device for t in held if isinstance(t, torch.Tensor)), torch.device("cpu"))


def computed(module: nn.Module) -> dict[str, str]:
    """Return, by name, what a module computes in each forward in place of a parameter, and in words how."""
    found = dict.fromkeys(getattr(module, "parametrizations", ()), "by a parametrisation")
    for name, value in vars(module).items():
        parts = [f"{name}{end}" for end in PARTS if hasattr(module, f"{name}{end}")]
        if isinstance(value, torch.Tensor) and (parts or name in TENSORS):
            found[name] = f"from {' and '.join(parts)}" if parts else "outside of the layer"
    return found
