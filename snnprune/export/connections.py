"""The alive synapses of a network as a list of connections: compressed rows (CSR) in a safetensors file.

The weight of a layer NAME, of shape [units, inputs, ...], is stored as a matrix [units, inputs x ...]:

    NAME.rows     uint32 [units + 1]   where the synapses of each unit begin and end
    NAME.columns  uint16 or uint32     the column of each synapse
    NAME.weights  float32, int16, int8, or two 4-bit numbers in a uint8 (low half first, two's complement)
    NAME.biases   float32 or int32 [units], if the layer has biases
    NAME.steps    float32 [units]      the value of 1, on a grid

and for neurons NAME on a grid, ``NAME.thresholds`` and, with a hard reset, ``NAME.resets``, int32 [units].
Neurons with a time constant of their own each have ``NAME.leaks``, int32 [units], and no leak in the header.
For leaky integrators NAME on a grid, ``NAME.steps`` is the value of 1 in their potentials.

The header holds shapes, strides and paddings, the neurons that read each layer, the bits, the leaks and the
binary places of potentials. A layer whose synapses lead from neurons back to themselves has an entry
``feedback``: these neurons, the delay in time steps, and the columns that their spikes come in by (the first,
and the first behind them). `snnprune.export.whole_numbers` says what a network computes with these numbers.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors import numpy as safetensors
from torch import nn

from snnprune.common import atomic, document
from snnprune.common.errors import UserError, with_article
from snnprune.export.graph import folded
from snnprune.export.recurrence import inner, recurrent_kinds
from snnprune.export.whole_numbers import PLACES, WholeLayer, WholeLoop
from snnprune.network.leaves import CONVOLUTIONS

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from snnprune.export.quantisation import Quantised

    Array = npt.NDArray[Any]

FORMAT = "snnprune connections, version 1"
GEOMETRY = ("stride", "padding", "dilation", "groups")


def content(network: nn.Module | Quantised) -> bytes:
    """Return the content of a file with the alive synapses of ``network``.

    Args:
        network: any network: its norms are folded, its weights stay float32. Or one on a grid: weights that
            were rounded to zero are left out.

    Raises:
        UserError: neurons feed back without synapses.
    """
    tensors: dict[str, Array] = {}
    if isinstance(network, nn.Module):
        plain = folded(network)
        layers = _of_network(plain, tensors)
        about: dict[str, Any] = {"bits": 32, "layers": layers}
    else:
        leaking = network.neurons | network.readouts
        about = {
            "bits": network.bits,
            "layers": _of_grid(network, tensors),
            "leaks": {name: each.leak for name, each in leaking.items() if isinstance(each.leak, int)},
            "places": PLACES,
        }
        plain = network.model
    _tell_feedback(plain, about["layers"])
    return safetensors.save(tensors, {"format": FORMAT, "network": json.dumps(about)})


def write(network: nn.Module | Quantised, path: Path) -> None:
    """Write `content` to ``path``, completely or not at all.

    Raises:
        UserError: the file cannot be written.
    """
    made = content(network)
    atomic.write(path, lambda file: file.write(made))


def read(path: Path) -> dict[str, Array]:
    """Return the weight of each layer as a dense float64 array, with 0 for dead synapses.

    Raises:
        UserError: it is not a file of `write`.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            if header.get("format") != FORMAT:
                raise ValueError(f"its format is {header.get('format')!r}")  # noqa: TRY301 - said as any other
            about = document.parse_json(header["network"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        return {name: _dense(name, layer["shape"], tensors, about) for name, layer in about["layers"].items()}
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, IndexError) as error:
        raise UserError(
            f"cannot read connections from {path} ({error}); expected '{FORMAT}', as `snnprune export --to "
            "csr` writes"
        ) from error


def refuse(path: Path) -> None:
    """Refuse a file of `write`: it is for chips, and snnprune cannot run it.

    Raises:
        UserError: ``path`` is such a file.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            listed = (file.metadata() or {}).get("format") == FORMAT
    except (OSError, SafetensorError):
        return  # the reader of the file reports what is wrong with it
    if listed:
        raise UserError(
            f"{path} is a list of connections, which holds no neurons to run: measure the run that it comes "
            "from, `snnprune eval RUN --bits 8`"
        )


def _of_network(model: nn.Module, tensors: dict[str, Array]) -> dict[str, Any]:
    layers = {}
    for name, layer in model.named_modules():
        if isinstance(layer, (*CONVOLUTIONS, nn.Linear)):
            weight = layer.get_parameter("weight").detach().float().cpu().numpy()
            tensors |= _rows(name, weight)
            bias = layer._parameters.get("bias")
            if bias is not None:
                tensors[f"{name}.biases"] = bias.detach().float().cpu().numpy()
            layers[name] = _geometry(layer)
    return layers


def _tell_feedback(model: nn.Module, layers: dict[str, Any]) -> None:
    """Note in ``layers`` which of them read the last spikes of their own neurons.

    Raises:
        UserError: neurons feed back without synapses.
    """
    kinds = (*recurrent_kinds(), WholeLoop)
    loops: dict[str, Any] = {name: m for name, m in model.named_modules() if isinstance(m, kinds)}
    for name, loop in loops.items():
        place = next((place for place in ("feedback", "rc") if hasattr(loop, place)), None)
        if place is None:
            raise UserError(
                f"layer '{name}' is {with_article(type(loop).__name__)}, which feeds spikes back without "
                "synapses, and a list of connections holds synapses: use a Recurrent of snnprune.nn.recurrent"
            )
        about = layers[f"{name}.{place}"]
        width = about["shape"][1]
        first = 0 if place == "feedback" else width - loop.sub_module_out_features
        neurons = f"{name}.{inner(loop)[0]}"
        about["feedback"] = {"neurons": neurons, "delay": 1, "columns": [first, width]}


def _of_grid(network: Quantised, tensors: dict[str, Array]) -> dict[str, Any]:
    layers = {}
    for name, grid in network.layers.items():
        tensors |= _rows(name, grid.weights.cpu().numpy(), network.bits)
        tensors[f"{name}.steps"] = grid.steps.float().cpu().numpy()
        if grid.biases is not None:
            tensors[f"{name}.biases"] = grid.biases.cpu().numpy()
        whole = network.model.get_submodule(name)
        assert isinstance(whole, WholeLayer)
        layers[name] = _geometry(whole.layer) | {"neurons": grid.neuron}
    for name, neurons in network.neurons.items():
        tensors[f"{name}.thresholds"] = neurons.thresholds.cpu().numpy()
        if neurons.resets is not None:
            tensors[f"{name}.resets"] = neurons.resets.cpu().numpy()
        if not isinstance(neurons.leak, int):
            tensors[f"{name}.leaks"] = neurons.leak.cpu().numpy()
    for name, readout in network.readouts.items():
        tensors[f"{name}.steps"] = readout.steps.float().cpu().numpy()
    return layers


def _geometry(layer: nn.Module) -> dict[str, Any]:
    """Return the shape of a layer's weight, and how a convolution moves over its input."""
    moves = {key: getattr(layer, key) for key in GEOMETRY} if isinstance(layer, CONVOLUTIONS) else {}
    return {"shape": list(layer.get_parameter("weight").shape), **moves}


def _rows(name: str, weight: Array, bits: int | None = None) -> dict[str, Array]:
    """Return the compressed rows of a weight, of integers with ``bits`` bits, or of floats for None."""
    matrix = weight.reshape(len(weight), -1)
    units, columns = np.nonzero(matrix)
    values = matrix[units, columns]
    starts = np.zeros(len(weight) + 1, dtype=np.uint32)
    np.cumsum(np.bincount(units, minlength=len(weight)), out=starts[1:])
    small = matrix.shape[1] <= 2**16
    return {
        f"{name}.rows": starts,
        f"{name}.columns": columns.astype(np.uint16 if small else np.uint32),
        f"{name}.weights": values if bits is None else _packed(values, bits),
    }


def _packed(values: Array, bits: int) -> Array:
    if bits > 4:
        return values.astype(np.int8 if bits <= 8 else np.int16)
    halves = np.zeros(len(values) + len(values) % 2, dtype=np.uint8)
    halves[: len(values)] = values.astype(np.int8).view(np.uint8) & 15
    packed: Array = halves[::2] | (halves[1::2] << 4)
    return packed


def _unpacked(packed: Array, count: int) -> Array:
    halves = np.stack([packed & 15, packed >> 4], axis=1).reshape(-1)[:count].astype(np.int16)
    return np.where(halves > 7, halves - 16, halves)


def _dense(name: str, shape: list[int], tensors: dict[str, Array], about: dict[str, Any]) -> Array:
    rows, columns, values = (tensors[f"{name}.{part}"] for part in ("rows", "columns", "weights"))
    if about["bits"] <= 4:
        values = _unpacked(values, len(columns))
    matrix = np.zeros((shape[0], int(np.prod(shape[1:]))))
    counts: Array = np.diff(rows)
    units = np.repeat(np.arange(shape[0]), counts)
    matrix[units, columns] = values
    if f"{name}.steps" in tensors:
        matrix *= tensors[f"{name}.steps"][:, None].astype(np.float64)
    return matrix.reshape(shape)
