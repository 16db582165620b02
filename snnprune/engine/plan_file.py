"""A plan as a safetensors file: alive synapses as compressed rows, constants, and the nodes in its header.

docs/export.md ("csr") describes every key with its unit. A file may also hold connections alone, with the
reason why there is no plan; so do the files of version 1.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors import numpy as safetensors

from snnprune.common import atomic, document
from snnprune.common.errors import UserError, in_one_line
from snnprune.engine import rows
from snnprune.engine.checking import BITS, MOST_NODES, MOST_VALUES, MOST_WEIGHTS, check, check_size
from snnprune.engine.plan import (
    PLACES,
    Convolution,
    Flatten,
    Integrators,
    Layer,
    Linear,
    Neurons,
    Norm,
    Plan,
    Pool,
    Source,
    Sum,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import numpy.typing as npt

    from snnprune.engine.plan import Node

    Array = npt.NDArray[Any]

FORMAT = "snnprune connections, version 2"
BEFORE = "snnprune connections, version 1"
"""Files of this version hold no plan."""

FEEDBACK = ".feedback"
NORM = ("mean", "scale", "shift")
GEOMETRY = ("stride", "padding", "dilation", "groups")
KINDS = {
    Convolution: "convolution",
    Linear: "linear",
    Pool: "pool",
    Sum: "sum",
    Flatten: "flatten",
    Norm: "norm",
    Neurons: "neurons",
    Integrators: "integrators",
}
"""Names of nodes in the header."""

LEAKS = {"lif": "tau", "plif": "factor", "heterogeneous": "kept", "adaptive": "kept", "whole": "kept"}
"""What `Neurons.leak` is called in the header, by the neurons' equations."""

TENSORS = {"threshold": "thresholds", "reset": "resets", "leak": "leaks", "adaptation": "adaptations"}
"""Names of tensors with the constants of neurons, where these differ or are whole numbers."""

UNREADABLE = (
    *(OSError, SafetensorError, ValueError, KeyError, TypeError, IndexError, AttributeError),
    *(OverflowError, RecursionError),
)
"""What files of others raise."""


# --- writing


def content(plan: Plan) -> bytes:
    """Return the content of a file of ``plan``.

    Raises:
        ValueError: it is no plan (`snnprune.engine.checking.check`).
    """
    check(plan)
    bits = 8 * plan.dtype.itemsize if plan.bits is None else plan.bits
    tensors, about = _connections(plan.nodes, bits, _readers(plan))
    stored = _stored(plan.nodes)
    for node in plan.nodes:
        for source in node.sources:
            if source.delay and isinstance(node, Layer):
                name, *columns = stored[node.name]
                back = {"neurons": plan.nodes[source.node].name, "delay": 1, "columns": columns}
                about["layers"][name]["feedback"] = back
    about["plan"] = {
        "shape": list(plan.shape),
        "output": plan.output,
        "over_time": plan.over_time,
        "about": plan.about,
        "nodes": [_told(node, bits, tensors) | _columns(node, stored) for node in plan.nodes],
    }
    return _saved(tensors, about)


def without_plan(nodes: Iterable[Node], bits: int, readers: Mapping[str, str | None], why: str) -> bytes:
    """Return the content of a file of connections that cannot be run.

    Args:
        nodes: layers with synapses, neurons and leaky integrators, whose sources and shapes do not count.
        bits: of a weight, 32 for float32.
        readers: in whole numbers, the neurons or integrators that read each layer.
        why: there is no plan, as a sentence.
    """
    tensors, about = _connections(nodes, bits, readers)
    return _saved(tensors, about | {"no_plan": why})


def write(made: bytes, path: Path) -> None:
    """Write the ``content`` of a file to ``path``, completely or not at all.

    Raises:
        UserError: the file cannot be written.
    """
    atomic.write(path, lambda file: file.write(made))


def _saved(tensors: dict[str, Array], about: dict[str, Any]) -> bytes:
    held = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    return safetensors.save(held, {"format": FORMAT, "network": json.dumps(about)})


