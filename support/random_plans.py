"""Random plans: chains, residual sums, recurrent layers and pools of any windows, floats or whole numbers."""

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
    Plan,
    Pool,
    Source,
    Sum,
)

if TYPE_CHECKING:
    from snnprune.engine.plan import Node, Shape

KINDS = ("if", "lif", "plif", "heterogeneous", "adaptive")


def windows(size: int, kernel: int, stride: int, padding: int) -> np.ndarray:
    """Return the first place of each window and the first behind it, as torch's pools have them."""
    count = (size + 2 * padding - kernel) // stride + 1
    first = np.arange(count) * stride - padding
    return np.stack([first.clip(0), (first + kernel).clip(None, size)], 1).astype(np.int32)


class Drawn:
    """A plan that is drawn node by node.

    Args:
        seed: of everything that is drawn.
        bits: of a weight in whole numbers, None for floats.
        dtype: of floats.
        rate: about how large weights are: with 1 about a tenth of neurons fire.
    """

    def __init__(
        self, seed: int, bits: int | None = None, dtype: Any = np.float64, rate: float = 1.0
    ) -> None:
        self.rng = np.random.default_rng(seed)
        self.bits, self.dtype, self.rate = bits, np.dtype(np.float64 if bits else dtype), rate
        self.nodes: list[Node] = []
        self.shape: Shape = (
            int(self.rng.integers(1, 5)),
            int(self.rng.integers(1, 9)),
            int(self.rng.integers(1, 9)),
        )

    # --- draws

    def one(self, *choices: Any) -> Any:
        return choices[self.rng.integers(len(choices))]

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def weights(self, *shape: int) -> np.ndarray:
        fan_in = int(np.prod(shape[1:]))
        dead = self.rng.random(shape) < self.one(0.0, 0.5, 0.95)
        if self.bits:
            top = 2 ** (self.bits - 1) - 1
            own = self.rng.integers(-top, top + 1, shape)
            return np.where(dead, 0, own).astype(np.int32)
        own = self.rng.normal(0.2, 2.0, shape) * self.rate / np.sqrt(fan_in)
        return np.where(dead, 0, own).astype(self.dtype)

    def biases(self, units: int) -> np.ndarray | None:
        if self.chance(0.5):
            return None
        if self.bits:
            return self.rng.integers(-20, 50, units).astype(np.int32)
        return self.rng.normal(0.1, 0.2, units).astype(self.dtype)

    def steps(self, units: int) -> np.ndarray | None:
        return self.rng.uniform(0.5, 2.0, units) / 2**self.bits if self.bits else None

    # --- nodes

    def shape_of(self, place: int) -> Shape:
        return self.shape if place == INPUT else self.nodes[place].shape

    def add(self, node: Any, sources: list[int | Source], shape: Shape, **fields: Any) -> int:
        name = f"{node.__name__.lower()}{len(self.nodes)}"
        read = tuple(s if isinstance(s, Source) else Source(s) for s in sources)
        self.nodes.append(node(name=name, sources=read, shape=shape, **fields))
        return len(self.nodes) - 1

    def convolution(self, source: int, units: int = 0, same: bool = False, whole: bool = True) -> int:
        c, h, w = self.shape_of(source)
        groups = self.one(1, 1, 1, c)
        per = int(self.rng.integers(1, 3 if groups > 1 else 12))
        units = units or groups * per
        if units % groups:
            groups = 1
        tall, broad = (3, 3) if same else (int(self.rng.integers(1, 4)), int(self.rng.integers(1, 4)))
        dy, dx = (1, 1) if same else (self.one(1, 1, 2), self.one(1, 1, 2))
        py, px = (1, 1) if same else (int(self.rng.integers(0, 3)), int(self.rng.integers(0, 3)))
        sy, sx = (1, 1) if same else (self.one(1, 1, 2, 3), self.one(1, 1, 2, 3))
        tall = min(tall, (h + 2 * py - 1) // dy + 1)
        broad = min(broad, (w + 2 * px - 1) // dx + 1)
        shape = (
            units,
            (h + 2 * py - dy * (tall - 1) - 1) // sy + 1,
            (w + 2 * px - dx * (broad - 1) - 1) // sx + 1,
        )
        return self.add(
            Convolution,
            [source],
            shape,
            weights=self.weights(units, c // groups, tall, broad),
            biases=self.biases(units),
            steps=self.steps(units),
            whole=whole,
            stride=(sy, sx),
            padding=(py, px),
            dilation=(dy, dx),
            groups=groups,
        )

    def linear(self, source: int | Source, units: int, whole: bool = True) -> int:
        place = source.node if isinstance(source, Source) else source
        inputs = int(np.prod(self.shape_of(place)))
        return self.add(
            Linear,
            [source],
            (units, 1, 1),
            weights=self.weights(units, inputs),
            biases=self.biases(units),
            steps=self.steps(units),
            whole=whole,
        )

    def constant(self, units: int, low: float, high: float) -> np.ndarray:
        own = self.rng.uniform(low, high, units if self.chance(0.4) else 1)
        return own.astype(self.dtype)

    def neurons(self, source: int) -> int:
        shape = self.shape_of(source)
        units = shape[0]
        if self.bits:
            top = 2 ** (self.bits - 1)
            return self.add(
                Neurons,
                [source],
                shape,
                kind="whole",
                threshold=self.rng.integers(1, top, units).astype(np.int32),
                leak=self.rng.integers(0, 2**self.bits + 1, self.one(1, units)).astype(np.int32),
                reset=self.one(
                    None, np.zeros(units, np.int32), -self.rng.integers(0, 9, units).astype(np.int32)
                ),
            )
        kind = self.one(*KINDS)
        reset = self.one(None, np.zeros(1), self.constant(units, -0.3, 0.2))
        leak = {
            "lif": self.one(np.array([2.0]), np.array([3.0]), self.constant(units, 1.1, 4.0)),
            "plif": self.constant(units, 0.2, 0.9),
        }.get(kind, self.constant(units, 0.3, 0.95))
        return self.add(
            Neurons,
            [source],
            shape,
            kind=kind,
            threshold=self.constant(units, 0.4, 1.0),
            leak=leak.astype(self.dtype),
            reset=None if reset is None or kind == "adaptive" else reset.astype(self.dtype),
            decay_input=self.chance(0.5),
            adaptation=self.constant(units, 0.5, 0.9) if kind == "adaptive" else None,
            rise=0.3 if kind == "adaptive" else 0.0,
        )

    def pool(self, source: int) -> int:
        c, h, w = self.shape_of(source)
        kernel = min(h, w, self.one(1, 2, 2, 2, 3))
        stride = self.one(kernel, kernel, kernel, 1, 2)
        padding = self.one(0, 0, kernel // 2)
        rows, columns = windows(h, kernel, stride, padding), windows(w, kernel, stride, padding)
        kind = self.one("average", "average", "maximum")
        sizes = np.outer(np.diff(rows), np.diff(columns)).astype(np.float64)
        divisors = (
            self.one(sizes, np.full_like(sizes, kernel**2)) if kind == "average" else np.ones_like(sizes)
        )
        return self.add(
            Pool,
            [source],
            (c, len(rows), len(columns)),
            kind=kind,
            rows=rows,
            columns=columns,
            divisors=divisors,
        )

    def norm(self, source: int) -> int:
        shape = self.shape_of(source)
        draw = self.rng.normal(0, 0.3, (3, shape[0])).astype(self.dtype)
        return self.add(Norm, [source], shape, mean=draw[0], scale=1 + draw[1], shift=draw[2])

    def flatten(self, source: int) -> int:
        return self.add(Flatten, [source], (int(np.prod(self.shape_of(source))), 1, 1))

    def recurrent(self, source: int) -> int:
        """A linear layer whose neurons read their own spikes of the step before, through another layer."""
        units = int(self.rng.integers(2, 12))
        layer = self.linear(source, units)
        feedback = self.linear_from_later(units, len(self.nodes) + 2)
        total = self.add(Sum, [layer, feedback], (units, 1, 1))
        return self.neurons(total)

    def linear_from_later(self, units: int, place: int) -> int:
        return self.add(
            Linear,
            [Source(place, 1)],
            (units, 1, 1),
            weights=self.weights(units, units),
            biases=self.biases(units),
            steps=self.steps(units),
            whole=True,
        )

    def residual(self, source: int) -> int:
        """Neurons behind a convolution that keeps the shape; their spikes are added to what it read."""
        convolved = self.convolution(source, self.shape_of(source)[0], same=True)
        fired = self.neurons(convolved)
        return self.add(Sum, [fired, source], self.shape_of(source))

    def plan(self) -> Plan:
        """Draw a network of two to four stages with a linear readout, a layer of neurons, or a map."""
        at = INPUT
        for _ in range(int(self.rng.integers(1, 4))):
            stage = self.one("convolution", "convolution", "residual", "norm", "pool")
            if stage == "residual" and at != INPUT:
                at = self.residual(at)
                continue
            if stage == "pool":
                at = self.pool(at)
            at = self.convolution(at)
            if stage == "norm" and not self.bits:
                at = self.norm(at)
            at = self.neurons(at)
            if self.chance(0.5):
                at = self.pool(at)
        ending = self.one("linear", "linear", "recurrent", "integrators", "map")
        if ending == "map":
            return self.finished(at)
        if self.chance(0.7):
            at = self.flatten(at)
        if ending == "recurrent":
            at = self.recurrent(at)
        elif self.chance(0.5):
            at = self.neurons(self.linear(at, int(self.rng.integers(2, 40))))
        if ending == "integrators":
            at = self.linear(at, 5)
            steps = self.nodes[at].steps if self.bits else None  # type: ignore[attr-defined]
            leak = np.array([2 ** (self.bits - 1) + 1], np.int32) if self.bits else np.array([0.8])
            at = self.add(Integrators, [at], (5, 1, 1), leak=leak, steps=steps)
        else:
            at = self.linear(at, 5, whole=False)
        return self.finished(at)

    def finished(self, output: int) -> Plan:
        return Plan(
            self.shape, tuple(self.nodes), output, self.dtype, self.bits, self.one("mean", "max", "last")
        )

    def frames(self, steps: int, samples: int) -> np.ndarray:
        """Draw frames of counts."""
        shape = (steps, samples, *self.shape)
        return np.where(self.rng.random(shape) < 0.3, self.rng.integers(1, 4, shape), 0).astype(np.uint8)
