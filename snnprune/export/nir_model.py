"""The network in a NIR file as a network to train: layers of SpikingJelly, called in the order of the graph.

`snnprune.export.nir_file.read` returns a network that hands states from call to call, as NIR's tools do. This
one keeps its states, as SpikingJelly's networks do, so that it is trained and pruned as any other.
"""

from __future__ import annotations

from graphlib import TopologicalSorter
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from snnprune.common.errors import UserError
from snnprune.export import nir_file, nir_loops
from snnprune.network.leaves import spiking_base

if TYPE_CHECKING:
    from torch import Tensor

    from snnprune.config.schema import ModelConfig

FLATTENED = "flattened_frames"
"""The name of the layer in front of a network that reads a frame as one row of numbers."""


class NirNetwork(nn.Module):
    """Layers in the order in which they are called, each with those that it reads.

    Attributes:
        spiking: True: frames [T, B, C, H, W] in, outputs [T, B, K] out.
        loss: "mse" on rates if the last layer spikes, else "cross-entropy".

    Args:
        layers: by name.
        reads: for each layer the layers whose outputs are added up; none for the frames.
        output: the layers whose outputs are added up at the end.
    """

    spiking = True

    def __init__(self, layers: dict[str, nn.Module], reads: dict[str, list[str]], output: list[str]) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self._reads, self._output = reads, output
        last: Any = layers[output[0]]
        fires = isinstance(getattr(last, "neuron", last), spiking_base())
        self.loss = "mse" if fires else "cross-entropy"

    def forward(self, x: Tensor) -> Tensor:
        """Map frames to outputs, which are spikes, currents or potentials, as the last layer has them."""
        done: dict[str, Tensor] = {}

        def added(names: list[str]) -> Tensor:
            found = done[names[0]] if names else x
            for name in names[1:]:
                found = found + done[name]
            return found

        for name, sources in self._reads.items():
            done[name] = self.get_submodule(name)(added(sources))
        return added(self._output)


def network(config: ModelConfig, shape: tuple[int, int, int], classes: int) -> NirNetwork:
    """Return the network in ``config.file``, with its weights, to be trained.

    The gradient of its neurons is that of the networks of `snnprune.nn.models`.

    Args:
        config: `file`, `dt` and `detach_reset` are read.
        shape: of a frame. A network that reads one row of as many numbers is given flattened frames.
        classes: number of outputs.

    Raises:
        UserError: there is no file, it cannot be read, or it is for other frames or classes.
    """
    if config.file is None:
        raise UserError(
            "model.file is missing: give the NIR file that holds the network, with --init FILE.nir"
        )
    path = Path(config.file)
    graph, model = nir_file.imported(path, dt=config.dt)
    ends = {name: type(node).__name__ for name, node in graph.nodes.items()}
    inner = {name for name, kind in ends.items() if kind not in ("Input", "Output")}
    reads = {name: [a for a, b in graph.edges if b == name] for name in graph.nodes}
    order = [name for name in TopologicalSorter(reads).static_order() if name in inner]
    names = {name: _free(nir_loops.in_torch(name)) for name in order}
    layers = {names[name]: _alone(model.get_submodule(nir_loops.in_torch(name))) for name in order}
    called = {names[name]: [names[a] for a in reads[name] if a in inner] for name in order}
    output = [names[a] for name, kind in ends.items() if kind == "Output" for a in reads[name] if a in inner]
    if not output:
        raise UserError(f"the network in {path} has no layer in front of its output")
    _check_ends(path, graph, shape, classes)
    if len(_shape(graph, "Input")) == 1:
        layers, called = _behind_a_flatten(layers, called)
    for layer in layers.values():
        _train_as_ours(layer, config)
    return NirNetwork(layers, called, output)


def _alone(module: Any) -> nn.Module:
    """Return the layer inside of what hands states from call to call."""
    found: nn.Module = module.module if isinstance(getattr(module, "module", None), nn.Module) else module
    return found


def _free(name: str) -> str:
    """Return ``name``, changed if a network has an attribute of this name."""
    return f"{name}_" if hasattr(nn.Module, name) or name in ("spiking", "loss") else name


def _shape(graph: Any, kind: str) -> tuple[int, ...]:
    """Return the shape of what comes in or goes out."""
    (node,) = (node for node in graph.nodes.values() if type(node).__name__ == kind)
    (found,) = (node.input_type if kind == "Input" else node.output_type).values()
    return tuple(int(size) for size in np.atleast_1d(found))


def _check_ends(path: Path, graph: Any, shape: tuple[int, int, int], classes: int) -> None:
    try:
        into, out = _shape(graph, "Input"), _shape(graph, "Output")
    except (TypeError, ValueError) as error:
        raise UserError(f"the network in {path} does not say what it reads and what it answers") from error
    fits = into in (shape, (prod(shape),)) and out == (classes,)
    if not fits:
        raise UserError(
            f"the network in {path} reads {into} and answers {out}, and the data have frames of {shape} and "
            f"{classes} classes: choose data like those that it was trained on"
        )


def _behind_a_flatten(
    layers: dict[str, nn.Module], called: dict[str, list[str]]
) -> tuple[dict[str, nn.Module], dict[str, list[str]]]:
    from spikingjelly.activation_based import layer  # noqa: PLC0415 - slow to import

    behind = {name: sources or [FLATTENED] for name, sources in called.items()}
    return {FLATTENED: layer.Flatten(step_mode="m"), **layers}, {FLATTENED: [], **behind}


def _train_as_ours(layer: nn.Module, config: ModelConfig) -> None:
    from snnprune.nn.models.lif import lif  # noqa: PLC0415 - imports SpikingJelly

    module: Any
    for module in layer.modules():
        if hasattr(module, "surrogate_function"):
            module.surrogate_function = lif().surrogate_function
            module.detach_reset = config.detach_reset