def _connections(
    nodes: Iterable[Node], bits: int, readers: Mapping[str, str | None]
) -> tuple[dict[str, Array], dict[str, Any]]:
    """Return the tensors of connections and neurons, and the header without nodes."""
    tensors: dict[str, Array] = {}
    layers: dict[str, Any] = {}
    leaks: dict[str, int] = {}
    whole, nodes = bits <= BITS[1], list(nodes)
    stored = _stored(nodes)
    for node in nodes:
        if isinstance(node, Layer):
            if stored[node.name][0] != node.name:
                continue  # its columns are those of another layer
            beside = [n.weights for n in nodes if isinstance(n, Layer) and stored[n.name][0] == node.name]
            weights = np.concatenate(beside, 1) if len(beside) > 1 else node.weights
            parts = rows.compressed(weights, bits if whole else None)
            tensors |= {f"{node.name}.{part}": tensor for part, tensor in parts.items()}
            if node.biases is not None:
                tensors[f"{node.name}.biases"] = node.biases
            layers[node.name] = {"shape": list(weights.shape)}
            if isinstance(node, Convolution):
                layers[node.name] |= {key: _plain(getattr(node, key)) for key in GEOMETRY}
            if whole:
                layers[node.name]["neurons"] = readers.get(node.name)
        elif isinstance(node, Neurons) and whole:
            tensors |= {f"{node.name}.{name}": numbers for name, numbers in _whole_constants(node).items()}
        if isinstance(node, (Neurons, Integrators)) and whole and node.leak.size == 1:
            leaks[node.name] = int(node.leak[0])
        steps = getattr(node, "steps", None)
        if steps is not None:
            tensors[f"{node.name}.steps"] = steps.astype(np.float32)
    about: dict[str, Any] = {"bits": bits, "layers": layers}
    return tensors, about | ({"leaks": leaks, "places": PLACES} if whole else {})


def _stored(nodes: Iterable[Node]) -> dict[str, tuple[str, int, int]]:
    """Return, for each layer, the name of its matrix, its first column there, and the first behind it.

    What leads back in a LinearRecurrentContainer (NAME.rc) is a linear layer of its own, NAME.rc.feedback. In
    the file both stand side by side, as in the container.
    """
    found: dict[str, tuple[str, int, int]] = {}
    for node in nodes:
        if isinstance(node, Layer):
            before, width = node.name.removesuffix(FEEDBACK), node.weights[0].size
            name, _, first = found.get(before, (node.name, 0, 0))
            both = isinstance(node, Linear) and before != node.name and name == before
            found[node.name] = (name, first, first + width) if both else (node.name, 0, width)
    return found


def _columns(node: Node, stored: Mapping[str, tuple[str, int, int]]) -> dict[str, Any]:
    """Return where the columns of a layer stand, if it shares a matrix with another."""
    if not isinstance(node, Layer) or [name for name, *_ in stored.values()].count(stored[node.name][0]) == 1:
        return {}
    name, *columns = stored[node.name]
    return {"synapses": name, "columns": columns}


def _plain(value: Any) -> Any:
    return [int(n) for n in value] if isinstance(value, tuple) else int(value)


def _whole_constants(node: Neurons) -> dict[str, Array]:
    """Return the tensors of neurons in whole numbers."""
    found = {"thresholds": node.threshold}
    if node.reset is not None:
        found["resets"] = node.reset
    return found | ({"leaks": node.leak} if node.leak.size > 1 else {})


def _readers(plan: Plan) -> dict[str, str | None]:
    """Return, by name of each layer, the neurons or integrators that its sums go to; None for none."""
    readers: dict[int, str | None] = {}
    for place in reversed(range(len(plan.nodes))):
        node = plan.nodes[place]
        if isinstance(node, (Neurons, Integrators)):
            reader: str | None = node.name
        else:
            reader = None if isinstance(node, Layer) else readers.get(place)
        for source in node.sources:
            if source.delay == 0 and not isinstance(node, Layer):
                readers.setdefault(source.node, reader)
    return {node.name: readers.get(place) for place, node in enumerate(plan.nodes) if isinstance(node, Layer)}


