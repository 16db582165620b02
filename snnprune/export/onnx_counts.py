"""Count the operations of an ONNX file in its own graph, with a second copy of each layer.

The copy gets 1 for each input that is not zero, and has 1 for each weight that is not zero. The sum of its
outputs is then the number of operations of the spikes, borders and strides included. A copy that gets the
inputs themselves counts by events (`snnprune.network.synops`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

LAYERS = ("Conv", "Gemm", "MatMul")
"""Operators of convolutions and linear layers, whose second input is the weight."""

FIRES = "GreaterOrEqual"
"""The operator that compares with the threshold; `snnprune.export.step` writes one for each neuron layer."""


@dataclass
class Layer:
    """Operations of one layer so far.

    Attributes:
        outputs: names of its outputs in the graph: operations of spikes; for layers before the first neuron
            also operations of all inputs, the distance of these inputs from whole numbers, and operations
            by events.
        synops: operations of its inputs that are not zero.
        synops_by_events: these, with an input that counts events taken as often as it counts.
        macs: operations of all its inputs.
        analogue: whether its inputs are not spikes: no neuron is before it, and they are not whole numbers.
    """

    outputs: tuple[str, ...]
    synops: float = 0.0
    synops_by_events: float = 0.0
    macs: float = 0.0
    analogue: bool = False

    def add(self, answers: Sequence[Any]) -> None:
        """Add the graph's outputs for one time step."""
        self.synops += float(answers[0])
        self.synops_by_events += float(answers[-1])
        if len(answers) > 1:
            self.macs += float(answers[1])
            self.analogue |= float(answers[2]) != 0.0


def add_counts(proto: Any, onnx: Any) -> list[Layer]:
    """Add counting nodes and outputs to the graph, and return its layers."""
    graph = proto.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    spiking = any(node.op_type == FIRES for node in graph.node)
    layers: list[Layer] = []
    fired = False
    for node in list(graph.node):
        fired |= node.op_type == FIRES
        if node.op_type in LAYERS and len(node.input) > 1 and node.input[1] in weights:
            writer = _Writer(proto, onnx, f"count.{len(layers)}", weights[node.input[1]])
            outputs = writer.write(node, inputs=not fired)
            layers.append(Layer(outputs, analogue=not spiking))
    return layers


class _Writer:
    """Adds the nodes that count one layer.

    Args:
        proto: the file.
        onnx: the package.
        name: prefix of the names of new tensors.
        weight: of the layer.
    """

    def __init__(self, proto: Any, onnx: Any, name: str, weight: Any) -> None:
        self.graph, self.onnx, self.name, self.kind = proto.graph, onnx, name, weight.data_type
        dense = onnx.numpy_helper.to_array(weight)
        self.alive = self._constant("alive", (dense != 0).astype(dense.dtype))
        self.zero = self._constant("zero", np.zeros((), dense.dtype))
        self.one = self._constant("one", np.ones((), dense.dtype))

    def write(self, layer: Any, *, inputs: bool) -> tuple[str, ...]:
        """Add the nodes that count ``layer``; with ``inputs`` also those that count all inputs."""
        source = layer.input[0]
        silent = self._node("Equal", "silent", source, self.zero)
        active = self._node("Cast", "active", self._node("Not", "loud", silent), to=self.kind)
        outputs = [self._total(layer, active, "synops")]
        if inputs:
            nothing = self._node("Mul", "nothing", active, self.zero)
            outputs.append(self._total(layer, self._node("Add", "all", nothing, self.one), "macs"))
            rest = self._node("Sub", "rest", source, self._node("Round", "whole", source))
            outputs.append(self._node("ReduceMax", "uneven", self._node("Abs", "off", rest), keepdims=0))
            outputs.append(self._total(layer, self._node("Abs", "events", source), "by_events"))
        shapeless = self.onnx.helper.make_tensor_value_info
        self.graph.output.extend(shapeless(name, self.kind, None) for name in outputs)
        return tuple(outputs)

    def _total(self, layer: Any, source: str, name: str) -> str:
        """Return the sum of the outputs of ``layer`` for ``source``, with 1 for each alive weight."""
        given = {a.name: self.onnx.helper.get_attribute_value(a) for a in layer.attribute}
        out = self._node(layer.op_type, f"{name}.places", source, self.alive, **given)
        return self._node("ReduceSum", name, out, keepdims=0)

    def _node(self, kind: str, name: str, *inputs: str, **given: Any) -> str:
        output = f"{self.name}.{name}"
        self.graph.node.append(self.onnx.helper.make_node(kind, list(inputs), [output], **given))
        return output

    def _constant(self, name: str, value: Any) -> str:
        full = f"{self.name}.{name}"
        self.graph.initializer.append(self.onnx.numpy_helper.from_array(value, full))
        return full
