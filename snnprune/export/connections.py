"""A network as a list of its alive synapses: compressed rows (CSR) in a safetensors file, with its plan.

`snnprune.engine.plan_file` writes and reads it; docs/export.md ("csr") describes every key. The file runs
without the network, wherever a plan can hold this (`snnprune.export.planning`). Where it cannot, the file
holds connections alone, with the reason.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from snnprune.common.errors import UserError
from snnprune.engine import plan_file
from snnprune.engine.plan import Convolution, Integrators, Linear, Neurons
from snnprune.export import plan_neurons
from snnprune.export.graph import folded, trace
from snnprune.export.planning import of_grid, plan
from snnprune.export.recurrence import recurrent_layers
from snnprune.network.leaves import CONVOLUTIONS

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt
    from torch import Tensor

    from snnprune.engine.plan import Node
    from snnprune.export.quantisation import Quantised

    Array = npt.NDArray[Any]

_PLACE: dict[str, Any] = {"sources": (), "shape": (1, 1, 1)}
"""Of nodes that are not part of a plan."""


def content(
    network: nn.Module | Quantised, example: Tensor | None = None, *, over_time: str = "mean", about: str = ""
) -> bytes:
    """Return the content of a file with the alive synapses of ``network``, and its plan if there can be one.

    Args:
        network: any network: its norms are folded, its weights stay float32. Or one on a grid: weights that
            were rounded to zero are left out.
        example: encoded frames [T, B, C, H, W]; without them there is no plan of a network in floats.
        over_time: how outputs become scores, as `snnprune.export.planning.plan` takes it.
        about: text that is kept with the plan.

    Raises:
        UserError: a network without a plan that is recurrent, or calls a layer several times, as a loop over
            time does: a list of connections would not say what reads what.
    """
    try:
        if not isinstance(network, nn.Module):
            made = of_grid(network, over_time=over_time, about=about)
        elif example is None:
            raise UserError("it was written without an example of its input")  # noqa: TRY301 - said below
        else:
            made = plan(network, example, dtype=np.float32, over_time=over_time, about=about)
    except UserError as error:
        return _alone(network, error)
    return plan_file.content(made)


def write(
    network: nn.Module | Quantised,
    path: Path,
    example: Tensor | None = None,
    *,
    over_time: str = "mean",
    about: str = "",
) -> None:
    """Write `content` to ``path``, completely or not at all.

    Raises:
        UserError: as `content`, or the file cannot be written.
    """
    plan_file.write(content(network, example, over_time=over_time, about=about), path)


def read(path: Path) -> dict[str, Array]:
    """Return the weight of each layer as a dense float64 array, with 0 for dead synapses.

    Raises:
        UserError: it is not a file of `write`, of this or an earlier version.
    """
    return plan_file.weights(path)


def _alone(network: nn.Module | Quantised, why: UserError) -> bytes:
    """Return the content of a file that has no plan.

    Raises:
        UserError: the network is recurrent, or calls a layer several times.
    """
    plain = folded(network) if isinstance(network, nn.Module) else network.floats
    if recurrent_layers(plain):
        raise UserError(f"a recurrent network needs a plan in its list of connections: {why}") from why
    calls = Counter(str(node.target) for node in trace(plain).nodes if node.op == "call_module")
    for name, layer in plain.named_modules():
        if calls[name] > 1 and isinstance(layer, (*CONVOLUTIONS, nn.Linear)):
            raise UserError(
                f"layer '{name}' is called {calls[name]} times in a forward, as in a loop, and a list "
                f"of connections without a plan would not say what reads what: {why}"
            ) from why
    if isinstance(network, nn.Module):
        layers = (
            _layer(name, layer, weights=_floats(layer.weight), biases=_floats(layer._parameters.get("bias")))
            for name, layer in plain.named_modules()
            if isinstance(layer, (*CONVOLUTIONS, nn.Linear))
        )
        return plan_file.without_plan(layers, 32, {}, str(why))
    nodes: list[Node] = [
        _layer(
            name,
            plain.get_submodule(name),
            weights=grid.weights.cpu().numpy(),
            biases=None if grid.biases is None else grid.biases.cpu().numpy(),
            steps=grid.steps.cpu().numpy(),
        )
        for name, grid in network.layers.items()
    ]
    nodes += [Neurons(name=n, **_PLACE, **plan_neurons.of_grid(grid)) for n, grid in network.neurons.items()]
    nodes += [
        Integrators(name=n, **_PLACE, leak=np.array([grid.leak], np.int32), steps=grid.steps.cpu().numpy())
        for n, grid in network.readouts.items()
    ]
    readers = {name: grid.neuron for name, grid in network.layers.items()}
    return plan_file.without_plan(nodes, network.bits, readers, str(why))


def _layer(name: str, layer: Any, **numbers: Any) -> Node:
    """Return a layer with ``numbers``, and how a convolution moves over its input."""
    if isinstance(layer, nn.Linear):
        return Linear(name=name, **_PLACE, **numbers)
    ways = {key: getattr(layer, key) for key in plan_file.GEOMETRY}
    return Convolution(name=name, **_PLACE, **numbers, **ways)


def _floats(tensor: Any) -> Any:
    return None if tensor is None else tensor.detach().float().cpu().numpy()
