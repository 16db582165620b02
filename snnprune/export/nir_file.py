"""A network as a file of NIR, the Neuromorphic Intermediate Representation, and back.

SpikingJelly's exporter writes the file, and its importer reads it. This module first rewrites the network
with layers that the exporter knows: norms are folded, adaptive pools get a fixed size, flattening becomes a
layer, and layers that do nothing are left out.
"""

from __future__ import annotations

import io
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from snnprune.common import atomic
from snnprune.common.errors import UserError, first_line
from snnprune.common.extras import need
from snnprune.export import nir_conventions, nir_factors, nir_loops, nir_neurons
from snnprune.export.comparison import Watched
from snnprune.export.graph import folded, layer_of, trace
from snnprune.export.limits import ADDITIONS, SILENT, check_nir, flattens, refuse_unknown
from snnprune.export.recurrence import inner, recurrent_kinds
from snnprune.network.duplicate import reset_states
from snnprune.network.leaves import spiking_base

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from snnprune.export.comparison import Run

DT = 1e-4
"""Seconds of a time step: snntorch 1.0 takes it for granted, and it is the default of SpikingJelly. It has no
effect on spikes."""

DT_KEY = "dt"
"""The entry of the graph's metadata that holds the seconds of a time step."""

ABOUT = "snnprune"
"""The entry of the graph's metadata that holds the origin of the network."""


@dataclass(frozen=True)
class Form:
    """What a NIR file may say in several ways, of which tools read different ones.

    Attributes:
        dt: seconds of a time step, in which the file counts time constants.
        r: "own" as SpikingJelly and snntorch write it, so that an input is added as it is, which sinabs and
            spyx do in any case; "1" for tools that compute tau v' = -v + x, without a factor: it is
            multiplied into weights and biases.
        pool: "average", or "sum" for tools that know no other pool: the weights behind it are divided.
        neurons: "own", or "if" for chips without a leak: another network, which answers otherwise.
    """

    dt: float = DT
    r: Literal["own", "1"] = "own"
    pool: Literal["average", "sum"] = "average"
    neurons: Literal["own", "if"] = "own"