def _told(node: Node, bits: int, tensors: dict[str, Array]) -> dict[str, Any]:
    """Return a node for the header; what is too large for it goes to ``tensors``."""
    told: dict[str, Any] = {
        "name": node.name,
        "kind": KINDS[type(node)],
        "reads": [[source.node, source.delay] for source in node.sources],
        "shape": list(node.shape),
    }
    match node:
        case Layer():
            if isinstance(node, Convolution):
                told |= {key: _plain(getattr(node, key)) for key in GEOMETRY}
            if node.steps is not None:
                told["whole"] = node.whole
        case Pool():
            told |= {"of": node.kind, "rows": node.rows.tolist(), "columns": node.columns.tolist()}
            same = (node.divisors == node.divisors.flat[0]).all()
            told["divisors"] = node.divisors.flat[0].item() if same else node.divisors.tolist()
        case Norm():
            for part in NORM:
                tensors[f"{node.name}.{part}"] = getattr(node, part)
        case Neurons():
            told |= _told_neurons(node, tensors)
        case Integrators():
            told["kept"] = node.leak[0].item()
    return told | _told_plainly(node, told, bits, tensors)


def _told_plainly(
    node: Node, told: Mapping[str, Any], bits: int, tensors: dict[str, Array]
) -> dict[str, Any]:
    """Return keys that follow from those ``told``, so that a plain reader needs no kind of equations.

    Neurons and leaky integrators with the rest R compute, in whole numbers with the product rounded down::

        h = R + decay (v - R) + (1 - decay) x    or, without decay_input,    h = R + decay (v - R) + x

    Others, as those with adaptive thresholds, have no ``decay``.
    """
    found: dict[str, Any] = {}
    whole = bits <= BITS[1]
    if isinstance(node, Layer):
        found["biases"] = None if node.biases is None else {"tensor": f"{node.name}.biases"}
    if isinstance(node, Norm):
        found |= {part: {"tensor": f"{node.name}.{part}"} for part in NORM}
    if whole and (isinstance(node, Integrators) or (isinstance(node, Layer) and not node.whole)):
        found["scale"] = {"tensor": f"{node.name}.steps"}
    if isinstance(node, Integrators) or (isinstance(node, Neurons) and _is_plain(node)):
        kind = node.kind if isinstance(node, Neurons) else "integrators"
        mixes = kind in ("heterogeneous", "integrators") and not whole
        found["decay_input"] = mixes or (isinstance(node, Neurons) and node.decay_input)
        if not whole and "kept" in told:
            found["decay"] = told["kept"]
        else:
            leak = node.leak.astype(np.float64)
            decay = {"if": np.ones(1), "lif": 1 - 1 / leak, "plif": 1 - leak}.get(kind, leak / 2**bits)
            found["decay"] = _constant(f"{node.name}.decays", decay, tensors)
    return found


def _is_plain(node: Neurons) -> bool:
    """Tell whether the equations are those of `_told_plainly`; heterogeneous neurons decay to 0, not to R."""
    to_zero = node.reset is None or not node.reset.any()
    return to_zero if node.kind == "heterogeneous" else node.kind != "adaptive"


def _told_neurons(node: Neurons, tensors: dict[str, Array]) -> dict[str, Any]:
    def constant(part: str) -> Any:
        numbers = getattr(node, part)
        return None if numbers is None else _constant(f"{node.name}.{TENSORS[part]}", numbers, tensors)

    told = {"equations": node.kind, "threshold": constant("threshold"), "reset": constant("reset")}
    if node.kind in LEAKS:
        told[LEAKS[node.kind]] = constant("leak")
    if node.kind in ("lif", "plif"):
        told["decay_input"] = node.decay_input
    if node.kind == "adaptive":
        told |= {"adaptation_kept": constant("adaptation"), "rise": node.rise}
    return told


def _constant(name: str, numbers: Array, tensors: dict[str, Array]) -> Any:
    """Return one number, or the name of the tensor that holds several."""
    if name in tensors:
        return {"tensor": name}
    if numbers.size == 1:
        return numbers.flat[0].item()
    tensors[name] = numbers
    return {"tensor": name}


# --- reading


