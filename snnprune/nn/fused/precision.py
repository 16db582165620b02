"""Neurons whose state stays in float32 while the layers around them compute in 16 bits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from spikingjelly.activation_based.base import MemoryModule

from snnprune.nn.fused.lif import LIFNode

if TYPE_CHECKING:
    from torch import nn
    from torch.utils.hooks import RemovableHandle


def keep_precise(model: nn.Module) -> list[RemovableHandle]:
    """Convert the input of SpikingJelly's neurons to float32, also under ``torch.autocast``.

    A potential in bfloat16 has three digits, and changes below its last digit are lost. The fused `LIFNode`
    keeps its potential in float32 by itself. The spikes of the other neurons are in float32, and the next
    layer converts them without loss.

    Args:
        model: any network; neurons of other libraries are not changed.

    Returns:
        Handles; ``handle.remove()`` for each undoes it.

    Examples:
        >>> from spikingjelly.activation_based import neuron
        >>> from snnprune.nn.fused import keep_precise
        >>> handles = keep_precise(neuron.ParametricLIFNode())
        >>> for handle in handles:
        ...     handle.remove()
    """
    return [
        module.register_forward_pre_hook(_in_float32)
        for module in model.modules()
        if isinstance(module, MemoryModule) and type(module) is not LIFNode
    ]


def _in_float32(_module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(
        a.float() if isinstance(a, torch.Tensor) and a.is_floating_point() and a.element_size() < 4 else a
        for a in args
    )