def write(
    model: nn.Module,
    example: Tensor,
    path: Path,
    about: str = "",
    *,
    form: Form | None = None,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Write ``model`` to ``path`` (HDF5), completely or not at all.

    Args:
        model: a spiking network in multi-step mode; `accelerate` is undone and norms are folded in a copy.
        example: encoded frames [T, B, C, H, W], for shapes.
        path: of the file.
        about: text that is stored with it.
        form: of the file; by default that of `Form`.
        facts: further metadata, text and numbers.

    Raises:
        UserError: NIR cannot hold a layer, or not in this form, nir is not installed, or the file cannot be
            written.
    """
    form = Form() if form is None else form
    need("export", "an export to NIR", "nir", "nirtorch")
    check_nir(model)
    import nir  # noqa: PLC0415 - an extra
    from spikingjelly.activation_based.nir_exchange import export_to_nir  # noqa: PLC0415 - imports nir

    ready, feedback, own = _ready(folded(model), example[:, :1])
    try:
        graph = export_to_nir(ready, example[:, :1], dt=form.dt)
    except ValueError as error:  # such as of a network that begins with a pool, which NIR gives no shape
        raise UserError(f"NIR cannot hold this network: {first_line(error)}") from error
    for name, neurons in own.items():
        graph.nodes[name] = nir_neurons.node_of(neurons, graph.nodes[name].v_threshold.shape, form.dt)
    for name, synapses in feedback.items():
        nir_loops.add(graph, synapses, name)
    _shape(graph, form)
    graph = nir_conventions.conventional(graph, str(example.dtype).removeprefix("torch."))
    graph.metadata |= {ABOUT: about, DT_KEY: form.dt, **(facts or {})}
    content = io.BytesIO()
    nir.write(content, graph)
    nir_conventions.without_defaults(content)
    atomic.write(path, lambda file: file.write(content.getvalue()))


def _shape(graph: Any, form: Form) -> None:
    """Bring ``graph`` into ``form``, in place."""
    import nir  # noqa: PLC0415 - an extra

    try:
        if form.neurons == "if":
            nir_factors.without_leak(graph, form.dt)
        if form.r == "1":
            folded_in = (nir.LIF, nir.IF)
            nir_factors.move_r(graph, lambda node: nir_factors.ONE if isinstance(node, folded_in) else None)
        if form.pool == "sum":
            nir_factors.change_pools(graph, "SumPool2d")
    except UserError as error:
        raise UserError(f"NIR cannot hold this network in the form that is asked for: {error}") from error


def read(path: Path, dtype: torch.dtype = torch.float32, dt: float | None = None) -> tuple[nn.Module, str]:
    """Return the network in a NIR file, in multi-step mode, and the text that is stored with it.

    The network returns (outputs [T, B, K], states).

    Args:
        path: of the file.
        dtype: in which the network computes.
        dt: seconds of a time step; by default what the file says, and `DT` if it says nothing.

    Raises:
        UserError: no such file, no NIR in it, or a network that SpikingJelly's importer does not know, or
            that is recurrent in another way than through one linear node around a layer of neurons.
    """
    graph, model = imported(path, dtype, dt)
    kept = graph.metadata.get(ABOUT, "")
    return model, kept.decode() if isinstance(kept, bytes) else str(kept)


def imported(
    path: Path, dtype: torch.dtype = torch.float32, dt: float | None = None
) -> tuple[Any, nn.Module]:
    """Return the graph in a NIR file without feedback, and the network that `read` returns.

    Args and errors are those of `read`.
    """
    need("export", "reading NIR", "nir", "nirtorch")
    import nir  # noqa: PLC0415 - an extra
    from spikingjelly.activation_based.nir_exchange import import_from_nir  # noqa: PLC0415 - imports nir

    try:
        written = nir.read(str(path))
        step = float(written.metadata.get(DT_KEY, DT)) if dt is None else dt
        graph, feedback = nir_loops.taken_out(_as_steps(nir_loops.flat(written), step))
        known = {name: nir_neurons.module_of(name, node, step) for name, node in graph.nodes.items()}
        own = {name: module.to(dtype) for name, module in known.items() if module is not None}
        graph.nodes |= {name: nir_neurons.stand_in_node(graph.nodes[name]) for name in own}
        refuse_unknown(graph, step)
        model: nn.Module = import_from_nir(graph, dt=step, dtype=dtype, step_mode="m").eval()
        for name, module in own.items():
            model.set_submodule(f"{nir_loops.in_torch(name)}.module", module.eval())
        for synapses in feedback:
            nir_loops.put_back(model, synapses, dtype)
    except UserError as error:
        raise UserError(f"cannot read a network from {path}: {error}") from error
    except Exception as error:
        reason = first_line(error)
        raise UserError(f"cannot read a network from {path}: {reason}; expected a file of NIR") from error
    return graph, model


def _as_steps(graph: Any, dt: float) -> Any:
    """Return ``graph`` with the pools and `r` that SpikingJelly's importer knows, changed in place."""
    import nir  # noqa: PLC0415 - an extra

    def wanted(node: Any) -> Any:
        if isinstance(node, nir.IF):
            return np.float64(1 / dt)
        if isinstance(node, nir.LIF):
            known = (np.isclose(node.r, r, nir_factors.NEAR, 0).all() for r in (1, node.tau / dt))
            return None if any(known) else nir_factors.ONE
        return None

    for node in graph.nodes.values():
        nir_conventions.widen(node)
    nir_factors.change_pools(graph, "AvgPool2d")
    nir_factors.move_r(graph, wanted)
    return graph


def spiking_run(model: nn.Module, original: nn.Module) -> Run:
    """Return a function from encoded frames to outputs and spikes of a network that `read` returned.

    Args:
        model: the network that was read.
        original: the network that was written; the spikes get its names of layers.
    """
    names = [name for name, module in original.named_modules() if isinstance(module, spiking_base())]

    def run(frames: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        reset_states(model)
        with Watched(model, {_in_graph(name): name for name in names}) as watched:
            outputs = model(frames)[0]
        return outputs, watched.spikes

    return run


def wrappers(model: nn.Module) -> list[nn.Module]:
    """Return the modules of a network of `read` that wrap a layer of neurons which is not called itself."""
    names = (name for name, module in model.named_modules() if isinstance(module, spiking_base()))
    return [model.get_submodule(name.rpartition(".")[0]) for name in names]


def _in_graph(name: str) -> str:
    """Return the name that torch.fx, and then NIR, gives to the node of the module ``name``."""
    node = name.replace(".", "_")
    return f"_{node}" if node[0].isdigit() else node


def _ready(
    model: nn.Module, example: Tensor
) -> tuple[fx.GraphModule, dict[str, nir_loops.Feedback], dict[str, nn.Module]]:
    """Return ``model`` as a graph of layers that SpikingJelly's exporter knows, and what that leaves out.

    Left out are feedback and neurons of snnprune, by the names that their nodes will have.
    """
    feedback: dict[str, nir_loops.Feedback] = {}
    own: dict[str, nn.Module] = {}
    ready = fx.GraphModule(model, trace(model))
    ShapeProp(ready).propagate(example)
    reset_states(ready)
    for node in list(ready.graph.nodes):
        called = layer_of(node, ready)
        kind = type(called).__name__
        if isinstance(called, recurrent_kinds()):
            name = str(node.target)
            neurons = f"{name}.{inner(called)[0]}"
            feedback[_in_graph(f"{name}.feedback")] = nir_loops.without_feedback(
                node, ready, (name, _in_graph(neurons))
            )
            called = layer_of(node, ready)
        if called is not None and nir_neurons.is_own(called):
            own[_in_graph(str(node.target))] = called
            ready.set_submodule(str(node.target), nir_neurons.stand_in())
        elif kind in SILENT:
            node.replace_all_uses_with(node.all_input_nodes[0])
            ready.graph.erase_node(node)
        elif kind == "AdaptiveAvgPool2d":
            ready.set_submodule(str(node.target), _fixed_pool(node))
        elif flattens(node):
            _flatten_by_layer(node, ready)
        elif node.target in ADDITIONS:
            node.target = operator.add
    ready.recompile()
    return ready, feedback, own


def _fixed_pool(node: fx.Node) -> nn.Module:
    """Return the average pool of fixed size that is equal to an adaptive one.

    Raises:
        UserError: windows of different sizes.
    """
    from spikingjelly.activation_based import layer  # noqa: PLC0415 - slow to import

    (before, after) = (n.meta["tensor_meta"].shape[-2:] for n in (node.all_input_nodes[0], node))
    if any(a % b for a, b in zip(before, after, strict=True)):
        raise UserError(
            f"NIR cannot hold layer '{node.target}': it pools {tuple(before)} places to {tuple(after)}, with "
            "windows of different sizes"
        )
    window = tuple(a // b for a, b in zip(before, after, strict=True))
    return layer.AvgPool2d(window, step_mode="m")


def _flatten_by_layer(node: fx.Node, ready: fx.GraphModule) -> None:
    """Replace a flatten function by a layer, which keeps time and batch separate.

    Raises:
        UserError: the function does not flatten all axes after time and batch.
    """
    from spikingjelly.activation_based import layer  # noqa: PLC0415 - slow to import

    (source,) = node.all_input_nodes
    if len(node.meta["tensor_meta"].shape) != 3:
        raise UserError(f"NIR cannot hold layer '{node.name}': it flattens only a part of a sample")
    name = f"{node.name}_layer"
    ready.add_module(name, layer.Flatten(step_mode="m"))
    with node.graph.inserting_before(node):
        call: Any = node.graph.call_module(name, (source,))
    node.replace_all_uses_with(call)
    node.graph.erase_node(node)
