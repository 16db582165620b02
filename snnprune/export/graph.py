"""A network as a graph of its layers, and batch norms folded into the layers in front of them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import torch
from torch import fx, nn

from snnprune.common.errors import UserError, first_line
from snnprune.export.readout import is_integrator
from snnprune.export.recurrence import recurrent_kinds
from snnprune.network.duplicate import duplicate, reset_states
from snnprune.network.leaves import CONVOLUTIONS, leaf_kind
from snnprune.network.weights import computed
from snnprune.network.wrappers import inside, unwrap_layers

if TYPE_CHECKING:
    from torch import Tensor


NORMS = {"BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm"}
"""Norms of torch and SpikingJelly that scale a channel by constants in evaluation mode."""


class _LayerTracer(fx.Tracer):
    """Traces a forward down to layers and neurons, and does not trace inside of these."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        spiking = type(m).__module__.startswith("spikingjelly.activation_based.layer")
        stateful = isinstance(m, recurrent_kinds()) or is_integrator(m)
        known = stateful or leaf_kind(m, ()) is not None
        return spiking or known or super().is_leaf_module(m, module_qualified_name)


def trace(model: nn.Module) -> fx.Graph:
    """Return the calls of one forward of ``model``, with one node for each layer or layer of neurons.

    Raises:
        UserError: the forward depends on values of its input, or cannot be traced for another reason.
    """
    try:
        return _LayerTracer().trace(model)
    except Exception as error:
        reason = first_line(error)
        raise UserError(
            f"the forward of {type(model).__name__} cannot be followed layer by layer ({reason}): write it "
            "without conditions on the input, as an nn.Sequential does"
        ) from error


def layer_of(node: fx.Node, model: nn.Module) -> nn.Module | None:
    """Return the module that ``node`` calls, None if it does not call a module."""
    return model.get_submodule(str(node.target)) if node.op == "call_module" else None


def plain(model: nn.Module) -> nn.Module:
    """Return a copy to export of the network inside ``model``, compiled nowhere.

    It has no hooks, `accelerate` is undone, and it is in evaluation mode and at rest.
    """
    copy = duplicate(inside(model))
    unwrap_layers(copy)
    if any(type(m).__module__.startswith("snnprune.nn.fused") for m in copy.modules()):
        from snnprune.nn.fused import restore  # noqa: PLC0415 - imports SpikingJelly, and ANNs need none

        restore(copy)
    reset_states(copy)
    return copy.eval()


def folded(model: nn.Module) -> nn.Module:
    """Return a plain copy of ``model`` with batch norms folded into the layers in front of them.

    With weight W, bias b, and the norm's weight g, bias c, mean m, variance v and eps:
    W' = W g / sqrt(v + eps), b' = (b - m) g / sqrt(v + eps) + c. An `nn.Identity` replaces the norm. A norm
    is folded only if it alone reads a convolution or linear layer. Any other norm stays as it is.

    Raises:
        UserError: the network cannot be traced, or computes a weight from other tensors.
    """
    copy = plain(model)
    for name, module in copy.named_modules():
        for tensor, how in computed(module).items():
            raise UserError(
                f"the {tensor} of {name} is computed {how}, and a file holds parameters: make it one "
                "first (torch.nn.utils.parametrize.remove_parametrizations, torch.nn.utils.prune.remove)"
            )
    graph = trace(copy)
    calls = Counter(str(node.target) for node in graph.nodes if node.op == "call_module")
    for node in list(graph.nodes):
        norm = layer_of(node, copy)
        if type(norm).__name__ not in NORMS or not isinstance(node.args[0], fx.Node):
            continue
        assert norm is not None
        source, name = node.args[0], str(node.target)
        before = layer_of(source, copy)
        alone = len(source.users) == 1 and calls[str(source.target)] == calls[name] == 1
        if alone and isinstance(before, (*CONVOLUTIONS, nn.Linear)) and norm.running_var is not None:
            _fold(before, norm)
            copy.set_submodule(name, nn.Identity())
    return copy


@torch.no_grad()
def _fold(layer: nn.Module, norm: nn.Module) -> None:
    """Fold ``norm`` into the weight and bias of ``layer``, in place."""

    def double(tensor: Tensor | None, otherwise: float) -> Tensor:
        return torch.full_like(variance, otherwise) if tensor is None else tensor.double()

    assert isinstance(norm.running_var, torch.Tensor)
    weight = layer.get_parameter("weight")
    variance = norm.running_var.double()
    scale = double(norm._parameters.get("weight"), 1.0) / (variance + float(norm.eps)).sqrt()  # type: ignore[arg-type]
    shift = double(layer._parameters.get("bias"), 0.0) - double(norm._buffers["running_mean"], 0.0)
    bias = shift * scale + double(norm._parameters.get("bias"), 0.0)
    wide = scale.reshape(-1, *(1 for _ in weight.shape[1:]))
    layer.weight = nn.Parameter((weight.double() * wide).to(weight.dtype))
    layer.bias = nn.Parameter(bias.to(weight.dtype))
