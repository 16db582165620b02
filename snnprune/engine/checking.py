"""Check that a plan is one: that shapes, places and constants of its nodes fit each other."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from snnprune.engine.plan import (
    INPUT,
    Convolution,
    Flatten,
    Integrators,
    Layer,
    Linear,
    Neurons,
    Norm,
    Pool,
    Sum,
)

if TYPE_CHECKING:
    import numpy.typing as npt

    from snnprune.engine.plan import Node, Plan, Shape

    Array = npt.NDArray[Any]

MOST_NODES = 10_000
MOST_WEIGHTS = 2**28
"""Of a plan, dead synapses included: a gigabyte of float32, twice those of VGG16 for ImageNet."""

MOST_VALUES = 2**26
"""That a node hands on in a time step."""

BITS = (2, 16)
"""Fewest and most bits of a weight in whole numbers."""

OVER_TIME = ("mean", "max", "last")
KINDS = ("if", "lif", "plif", "heterogeneous", "adaptive")


def check(plan: Plan) -> None:
    """Check a plan, of whatever source.

    Raises:
        ValueError: something in it does not fit. The message names the node.
    """
    bits = plan.bits
    _need(plan.dtype in (np.float32, np.float64), f"values are {plan.dtype}")
    _need(bits is None or BITS[0] <= bits <= BITS[1], f"weights have {bits} bits")
    _need(plan.over_time in OVER_TIME, f"outputs become scores by {plan.over_time!r}")
    _need(0 < len(plan.nodes) <= MOST_NODES, f"there are {len(plan.nodes)} nodes")
    _need(0 <= plan.output < len(plan.nodes), f"node {plan.output} is to answer")
    _need(len({node.name for node in plan.nodes}) == len(plan.nodes), "two nodes have one name")
    _check_shape("the input", plan.shape)
    for place, node in enumerate(plan.nodes):
        _check_shape(node.name, node.shape)
        _need(bool(node.sources), f"'{node.name}' reads nothing")
        _need(len(node.sources) == 1 or isinstance(node, Sum), f"'{node.name}' reads several nodes")
        for source in node.sources:
            last = len(plan.nodes) if source.delay else place
            first = 0 if source.delay else INPUT
            _need(source.delay in (0, 1), f"'{node.name}' reads {source.delay} steps before")
            _need(first <= source.node < last, f"'{node.name}' reads node {source.node}")
    weights = sum(node.weights.size for node in plan.nodes if isinstance(node, Layer))
    _need(weights <= MOST_WEIGHTS, f"there are {weights} weights")
    for node in plan.nodes:
        _check_node(plan, node, plan.shape_of(node.sources[0]))


def check_size(name: str, shape: tuple[int, ...]) -> int:
    """Return the number of weights of a layer of ``shape``, before there are any.

    Raises:
        ValueError: it is out of bounds.
    """
    _need(2 <= len(shape) <= 5 and all(0 < n <= MOST_WEIGHTS for n in shape), f"'{name}' has shape {shape}")
    size = math.prod(shape)
    _need(size <= MOST_WEIGHTS, f"'{name}' has {size} weights")
    return size


def outputs_of(node: Convolution, before: Shape) -> Shape:
    """Return the shape of what a convolution hands on, with 0 places where its kernel does not fit."""
    axes = zip(before[1:], node.weights.shape[2:], node.stride, node.padding, node.dilation, strict=True)
    height, width = (
        max(0, (length + 2 * pad - (size - 1) * apart - 1) // move + 1)
        for length, size, move, pad, apart in axes
    )
    return (len(node.weights), height, width)


def _need(fits: bool, otherwise: str) -> None:
    if not fits:
        raise ValueError(otherwise)


def _check_shape(name: str, shape: Shape) -> None:
    fits = len(shape) == 3 and all(0 < n <= MOST_VALUES for n in shape) and math.prod(shape) <= MOST_VALUES
    _need(fits, f"'{name}' has shape {shape}")


def _check_node(plan: Plan, node: Node, before: Shape) -> None:
    name, shape = node.name, node.shape
    misfit = f"'{name}' makes {shape} of {before}"
    match node:
        case Layer():
            _check_layer(plan, node, before)
        case Pool():
            _need(node.kind in ("average", "maximum"), f"'{name}' pools by {node.kind!r}")
            _need(shape[0] == before[0], misfit)
            for axis, length, count in (
                (node.rows, before[1], shape[1]),
                (node.columns, before[2], shape[2]),
            ):
                inside = axis.shape == (count, 2) and (axis[:, 0] >= 0).all() and (axis[:, 1] <= length).all()
                _need(
                    bool(inside and (axis[:, 0] < axis[:, 1]).all()),
                    f"windows of '{name}' are not within its input",
                )
            _need(node.divisors.shape == shape[1:], misfit)
            _need(
                bool(np.isfinite(node.divisors).all() and (node.divisors != 0).all()),
                f"'{name}' divides by 0",
            )
        case Sum():
            _need(all(plan.shape_of(source) == shape for source in node.sources), misfit)
        case Flatten():
            _need(math.prod(shape) == math.prod(before), misfit)
        case Norm():
            _need(shape == before and plan.bits is None, misfit)
            for numbers in (node.mean, node.scale, node.shift):
                _need(numbers.shape == shape[:1], misfit)
                _check_numbers(name, numbers, plan.dtype)
        case Neurons():
            _need(shape == before, misfit)
            _check_neurons(plan, node)
        case Integrators():
            _need(shape == before and node.leak.shape == (1,), misfit)
            _check_kept(plan, name, node.leak)
            _check_steps(plan, name, node.steps, shape[0])
        case _:
            raise ValueError(f"'{name}' is a {type(node).__name__}")


def _check_layer(plan: Plan, node: Layer, before: Shape) -> None:
    name, shape, weights = node.name, node.shape, node.weights
    misfit = f"'{name}' makes {shape} of {before} with weights {weights.shape}"
    kind = plan.dtype if plan.bits is None else np.dtype(np.int32)
    _check_numbers(name, weights, kind)
    if node.biases is not None:
        _need(node.biases.shape == (len(weights),), f"'{name}' has biases {node.biases.shape}")
        _check_numbers(name, node.biases, kind)
    _check_steps(plan, name, node.steps, len(weights))
    if isinstance(node, Linear):
        _need(weights.ndim == 2 and weights.shape[1] == math.prod(before), misfit)
        _need(shape == (len(weights), 1, 1), misfit)
    else:
        assert isinstance(node, Convolution)
        ways = (*node.stride, *node.dilation, node.groups)
        _need(
            weights.ndim == 4 and min(weights.shape) > 0 and min(ways) > 0 and min(node.padding) >= 0, misfit
        )
        _need(max(*ways, *node.padding) <= MOST_VALUES, misfit)
        _need(weights.shape[1] * node.groups == before[0] and len(weights) % node.groups == 0, misfit)
        _need(outputs_of(node, before) == shape, misfit)


def _check_neurons(plan: Plan, node: Neurons) -> None:
    name, whole = node.name, plan.bits is not None
    _need(node.kind in (("whole",) if whole else KINDS), f"'{name}' has neurons {node.kind!r}")
    _need((node.adaptation is not None) == (node.kind == "adaptive"), f"'{name}' adapts, or does not")
    _need(math.isfinite(node.rise), f"'{name}' has a threshold that rises by {node.rise}")
    kind = np.dtype(np.int32) if whole else plan.dtype
    for numbers in (node.threshold, node.leak, node.reset, node.adaptation):
        if numbers is not None:
            _need(numbers.shape in ((1,), node.shape[:1]), f"'{name}' has constants {numbers.shape}")
            shared = node.kind == "adaptive" and numbers.dtype == np.float64
            _check_numbers(name, numbers, numbers.dtype if shared else kind)
    if whole:
        _check_kept(plan, name, node.leak)
    _need(node.kind != "lif" or bool((node.leak != 0).all()), f"'{name}' has a time constant of 0")


def _check_kept(plan: Plan, name: str, kept: Array) -> None:
    if plan.bits is None:
        _check_numbers(name, kept, np.dtype(np.float64))
    else:
        _check_numbers(name, kept, np.dtype(np.int32))
        _need(
            0 <= int(kept.min()) <= int(kept.max()) <= 2**plan.bits, f"'{name}' keeps {kept} of 2^{plan.bits}"
        )


def _check_steps(plan: Plan, name: str, steps: Array | None, units: int) -> None:
    _need((steps is None) == (plan.bits is None), f"'{name}' has steps in floats, or none in whole numbers")
    if steps is not None:
        _need(steps.shape == (units,), f"'{name}' has steps {steps.shape}")
        _check_numbers(name, steps, np.dtype(np.float64))
        _need(bool((steps > 0).all()), f"'{name}' has a step that is not above 0")


def _check_numbers(name: str, numbers: Array, dtype: np.dtype[Any]) -> None:
    _need(numbers.dtype == dtype, f"'{name}' has numbers of {numbers.dtype} in place of {dtype}")
    _need(bool(np.isfinite(numbers).all()), f"'{name}' has a number that is not finite")
