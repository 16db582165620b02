"""A NIR graph in the form that most tools read: what NIR leaves open is written as all of them take it.

- The window of a pool is a pair. A number comes back as numpy's, which snntorch 1.0 and nirtorch 2.6 refuse.
- `Flatten` counts axes from the end: the same with a batch, without one, and with time. From the front,
  snntorch, norse and nirtorch count the batch, sinabs and SpikingJelly do not.
- The nodes at the ends are named input and output. spyx 1.0 follows edges from one to the other by name.
- Potentials that neurons are reset to are left out where they are 0: what is missing is 0 to nir from 1.0.5
  on, and nir 1.0.4, the newest that sinabs 3.1 allows, cannot read a file that has them.
- Constants of neurons have the type of the weights. After float64, all that follows is float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import DTypeLike

ENDS = {"Input": "input", "Output": "output"}
"""The names of the two nodes at the ends of a graph."""

CONSTANTS = ("tau", "tau_mem", "tau_syn", "r", "w_in", "v_leak", "v_threshold", "v_reset")
"""The constants of a neuron: arrays of the shape of a sample."""

_PAIRS = ("kernel_size", "stride", "padding")


def conventional(graph: Any, dtype: DTypeLike) -> Any:
    """Return ``graph`` in the form of this module, checked by NIR's own type check.

    Args:
        graph: of nir; its nodes are changed.
        dtype: of the constants of neurons.

    Raises:
        ValueError: NIR's check found shapes that do not fit each other.
    """
    import nir  # noqa: PLC0415 - an extra

    for node in graph.nodes.values():
        if isinstance(node, nir.AvgPool2d | nir.SumPool2d):
            for name in _PAIRS:
                setattr(node, name, np.broadcast_to(getattr(node, name), 2).copy())
        elif isinstance(node, nir.Flatten):
            axes = len(node.input_type["input"])
            node.start_dim, node.end_dim = (axis % axes - axes for axis in (node.start_dim, node.end_dim))
        for name, value in constants(node):
            setattr(node, name, value.astype(dtype))
    names = _names(graph)
    return nir.NIRGraph(
        {names.get(name, name): node for name, node in graph.nodes.items()},
        [(names.get(a, a), names.get(b, b)) for a, b in graph.edges],
        metadata=graph.metadata,
    )


def without_defaults(file: BinaryIO) -> None:
    """Leave out of a NIR ``file`` (HDF5, open to read and write) the resets that are 0."""
    import h5py  # noqa: PLC0415 - comes with nir

    with h5py.File(file, "r+") as opened:
        for node in opened["node/nodes"].values():
            if "v_reset" in node and not node["v_reset"][()].any():
                del node["v_reset"]


def constants(node: Any) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """Yield the names and values of the constants of a neuron; nothing for other nodes."""
    for name in CONSTANTS:
        if hasattr(node, name):
            yield name, np.asarray(getattr(node, name))


def widen(node: Any) -> None:
    """Give the constants of ``node`` as float64, each as the shortest decimal number that its float32 is.

    A time constant is divided by the length of a time step. Of 0.0002 in float32 the quotient with 0.0001 is
    1.99999995, and would be another leak than that of 2 steps.
    """
    for name, value in constants(node):
        if value.dtype == np.float32:
            values, places = np.unique(value, return_inverse=True)
            setattr(node, name, values.astype(str).astype(np.float64)[places].reshape(value.shape))


def _names(graph: Any) -> dict[str, str]:
    """Return the new names of the nodes at the ends, and of other nodes that have theirs."""
    names: dict[str, str] = {}
    for name, node in graph.nodes.items():
        wanted = ENDS.get(type(node).__name__, name)
        if wanted != name:
            names[name] = wanted
            if wanted in graph.nodes:
                names[wanted] = name
    return names