def is_one(path: Path) -> bool:
    """Tell whether ``path`` is a file of connections, of any version."""
    try:
        with safe_open(path, framework="numpy") as file:
            return str((file.metadata() or {}).get("format")) in (FORMAT, BEFORE)
    except (OSError, SafetensorError):
        return False


def read(path: Path) -> Plan:
    """Return the plan in a file.

    Raises:
        UserError: it is no file of `content`, is damaged, or holds connections alone.
    """
    tensors, about, version = _opened(path)
    if version == BEFORE:
        raise UserError(
            f"{path} is a list of connections of version 1, which says too little of its neurons and pools "
            "to run it: export the network again, `snnprune export RUN --to csr`"
        )
    if isinstance(about, dict) and "no_plan" in about:
        why = in_one_line(ValueError(about["no_plan"]))
        raise UserError(
            f"{path} is a list of connections that cannot be run ({why}): read its "
            "weights with snnprune.export.connections.read"
        )
    try:
        return _plan(tensors, about)
    except UNREADABLE as error:
        raise _unreadable(path, error) from error


def weights(path: Path) -> dict[str, Array]:
    """Return the weight of each layer in a file of any version: float64, with 0 for dead synapses.

    Raises:
        UserError: it is no file of connections, or is damaged.
    """
    tensors, about, _ = _opened(path)
    try:
        bits, layers = _bits(about["bits"]), about["layers"]
        _check_sizes(layers)
        found = {}
        for name, layer in layers.items():
            values = _dense(name, layer, tensors, bits).astype(np.float64)
            if f"{name}.steps" in tensors:
                steps = _tensor(tensors, f"{name}.steps", "float32", (len(values),))
                values *= steps.astype(np.float64).reshape(-1, *(1 for _ in values.shape[1:]))
            found[name] = values
    except UNREADABLE as error:
        raise _unreadable(path, error) from error
    return found


def _opened(path: Path) -> tuple[dict[str, Array], Any, str]:
    """Return the tensors, the header and the version of a file."""
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            version = str(header.get("format"))
            if version not in (FORMAT, BEFORE):
                raise ValueError(f"its format is {version!r}")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            return tensors, document.parse_json(header["network"]), version
    except UNREADABLE as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: BaseException) -> UserError:
    return UserError(
        f"cannot read connections from {path} ({in_one_line(error) or type(error).__name__}); expected "
        f"'{FORMAT}', as `snnprune export --to csr` writes"
    )


def _plan(tensors: dict[str, Array], about: Any) -> Plan:
    told, bits = about["plan"], _bits(about["bits"])
    _check_sizes(about["layers"])
    whole = bits <= BITS[1]
    dtype = np.dtype(np.float32 if bits == 32 else np.float64)
    if not isinstance(told["nodes"], list) or len(told["nodes"]) > MOST_NODES:
        raise ValueError("its nodes are no list, or too many")
    reader = _Nodes(tensors, about["layers"], bits, dtype)
    made = Plan(
        _numbers(told["shape"], 3),
        tuple(reader.node(one) for one in told["nodes"]),
        _whole(told["output"]),
        dtype,
        bits if whole else None,
        _word(told["over_time"]),
        _word(told["about"]),
    )
    check(made)
    for node, one in zip(made.nodes, told["nodes"], strict=True):
        _check_plain(node, one, bits, tensors)
    return made


def _check_plain(node: Node, told: Any, bits: int, tensors: dict[str, Array]) -> None:
    """Check that what a plain reader computes with follows from the node's constants."""
    derived: dict[str, Array] = {}
    for key, value in _told_plainly(node, told, bits, derived).items():
        said = told.get(key, value)  # a file of earlier code lacks these keys
        if said != value or type(said) is not type(value):
            raise ValueError(f"{key} of '{node.name}' is {str(said)[:40]}, and its constants say {value}")
    for name, numbers in derived.items():
        if name in tensors and not np.array_equal(numbers, tensors[name]):
            raise ValueError(f"'{name}' does not follow from the constants of '{node.name}'")


