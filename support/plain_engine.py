"""What a plan computes, in plain loops over steps and samples: slow, and easy to check by eye."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from snnprune.engine.plan import (
    INPUT,
    Convolution,
    Flatten,
    Integrators,
    Linear,
    Neurons,
    Norm,
    Pool,
    Sum,
)

if TYPE_CHECKING:
    import numpy.typing as npt

    from snnprune.engine.plan import Layer, Node, Plan

    Array = npt.NDArray[Any]

PLACES = 16


def answers(plan: Plan, frames: Array) -> tuple[Array, dict[str, Array]]:
    """Return outputs [T, B, K] for frames [T, B, C, H, W], and what nodes hand on [T, B, C, H, W]."""
    steps, samples = frames.shape[:2]
    found: dict[str, Array] = {
        node.name: np.zeros((steps, samples, *node.shape), plan.dtype) for node in plan.nodes
    }
    for sample in range(samples):
        network = _Network(plan)
        for step in range(steps):
            for node, value in zip(plan.nodes, network.step(frames[step, sample]), strict=True):
                found[node.name][step, sample] = value
    outputs = found[plan.nodes[plan.output].name]
    return outputs.reshape(steps, samples, -1), found


class _Network:
    """One sample's network, with its states."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.last: list[Array] = [np.zeros(node.shape, plan.dtype) for node in plan.nodes]
        self.states: list[dict[str, Array]] = [{} for _ in plan.nodes]

    def step(self, frame: Array) -> list[Array]:
        now: list[Array] = []
        for place, node in enumerate(self.plan.nodes):
            read = [
                frame.astype(self.plan.dtype).reshape(self.plan.shape)
                if source.node == INPUT
                else (self.last if source.delay else now)[source.node]
                for source in node.sources
            ]
            now.append(self._computed(node, read, self.states[place]))
        self.last = now
        return now

    def _computed(  # noqa: PLR0911 - one for each kind
        self, node: Node, read: list[Array], states: dict[str, Array]
    ) -> Array:
        kind = self.plan.dtype
        match node:
            case Convolution():
                return self._handed_on(node, _convolved(node, self._numbers(read[0])))
            case Linear():
                sums = node.weights.astype(kind) @ self._numbers(read[0]).reshape(-1)
                return self._handed_on(node, sums.reshape(node.shape))
            case Pool():
                return _pooled(node, read[0])
            case Sum():
                total = read[0]
                for other in read[1:]:
                    total = total + other
                return total
            case Flatten():
                return read[0].reshape(node.shape)
            case Norm():
                return (read[0] - _wide(node.mean)) * _wide(node.scale) + _wide(node.shift)
            case Neurons():
                return _fired(node, read[0], states, self.plan)
            case Integrators():
                return _integrated(node, read[0], states, self.plan)
        raise AssertionError(node)

    def _numbers(self, x: Array) -> Array:
        return x if self.plan.bits is None else np.round(x * 2.0**PLACES)

    def _handed_on(self, node: Layer, sums: Array) -> Array:
        if node.biases is not None:
            own = node.biases.astype(self.plan.dtype)
            sums = sums + _wide(own if self.plan.bits is None else own * 2.0**PLACES)
        if self.plan.bits is None or node.whole:
            return sums
        assert node.steps is not None
        return sums * _wide(node.steps / 2**PLACES)


def _wide(numbers: Array) -> Array:
    return numbers.reshape(-1, 1, 1)


def _convolved(node: Convolution, x: Array) -> Array:
    (up, left), (dy, dx), (sy, sx) = node.padding, node.dilation, node.stride
    padded = np.pad(x, ((0, 0), (up, up), (left, left)))
    units, inputs, tall, broad = node.weights.shape
    per = units // node.groups
    out = np.zeros(node.shape, x.dtype)
    for unit in range(units):
        first = unit // per * inputs
        for row in range(node.shape[1]):
            for column in range(node.shape[2]):
                window = padded[
                    first : first + inputs,
                    row * sy : row * sy + (tall - 1) * dy + 1 : dy,
                    column * sx : column * sx + (broad - 1) * dx + 1 : dx,
                ]
                out[unit, row, column] = (window * node.weights[unit]).sum()
    return out


def _pooled(node: Pool, x: Array) -> Array:
    out = np.zeros(node.shape, x.dtype)
    for row, (top, bottom) in enumerate(node.rows):
        for column, (left, right) in enumerate(node.columns):
            window = x[:, top:bottom, left:right]
            if node.kind == "maximum":
                out[:, row, column] = window.max((1, 2))
            else:
                out[:, row, column] = window.sum((1, 2)) / x.dtype.type(node.divisors[row, column])
    return out


def _fired(node: Neurons, x: Array, states: dict[str, Array], plan: Plan) -> Array:
    own = np.int64 if node.kind == "whole" else plan.dtype
    scale = 2**PLACES if node.kind == "whole" else 1
    rest = np.zeros(1, own) if node.reset is None else node.reset.astype(own)
    rest, threshold, leak = _wide(rest * scale), _wide(node.threshold.astype(own) * scale), _wide(node.leak)
    v = states.get("v", np.broadcast_to(rest, x.shape).astype(own))
    if node.kind == "adaptive":
        return _adapted(node, x, v, states)
    away = v - rest if rest.any() else v
    if node.kind == "whole":
        h = rest + (leak.astype(np.int64) * (v - rest) >> plan.bits) + np.round(x).astype(np.int64)
    elif node.kind == "if":
        h = v + x
    elif node.kind == "heterogeneous":
        h = leak * v + (1 - leak) * x
    else:
        inner = x - away if node.decay_input else away
        leaked = inner / leak if node.kind == "lif" else inner * leak
        h = v + leaked if node.decay_input else v - leaked + x
    y = h >= threshold
    states["v"] = np.where(y, rest, h) if node.reset is not None else h - y * threshold
    return y.astype(plan.dtype)


def _adapted(node: Neurons, x: Array, v: Array, states: dict[str, Array]) -> Array:
    assert node.adaptation is not None
    r, a = _wide(node.adaptation), _wide(node.leak)
    y, b = states.get("y", np.zeros_like(x)), states.get("b", np.zeros_like(x))
    b = r * b + (1 - r) * y
    threshold = _wide(node.threshold) + x.dtype.type(node.rise) * b
    v = a * v + (1 - a) * x - threshold * y
    y = (v >= threshold).astype(x.dtype)
    states |= {"v": v, "b": b, "y": y}
    return y


def _integrated(node: Integrators, x: Array, states: dict[str, Array], plan: Plan) -> Array:
    if plan.bits is None:
        v = node.leak * states.get("v", np.zeros_like(x)) + (1 - node.leak) * x
        states["v"] = v
        return v
    assert node.steps is not None
    v = states.get("v", np.zeros(x.shape, np.int64))
    states["v"] = (int(node.leak[0]) * v >> plan.bits) + np.round(x).astype(np.int64)
    return states["v"] * _wide(node.steps / 2**PLACES)
