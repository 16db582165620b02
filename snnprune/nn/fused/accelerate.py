"""Make a network of SpikingJelly's LIF neurons fast, and undo it.

A module is not replaced: it changes its class. So every reference to it (in an optimiser, a hook,
SpikingJelly's list of modules to reset, a second place in the network) refers to the fast one, with its
constants, state and mode.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

from snnprune.nn import recurrent
from snnprune.nn.fused.integrator import LeakyIntegrator
from snnprune.nn.fused.lif import LIFNode
from snnprune.nn.fused.mixing import Mixed
from snnprune.nn.fused.once import LAYERS, once
from snnprune.nn.fused.recurrent import Recurrent
from snnprune.nn.fused.sequential import pooling
from snnprune.nn.fused.sew import sew
from snnprune.nn.models import integrator

if TYPE_CHECKING:
    from typing import TypeVar

    Model = TypeVar("Model", bound=nn.Module)

_FUSED: dict[Any, Any] = {
    neuron.LIFNode: LIFNode, recurrent.Recurrent: Recurrent, integrator.LeakyIntegrator: LeakyIntegrator,
}  # fmt: skip
_PLAIN = {fused: plain for plain, fused in _FUSED.items()}


def accelerate(model: Model, *, channels_last: bool = False) -> Model:
    """Make the LIF neurons of ``model`` run as fused kernels, in place.

    Every SpikingJelly ``LIFNode`` (not its subclasses) becomes a `snnprune.nn.fused.LIFNode`; in a Sequential
    it runs as one with the convolution and the batch norm before it and the pool behind it, and so it does in
    SpikingJelly's SEW ResNets; layers in front of the first neuron are computed once where the input is the
    same at every time step. In a layer that is wired to
    itself, `snnprune.nn.recurrent.Recurrent`, LIF neurons and this package's other ones take one product and
    one kernel for each time step; a leaky readout takes one kernel. Outputs are the same, gradients to 1e-6
    of the largest, and the keys of the state_dict too. It may be done before or after the network is copied
    or pruned. `restore` undoes it.

    Args:
        model: any network, or a single LIF neuron.
        channels_last: let SpikingJelly's ``Conv2d`` compute with channels innermost if its images hold more
            numbers than its weight. This is faster, but sums are rounded in another order, so that one spike
            in many thousands differs. The memory layout of parameters does not change.

    Returns:
        ``model``

    Examples:
        >>> import torch
        >>> from spikingjelly.activation_based import layer, neuron
        >>> from torch import nn
        >>> import snnprune
        >>> model = nn.Sequential(layer.Linear(4, 8, step_mode="m"), neuron.LIFNode(step_mode="m"))
        >>> type(snnprune.accelerate(model)[1])
        <class 'snnprune.nn.fused.lif.LIFNode'>
        >>> model(torch.rand(10, 3, 4)).shape  # T, B, units
        torch.Size([10, 3, 8])
    """
    for module in model.modules():
        kind: Any = type(module)
        if kind in _FUSED:
            module.__class__ = _FUSED[kind]
        elif kind in LAYERS:
            module.__class__ = once(kind)
            if channels_last and kind is layer.Conv2d:
                module.__dict__["channels_last"] = True
        elif isinstance(module, nn.Sequential) and kind.forward is nn.Sequential.forward:
            module.__class__ = pooling(kind)
        elif sew(kind) is not None:
            module.__class__ = sew(kind)
    functional.invalidate_reset_cache(model)
    return model


def restore(model: Model) -> Model:
    """Undo `accelerate`, in place: every module has its own class again, and keeps its current state.

    SpikingJelly's and NIR's exporters, and second derivatives, need this.

    Args:
        model: any network; one that was not accelerated is not changed.

    Returns:
        ``model``

    Examples:
        >>> from spikingjelly.activation_based import neuron
        >>> import snnprune
        >>> node = snnprune.accelerate(neuron.LIFNode())
        >>> type(snnprune.restore(node)) is neuron.LIFNode
        True
    """
    for module in model.modules():
        kind: Any = type(module)
        if kind in _PLAIN:
            module.__class__ = _PLAIN[kind]
            for name in ("recording", "_recorded", "_warned"):
                module.__dict__.pop(name, None)
        elif isinstance(module, Mixed):
            module.__class__ = module.plain
            module.__dict__.pop("channels_last", None)
    functional.invalidate_reset_cache(model)
    return model
