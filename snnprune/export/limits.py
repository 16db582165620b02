"""Check, before training, that NIR (Neuromorphic Intermediate Representation) can hold a network."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from snnprune.common.errors import UserError, with_article
from snnprune.export import nir_neurons
from snnprune.export.graph import NORMS, folded, layer_of, trace
from snnprune.export.recurrence import inner, recurrent_kinds, why_not_wired
from snnprune.network.leaves import ACTIVATIONS

if TYPE_CHECKING:
    from torch import fx

SILENT = {"Identity", "Dropout", "Dropout2d"}
"""Layers that do nothing in evaluation mode, and are left out of the file."""

HELD = {"Linear", "Conv1d", "Conv2d", "AvgPool2d", "AdaptiveAvgPool2d", "Flatten"}
"""Layers of torch and SpikingJelly that can be written (an adaptive pool as one of fixed size)."""

NEURONS = {"IFNode", "LIFNode", "ParametricLIFNode", "CUBALIFNode"}
"""Neurons that SpikingJelly can write. Subclasses may behave differently and are refused."""

READ = {
    *("Input", "Output", "Affine", "Linear", "Conv1d", "Conv2d", "AvgPool2d", "SumPool2d", "Flatten"),
    *("IF", "LIF", "CubaLIF", "LI"),
}
"""Kinds of NIR's nodes that can be read; convolutions without groups."""

NO_NODE = {
    "AdaptiveLIFNode": "whose threshold rises with its spikes, and NIR has fixed ones only: use a "
    "LIFNode (--model.neuron lif)",
    "NonSpikingLIFNode": "which answers with a list: use snnprune.nn.models.integrator.LeakyIntegrator",
}
"""Neurons that have no node in NIR, and what to do."""

ADDITIONS: tuple[Any, ...] = (operator.add, operator.iadd, torch.add)
"""Functions that add the outputs of two layers."""


def check_nir(model: nn.Module) -> None:
    """Check that ``model`` can be written as a NIR file.

    Args:
        model: a spiking network, trained or not.

    Raises:
        UserError: NIR cannot hold a layer. The message names the first one and what to use instead.
    """
    copy = folded(model)
    for node in trace(copy).nodes:
        reason = _of_operation(node) or _of_layer(layer_of(node, copy))
        if reason is not None:
            name = str(node.target) if node.op == "call_module" else str(node.name)
            raise UserError(f"NIR cannot hold layer '{name}': {reason}")


def refuse_unknown(graph: Any, dt: float) -> None:
    """Check that every node of a NIR ``graph`` is of a kind that can be read, with constants that can.

    Args:
        graph: of nir, without the nodes that `snnprune.export.nir_neurons` reads.
        dt: seconds of a time step.

    Raises:
        UserError: the nodes that cannot be read, by name, each with what is wrong with it.
    """
    wrong = []
    for name, node in graph.nodes.items():
        kind = type(node).__name__
        if kind not in READ:
            known = ", ".join(sorted(READ - {"Input", "Output"}))
            wrong.append(f"its node '{name}' is of kind {kind}, and nodes that can be read are {known}")
        elif kind in ("Conv1d", "Conv2d") and int(node.groups) != 1:
            wrong.append(f"its node '{name}' is a convolution of {int(node.groups)} groups")
        elif (why := nir_neurons.why_not(node, dt)) is not None:
            wrong.append(f"its node '{name}' {why}")
    if wrong:
        raise UserError("; ".join(wrong))


def flattens(node: fx.Node) -> bool:
    """Tell whether ``node`` calls torch's flatten, as a function or as a tensor's method."""
    method = node.op == "call_method" and node.target == "flatten"
    return method or (node.op == "call_function" and node.target is torch.flatten)


def _of_operation(node: fx.Node) -> str | None:
    """Return why a call that is not of a module cannot be written, or None."""
    if node.op not in ("call_function", "call_method", "get_attr") or flattens(node):
        return None
    known = node.target in ADDITIONS or (node.op == "call_method" and node.target == "add")
    called = getattr(node.target, "__name__", str(node.target))
    return None if known else f"it is the operation '{called}', and NIR can only add outputs of layers"


def _of_layer(layer: nn.Module | None) -> str | None:
    """Return why a layer cannot be written, or None."""
    if layer is None or nir_neurons.is_own(layer):
        return None
    if isinstance(layer, recurrent_kinds()):
        return why_not_wired(layer) or _of_layer(inner(layer)[1])
    kind, place = type(layer).__name__, type(layer).__module__.partition(".")[0]
    if kind in NO_NODE:
        return f"it is {with_article(kind)}, {NO_NODE[kind]}"
    if place not in ("torch", "spikingjelly"):
        known = ", ".join(sorted(NEURONS))
        return f"it is {with_article(kind)}, which the exporter does not know: use one of {known}"
    if kind in CONDITIONS:
        return CONDITIONS[kind](layer)
    return None if kind in HELD | SILENT else f"it is {with_article(kind)}, {_advice(kind, layer)}"


def _of_neuron(layer: Any) -> str | None:
    if layer.v_reset is None:
        return "its neurons reset softly (v_reset None), and NIR has only a hard reset: set v_reset to 0.0"
    return None


def _of_convolution(layer: Any) -> str | None:
    if layer.groups != 1:
        return f"it is a convolution of {layer.groups} groups, and NIR's exporter writes only ungrouped ones"
    if layer.padding_mode != "zeros":
        return f"it pads with '{layer.padding_mode}', and NIR's exporter writes only zeros"
    return None


def _of_pool(layer: Any) -> str | None:
    padded = any(layer.padding) if isinstance(layer.padding, tuple) else bool(layer.padding)
    if layer.ceil_mode or layer.divisor_override is not None or (padded and not layer.count_include_pad):
        return "it averages over less than its window at the border, which NIR cannot express"
    return None


def _advice(kind: str, layer: nn.Module) -> str:
    if kind.startswith("MaxPool"):
        return "and NIR has no maximum over places: use AvgPool2d, or a convolution with a stride"
    if kind in NORMS:
        return "which can only be folded into a convolution or linear layer right before it"
    if isinstance(layer, ACTIVATIONS):
        return "and NIR has no activations other than spiking neurons"
    return f"and NIR's exporter knows {', '.join(sorted(HELD | NEURONS))}"


CONDITIONS = {
    **dict.fromkeys(NEURONS, _of_neuron),
    "Conv1d": _of_convolution,
    "Conv2d": _of_convolution,
    "AvgPool2d": _of_pool,
}
"""Conditions on layers that can be written otherwise."""
