"""Recurrent layers as edges of a NIR graph, from a layer of neurons through a linear node back to it.

SpikingJelly's exporter and importer know layers without these edges. So the feedback is taken out before the
graph is handed to them, and put back afterwards. NIR's readers let it arrive one time step late.
"""

from __future__ import annotations

import keyword
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import product
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from snnprune.common.errors import UserError
from snnprune.export.recurrence import inner, wiring
from snnprune.network.duplicate import reset_states

if TYPE_CHECKING:
    from torch import Tensor, fx


@dataclass(frozen=True)
class Feedback:
    """The synapses of a layer of neurons onto itself.

    Attributes:
        neuron: name of the node of the neurons.
        weight: [units, units].
        bias: [units], which files of others may have, or None.
    """

    neuron: str
    weight: Tensor
    bias: Tensor | None = None


# --- writing


def without_feedback(node: fx.Node, ready: fx.GraphModule, names: tuple[str, str]) -> Feedback:
    """Replace the call of a recurrent layer by calls of what is inside, and return what is left out.

    Args:
        node: the call, with the shape of its output.
        ready: the network.
        names: of the recurrent layer in the network, and of its neurons in the NIR graph.
    """
    name, neurons = names
    layer: Any = ready.get_submodule(name)
    wired = wiring(layer, node.meta["tensor_meta"].shape[-1])
    if wired.forward is not None:
        forward = f"{name}.rc"
        ready.set_submodule(forward, wired.forward)
        with node.graph.inserting_before(node):
            node.args = (node.graph.call_module(forward, node.args),)
    place, module = inner(layer)
    module.step_mode = "m"
    node.target = f"{name}.{place}"
    return Feedback(neurons, wired.feedback)


def add(graph: Any, feedback: Feedback, name: str) -> None:
    """Add ``feedback`` to a NIR graph, as the node ``name`` with two edges.

    They stand first: norse follows the edges of a node in their order, and would run the feedback last.
    """
    import nir  # noqa: PLC0415 - an extra

    graph.nodes[name] = nir.Linear(feedback.weight.detach().cpu().numpy())
    graph.edges[:0] = [(feedback.neuron, name), (name, feedback.neuron)]


# --- reading


def flat(graph: Any) -> Any:
    """Return ``graph`` with the nodes and edges of the graphs that are nodes in it, each edge once."""
    import nir  # noqa: PLC0415 - an extra

    return nir.NIRGraph(*_flat(graph), metadata=graph.metadata, type_check=False)


def taken_out(graph: Any) -> tuple[Any, list[Feedback]]:
    """Return a graph without edges that lead back, and what was taken out.

    Args:
        graph: in which no node is a graph.

    Raises:
        UserError: edges lead back in another way than from neurons through one linear node to them.
    """
    import nir  # noqa: PLC0415 - an extra

    nodes, edges = graph.nodes, graph.edges
    into: dict[str, set[str]] = {name: set() for name in nodes}
    out: dict[str, set[str]] = {name: set() for name in nodes}
    for source, target in edges:
        out[source].add(target)
        into[target].add(source)
    found: dict[str, Feedback] = {}
    for name, node in nodes.items():
        around = next(iter(out[name]), "")
        alone = out[name] == into[name] == {around} and isinstance(node, nir.Linear | nir.Affine)
        if alone and isinstance(nodes[around], nir.LIF | nir.IF | nir.CubaLIF) and around not in found:
            found[around] = _feedback(around, nodes[around], name, node)
            into[around].remove(name)
            into[name], out[name] = set(), set()
    _refuse_cycles(into)
    left = {name: node for name, node in nodes.items() if into[name] or out[name]}
    kept = [(a, b) for a, b in edges if a in left and b in left]
    return nir.NIRGraph(left, kept, metadata=graph.metadata, type_check=False), list(found.values())


def put_back(model: nn.Module, feedback: Feedback, dtype: torch.dtype) -> None:
    """Make the neurons of ``feedback`` in an imported network a recurrent layer again."""
    from snnprune.nn.recurrent import Recurrent  # noqa: PLC0415 - imports SpikingJelly

    name = in_torch(feedback.neuron)
    neurons: Any = model.get_submodule(name).module
    loop = Recurrent(neurons, len(feedback.weight))
    loop.feedback.weight = nn.Parameter(feedback.weight.to(dtype))
    if feedback.bias is not None:
        loop.feedback.bias = nn.Parameter(feedback.bias.to(dtype))
    model.set_submodule(name, Stateful(loop))


class Stateful(nn.Module):
    """A layer with states of its own in an imported network, which hands states from call to call.

    Args:
        module: of SpikingJelly, in multi-step mode.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Map [T, B, ...] and states (None at rest) to outputs and states."""
        from spikingjelly.activation_based import base  # noqa: PLC0415 - slow to import

        if state is None:
            reset_states(self.module)
        else:
            base.load_memories(self.module, list(state))
        return self.module(x), tuple(base.extract_memories(self.module))


def in_torch(name: str) -> str:
    """Return the name of the module that an importer makes of the node ``name``."""
    return f"nir_node_{name}" if keyword.iskeyword(name) else name.replace(".", "_")


def _feedback(neuron: str, neurons: Any, name: str, node: Any) -> Feedback:
    """Return the feedback that the linear ``node`` around ``neurons`` stands for."""
    shape, units = tuple(node.weight.shape), tuple(neurons.v_threshold.shape)
    if len(units) != 1 or shape != (*units, *units):
        raise UserError(f"its node '{name}' of shape {shape} leads back to '{neuron}' of shape {units}")
    bias = torch.from_numpy(node.bias) if hasattr(node, "bias") else None
    return Feedback(neuron, torch.from_numpy(node.weight), bias)


def _refuse_cycles(into: dict[str, set[str]]) -> None:
    try:
        TopologicalSorter(into).prepare()
    except CycleError as error:
        named = " -> ".join(f"'{name}'" for name in error.args[1])
        raise UserError(
            f"its edges lead back, {named}, and the only ones that can be read lead from a layer of LIF, IF "
            "or CubaLIF neurons through one Linear or Affine node back to it"
        ) from error


def _flat(graph: Any) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Return nodes and edges of a graph, each once, with those of the graphs that are nodes in it."""
    import nir  # noqa: PLC0415 - an extra

    nodes: dict[str, Any] = {}
    edges = dict.fromkeys((str(a), str(b)) for a, b in graph.edges)
    for name, node in graph.nodes.items():
        if not isinstance(node, nir.NIRGraph):
            nodes[name] = node
            continue
        inside, wires = _flat(node)
        ends = {n for n, one in inside.items() if isinstance(one, nir.Input | nir.Output)}
        if len(ends) != 2:
            raise UserError(f"its node '{name}' is a graph with {len(ends)} inputs and outputs, not with two")
        nodes |= {f"{name}.{n}": one for n, one in inside.items() if n not in ends}
        first = [f"{name}.{b}" for a, b in wires if a in ends]
        last = [f"{name}.{a}" for a, b in wires if b in ends]
        outer = [
            pair
            for a, b in edges
            for pair in product(last if a == name else [a], first if b == name else [b])
        ]
        edges = dict.fromkeys(outer + [(f"{name}.{a}", f"{name}.{b}") for a, b in wires if not {a, b} & ends])
    return nodes, list(edges)