class _Nodes:
    """Makes nodes of what a header says.

    Args:
        tensors: of the file.
        layers: shapes of weights by name, whose sizes are within bounds.
        bits: of a weight, 32 or 64 for floats.
        dtype: of the plan.
    """

    def __init__(self, tensors: dict[str, Array], layers: Any, bits: int, dtype: np.dtype[Any]) -> None:
        self.tensors, self.layers, self.bits, self.dtype = tensors, layers, bits, dtype
        self.whole = bits <= BITS[1]
        self.matrices: dict[str, Array] = {}
        self.left = MOST_WEIGHTS

    def node(self, told: Any) -> Node:  # noqa: PLR0911 - one for each kind
        """Return the node that ``told`` describes.

        Raises:
            ValueError, KeyError, TypeError: it describes none.
        """
        kind, name = _word(told["kind"]), _word(told["name"])
        sources = tuple(Source(*_numbers(one, 2, lowest=-1)) for one in told["reads"])
        common: dict[str, Any] = {"name": name, "sources": sources, "shape": _numbers(told["shape"], 3)}
        match kind:
            case "convolution":
                ways = {key: _numbers(told[key], 2) for key in GEOMETRY[:3]}
                return Convolution(**common, **self._layer(told), **ways, groups=_whole(told["groups"]))
            case "linear":
                return Linear(**common, **self._layer(told))
            case "pool":
                return self._pool(common, told)
            case "sum":
                return Sum(**common)
            case "flatten":
                return Flatten(**common)
            case "norm":
                mean, scale, shift = (self._own(f"{name}.{part}", self.dtype) for part in NORM)
                return Norm(**common, mean=mean, scale=scale, shift=shift)
            case "neurons":
                return Neurons(**common, **self._neurons(told))
            case "integrators":
                return self._integrators(common, told)
        raise ValueError(f"node '{name}' is a {kind!r}")

    def _layer(self, told: Any) -> dict[str, Any]:
        name = told["name"]
        biases, steps = f"{name}.biases", None
        if self.whole:
            steps = self._own(f"{name}.steps", np.dtype(np.float32)).astype(np.float64)
        return {
            "weights": self._weights(told),
            "biases": self._own(biases, self._kind) if biases in self.tensors else None,
            "steps": steps,
            "whole": _truth(told["whole"]) if self.whole else True,
        }

    def _weights(self, told: Any) -> Array:
        name = _word(told.get("synapses", told["name"]))
        if name not in self.matrices:
            self.matrices[name] = _dense(name, self.layers[name], self.tensors, self.bits)
        found = self.matrices[name]
        if "columns" not in told:
            return found
        first, last = _numbers(told["columns"], 2)
        part = found.reshape(len(found), -1)[:, first:last]
        self.left -= part.size
        if self.left < 0 or part.shape[1] != last - first:
            raise ValueError(f"'{told['name']}' has columns {first} to {last} of {found.shape}")
        return np.ascontiguousarray(part)

    def _pool(self, common: dict[str, Any], told: Any) -> Pool:
        shape, name = common["shape"], common["name"]
        windows = [
            np.array([_numbers(pair, 2) for pair in told[axis]], np.int32) for axis in ("rows", "columns")
        ]
        if math.prod(shape) > MOST_VALUES:
            raise ValueError(f"'{name}' has shape {shape}")
        divisors: Array
        if isinstance(told["divisors"], dict):  # so earlier code wrote them
            divisors = self._named(told["divisors"], f"{name}.divisors", np.dtype(np.float64))
        elif isinstance(told["divisors"], list):
            divisors = np.array([[_number(one) for one in row] for row in told["divisors"]])
        else:
            divisors = np.full(shape[1:], _number(told["divisors"]))
        kind: Any = _word(told["of"])
        return Pool(**common, kind=kind, rows=windows[0], columns=windows[1], divisors=divisors)

    def _neurons(self, told: Any) -> dict[str, Any]:
        kind: Any = _word(told["equations"])

        def constant(part: str, key: str) -> Any:
            value, own = told[key], self._kind
            if value is None and part == "reset":
                return None
            if isinstance(value, dict):
                return self._named(value, f"{told['name']}.{TENSORS[part]}", own)
            # What all neurons share is not rounded before 1 minus it is computed.
            shared = kind == "adaptive" and part in ("leak", "adaptation")
            return self._one(value, np.dtype(np.float64) if shared else own)

        return {
            "kind": kind,
            "threshold": constant("threshold", "threshold"),
            "reset": constant("reset", "reset"),
            "leak": constant("leak", LEAKS[kind]) if kind in LEAKS else np.ones(1, self._kind),
            "decay_input": _truth(told["decay_input"]) if kind in ("lif", "plif") else False,
            "adaptation": constant("adaptation", "adaptation_kept") if kind == "adaptive" else None,
            "rise": _number(told["rise"]) if kind == "adaptive" else 0.0,
        }

    def _integrators(self, common: dict[str, Any], told: Any) -> Integrators:
        if not self.whole:
            return Integrators(**common, leak=self._one(told["kept"], np.dtype(np.float64)))
        steps = self._own(f"{common['name']}.steps", np.dtype(np.float32)).astype(np.float64)
        return Integrators(**common, leak=self._one(told["kept"], self._kind), steps=steps)

    @property
    def _kind(self) -> np.dtype[Any]:
        return np.dtype(np.int32) if self.whole else self.dtype

    def _own(self, name: str, kind: np.dtype[Any]) -> Array:
        return _tensor(self.tensors, name, str(kind))

    def _named(self, told: Any, name: str, kind: np.dtype[Any]) -> Array:
        if told != {"tensor": name}:
            raise ValueError(f"{str(told)[:40]!r} does not name '{name}'")
        return self._own(name, kind)

    def _one(self, value: Any, kind: np.dtype[Any]) -> Array:
        number = _whole(value, lowest=-(2**31)) if kind == np.int32 else _number(value)
        with np.errstate(over="ignore"):  # what is too large for float32 is found to be not finite
            return np.array([number], kind)


