"""Make a network of SpikingJelly's LIF neurons fast, and itself again.

A module is not replaced: it changes its class. So whoever holds it (an optimiser, a hook, SpikingJelly's list
of what to reset, a second place in the network) holds the fast one, with its constants, state and mode.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from spikingjelly.activation_based import functional, neuron
from torch import nn

from snnprune.neurons.lif import LIFNode
from snnprune.neurons.once import LAYERS, Once, once
from snnprune.neurons.sequential import Pooling, pooling

if TYPE_CHECKING:
    from typing import TypeVar

    Model = TypeVar("Model", bound=nn.Module)


def accelerate(model: Model, *, channels_last: bool = False, undo: bool = False) -> Model:
    """Let the LIF neurons of ``model`` run as fused kernels, in place.

    Every SpikingJelly ``LIFNode`` (not its subclasses) becomes a `snnprune.neurons.LIFNode`; in a Sequential
    it runs as one with the average pool behind it; layers in front of the first neuron are computed once
    where the input is the same at every time step. Outputs are the same, gradients to 1e-6 of the largest,
    and the keys of the state_dict too. It may be done before or after the network is copied or pruned.

    Args:
        model: any network; a module that is a LIF neuron itself will do.
        channels_last: also lay convolutions' weights out with channels innermost.
        undo: give everything its own class and layout back, which SpikingJelly's and NIR's exporters ask for.

    Returns:
        ``model``
    """
    if undo:
        return restore(model)
    for module in model.modules():
        kind: Any = type(module)
        if kind is neuron.LIFNode:
            module.__class__ = LIFNode
        elif kind in LAYERS:
            module.__class__ = once(kind)
        elif isinstance(module, nn.Sequential) and kind.forward is nn.Sequential.forward:
            module.__class__ = pooling(kind)
    if channels_last:
        _channels_last(model)
    functional.invalidate_reset_cache(model)
    return model


def restore(model: Model) -> Model:
    """Undo `accelerate`: every module is of its own class again, with the state that it has now."""
    for module in model.modules():
        if type(module) is LIFNode:
            module.__class__ = neuron.LIFNode
            for name in ("recording", "_recorded", "_warned"):
                module.__dict__.pop(name, None)
        elif isinstance(module, (Once, Pooling)):
            module.__class__ = module.plain  # type: ignore[assignment]
    _contiguous_again(model)
    functional.invalidate_reset_cache(model)
    return model


def _channels_last(model: nn.Module) -> None:
    """Lay out the weights of two-dimensional convolutions with channels innermost, and note whose was not."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and not module.weight.is_contiguous(
            memory_format=torch.channels_last
        ):
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)
            module.__dict__["_was_contiguous"] = True


def _contiguous_again(model: nn.Module) -> None:
    for module in model.modules():
        if module.__dict__.pop("_was_contiguous", False):
            assert isinstance(module, nn.Conv2d)
            module.weight.data = module.weight.data.contiguous()
