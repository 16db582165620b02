"""Factors that a NIR graph may hold in one node or in another: `r` of neurons, and the divisor of a pool.

Tools differ in which of them they read. norse 1.1, for one, leaves out `r` (tau v' = -v + x), and knows sum
pools alone. So a factor is moved into the weights in front of the neurons, or behind the pool, and the graph
says the same in a form that the tool reads. `snnprune.export.nir_file.read` moves it back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from snnprune.common.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Factor = np.ndarray[Any, Any] | np.float64
    """One number, or one for each neuron of a sample."""

ONE = np.float64(1)

NEAR = 1e-6
"""Relative distance from 1 within which a factor is none: that of rounding to float32."""


def move_r(graph: Any, wanted: Callable[[Any], Factor | None]) -> None:
    """Move `r` of LIF and IF neurons into the weights in front of them.

    Args:
        graph: of nir, changed in place.
        wanted: from a node of neurons to the `r` that it is to have; None leaves it as it is.

    Raises:
        UserError: neurons read something else than synapses, or synapses lead to neurons that need different
            factors, or one kernel would need several.
    """
    factors: dict[str, Factor] = {}
    for name, node in graph.nodes.items():
        new = wanted(node)
        if new is not None:
            factors[name] = np.asarray(node.r, np.float64) / new
            node.r = np.broadcast_to(new, np.shape(node.r)).astype(node.r.dtype)
    _multiply_before(graph, factors)


def without_leak(graph: Any, dt: float) -> None:
    """Make LIF neurons of ``graph`` IF neurons: v' = r / tau I in place of tau v' = v_leak - v + r I.

    Args:
        graph: of nir, changed in place.
        dt: seconds of a time step. `r` becomes 1 / dt: in a step an input is added to a potential as it is.

    Raises:
        UserError: neurons with a leak that an IF neuron cannot be made of, or as `move_r`.
    """
    import nir  # noqa: PLC0415 - an extra

    factors: dict[str, Factor] = {}
    for name, node in graph.nodes.items():
        if isinstance(node, nir.CubaLIF | nir.LI):
            what = "leaky integrators" if isinstance(node, nir.LI) else "neurons whose synapses decay, too"
            raise UserError(
                f"'{name}' are {what}, and no IF neuron is like them: train with --model.readout spikes, and "
                "with LIF neurons"
            )
        if isinstance(node, nir.LIF):
            factors[name] = np.asarray(node.r, np.float64) / node.tau * dt
            r = np.full_like(node.r, 1 / dt)
            graph.nodes[name] = nir.IF(r=r, v_threshold=node.v_threshold, v_reset=node.v_reset)
    _multiply_before(graph, factors)


def change_pools(graph: Any, kind: str) -> None:
    """Make pools of ``graph`` sums or averages, and divide or multiply the weights that read them.

    Args:
        graph: of nir, changed in place.
        kind: "SumPool2d" or "AvgPool2d".

    Raises:
        UserError: something else than synapses reads a pool, or synapses that read other things, too.
    """
    import nir  # noqa: PLC0415 - an extra

    made = getattr(nir, kind)
    grown: dict[str, float] = {}
    for name, node in graph.nodes.items():
        if isinstance(node, nir.SumPool2d | nir.AvgPool2d) and not isinstance(node, made):
            size = float(np.prod(np.broadcast_to(node.kernel_size, 2)))
            grown[name] = size if kind == "SumPool2d" else 1 / size
            graph.nodes[name] = made(node.kernel_size, node.stride, node.padding)
    scales = dict.fromkeys(graph.nodes, 1.0)
    for name in _in_order(graph):
        node, read = graph.nodes[name], {scales[a] for a, b in graph.edges if b == name} or {1.0}
        if _passes(node) and len(read) == 1:
            scales[name] = read.pop() * grown.get(name, 1.0)
        elif hasattr(node, "weight") and len(read) == 1:
            _multiply(node, np.float64(1 / read.pop()), name, inputs=True)
        elif read != {1.0}:
            raise UserError(
                f"'{name}' reads a pool beside or without synapses, and the divisor of a pool can go into "
                "synapses alone"
            )


def _passes(node: Any) -> bool:
    """Tell whether ``node`` hands a factor of its input on to its output."""
    import nir  # noqa: PLC0415 - an extra

    return isinstance(node, nir.Flatten | nir.SumPool2d | nir.AvgPool2d)


def _in_order(graph: Any) -> list[str]:
    """Return the nodes so that each that passes factors on stands behind what it reads."""
    found: dict[str, None] = {}

    def visit(name: str) -> None:
        if name not in found:
            for before in [a for a, b in graph.edges if b == name and _passes(graph.nodes[a])]:
                visit(before)
            found[name] = None

    for name in graph.nodes:
        visit(name)
    return list(found)


def _multiply_before(graph: Any, factors: Mapping[str, Factor]) -> None:
    """Multiply the weights in front of neurons by their factors."""
    found: dict[str, Factor] = {}

    def after(name: str) -> Factor:
        """Return the factor that the output of ``name`` needs."""
        if name not in found:
            readers = [b for a, b in graph.edges if a == name]
            needed = [after(b) if _passes(graph.nodes[b]) else factors.get(b, ONE) for b in readers]
            needed = [np.float64(f.flat[0]) if np.ptp(f) <= NEAR * np.max(np.abs(f)) else f for f in needed]
            if any(f.shape != needed[0].shape or not np.allclose(f, needed[0], NEAR, 0) for f in needed):
                named = ", ".join(f"'{b}'" for b in readers)
                raise UserError(f"'{name}' leads to {named}, whose r need different factors of its weights")
            found[name] = needed[0] if needed else ONE
        return found[name]

    for name, node in graph.nodes.items():
        factor = after(name)
        if _passes(node) or np.allclose(factor, 1, NEAR, 0):
            continue
        if not hasattr(node, "weight"):
            raise UserError(
                f"the neurons behind '{name}' read it without synapses, and r can go into weights alone"
            )
        _multiply(node, factor, name, inputs=False)


def _multiply(node: Any, factor: Factor, name: str, *, inputs: bool) -> None:
    """Multiply the weights of ``node``, and its biases with them unless ``factor`` is that of its inputs."""
    if np.allclose(factor, 1, NEAR, 0):
        return
    by_unit = np.asarray(factor)
    if by_unit.ndim:
        by_unit = by_unit.reshape(len(by_unit), -1)
        own = (np.ptp(by_unit, axis=1) > NEAR * np.abs(by_unit[:, 0])).any()
        if own or len(by_unit) != len(node.weight):
            raise UserError(f"the neurons behind '{name}' have r of their own, which its weights share")
        by_unit = by_unit[:, 0]
    wide = by_unit.reshape(*by_unit.shape, *(1 for _ in node.weight.shape[1:]))
    node.weight = (node.weight * wide).astype(node.weight.dtype)
    if not inputs and getattr(node, "bias", None) is not None:
        node.bias = (node.bias * by_unit).astype(node.bias.dtype)