def _check_sizes(layers: Any) -> None:
    """Check the sizes of all weights in a header together."""
    total = sum(
        check_size(name, tuple(_whole(n, lowest=1) for n in layer["shape"])) for name, layer in layers.items()
    )
    if total > MOST_WEIGHTS or len(layers) > MOST_NODES:
        raise ValueError(f"it has {len(layers)} layers with {total} weights")


def _dense(name: str, layer: Any, tensors: dict[str, Array], bits: int) -> Array:
    whole = "weights" if f"{name}.rows" not in tensors and f"{name}.columns" not in tensors else None
    parts = {part: tensors[f"{name}.{part}"] for part in rows.PARTS if whole in (None, part)}
    found = rows.dense(name, layer["shape"], parts, bits if bits <= BITS[1] else None)
    if bits > BITS[1] and found.dtype.itemsize * 8 != bits:
        raise ValueError(f"'{name}.weights' is {found.dtype}")
    return found


def _tensor(tensors: dict[str, Array], name: str, kind: str, shape: tuple[int, ...] | None = None) -> Array:
    found = tensors[name]
    if str(found.dtype) != kind or (shape is not None and found.shape != shape):
        raise ValueError(f"'{name}' is {found.dtype} of shape {found.shape}")
    return found


def _bits(value: Any) -> int:
    bits = _whole(value)
    if not BITS[0] <= bits <= BITS[1] and bits not in (32, 64):
        raise ValueError(f"its weights have {bits} bits")
    return bits


def _whole(value: Any, *, lowest: int = 0) -> int:
    if type(value) is not int or not lowest <= value < 2**31:
        raise ValueError(f"{str(value)[:40]!r} is no whole number from {lowest} on")
    return value


def _numbers(values: Any, count: int, *, lowest: int = 0) -> Any:
    if not isinstance(values, list) or len(values) != count:
        raise ValueError(f"{str(values)[:40]!r} are no {count} numbers")
    return tuple(_whole(value, lowest=lowest) for value in values)


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError(f"{str(value)[:40]!r} is no finite number")
    return float(value)


def _truth(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError(f"{str(value)[:40]!r} is neither true nor false")
    return value


def _word(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{str(value)[:40]!r} is no text")  # noqa: TRY004 - said as any other
    return value
