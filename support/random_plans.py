"""Small plans by chance: every kind of node, in whole numbers and in floats."""

from __future__ import annotations

from dataclasses import dataclass, field
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
    import numpy.typing as npt

    from snnprune.engine.plan import Node, Shape

    Array = npt.NDArray[Any]

KINDS = ("if", "lif", "plif", "heterogeneous", "adaptive")


@dataclass
class Drawing:
    """A plan that grows node by node.

    Attributes:
        rng: decides.
        dtype: of the plan.
        bits: of the plan.
        plain: whether all sums are exact in ``dtype``: no averages but of 2^k numbers, no norms.
    """

    rng: np.random.Generator
    dtype: Any = np.float64
    bits: int | None = None
    plain: bool = False
    nodes: list[Node] = field(default_factory=list)
    shapes: list[Shape] = field(default_factory=list)

    def add(self, made: Any, sources: list[tuple[int, int]], shape: Shape, **own: Any) -> int:
        """Add a node, and return its place."""
        place = len(self.nodes)
        read = tuple(Source(node, delay) for node, delay in sources)
        self.nodes.append(made(name=f"n{place}.{made.__name__}", sources=read, shape=shape, **own))
        return place

    def shape(self, place: int) -> Shape:
        """Return the shape of what is read at ``place``."""
        return self.shapes[0] if place == INPUT else self.nodes[place].shape

    def chance(self, share: float) -> bool:
        """Decide by chance."""
        return bool(self.rng.random() < share)

    def pick(self, *among: Any) -> Any:
        """Pick one."""
        return among[int(self.rng.integers(len(among)))]

    def weights(self, *shape: int) -> dict[str, Any]:
        """Return weights and biases of a layer, sparse by chance."""
        most = 64 if self.bits is None else 2 ** (self.bits - 1) - 1
        numbers = self.rng.integers(-most, most + 1, shape)
        numbers = np.where(self.rng.random(shape) < self.pick(0.0, 0.1, 0.4, 1.0, 1.0), numbers, 0)
        biases = self.rng.integers(-most, most + 1, shape[0]) if self.chance(0.5) else None
        if self.bits is None:
            fan_in = np.prod(shape[1:])
            scale = 2.0 ** -np.ceil(np.log2(most * np.sqrt(fan_in) / 4))
            own = None if biases is None else (biases / most / 4).astype(self.dtype).round(3)
            own = None if own is None else (np.round(own * 64) / 64).astype(self.dtype)
            return {"weights": (numbers * scale).astype(self.dtype), "biases": own}
        steps = self.rng.random(shape[0]).astype(np.float32).astype(np.float64)
        own = None if biases is None else biases.astype(np.int32)
        return {"weights": numbers.astype(np.int32), "biases": own, "steps": steps}

    def convolution(
        self, source: int, *, same: bool = False, delay: int = 0, units: int | None = None
    ) -> int:
        """Add a convolution; with ``same`` its map is that of its source."""
        channels, height, width = self.shape(source)
        if same:
            tall, broad = (self.pick(1, 3) if size > 1 else 1 for size in (height, width))
            stride, dilation, padding = (1, 1), (1, 1), (tall // 2, broad // 2)
        else:
            tall, broad = (int(self.rng.integers(1, min(size, 3) + 1)) for size in (height, width))
            stride, padding = self.pick((1, 1), (2, 1), (2, 3)), self.pick((0, 0), (1, 1), (0, 2))
            dilation = tuple(
                self.pick(1, 2) if size >= 2 * (kernel - 1) + 1 else 1
                for size, kernel in ((height, tall), (width, broad))
            )
        groups = channels if self.chance(0.2) else 1
        units = units or int(self.rng.integers(1, 5)) * groups
        groups = groups if units % groups == 0 else 1
        rows, columns = (
            (size + 2 * pad - apart * (kernel - 1) - 1) // step + 1
            for size, pad, apart, kernel, step in zip(
                (height, width), padding, dilation, (tall, broad), stride, strict=True
            )
        )
        shape = (units, rows, columns)
        geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        own = self.weights(units, channels // groups, tall, broad)
        return self.add(Convolution, [(source, delay)], shape, **geometry, **own)

    def linear(self, source: int, units: int, delay: int = 0, **own: Any) -> int:
        """Add a linear layer."""
        return self.add(
            Linear,
            [(source, delay)],
            (units, 1, 1),
            **self.weights(units, int(np.prod(self.shape(source)))),
            **own,
        )

    def each(self, low: float, high: float, units: int) -> Array:
        """Return a constant for all, or one for each unit."""
        size = units if self.chance(0.3) else 1
        return self.rng.uniform(low, high, size).astype(self.dtype)

    def neurons(self, source: int) -> int:
        """Add neurons of any kind."""
        return self.add(Neurons, [(source, 0)], self.shape(source), **self.constants(self.shape(source)[0]))

    def constants(self, units: int) -> dict[str, Any]:
        """Return constants of neurons."""
        reset = self.pick("soft", "zero", "any")
        if self.bits is not None:
            size = units if self.chance(0.3) else 1
            most = 2 ** (self.bits - 1) * 2
            rest = self.rng.integers(-most // 2, most // 2, size) if reset == "any" else np.zeros(1)
            threshold = np.max(rest) + self.rng.integers(1, most, size)
            leak = self.rng.integers(1, 2**self.bits + 1, size)
            return {
                "kind": "whole",
                "threshold": threshold.astype(np.int32),
                "leak": np.full(1, 2**self.bits) if self.chance(0.2) else leak,
                "reset": None if reset == "soft" else rest.astype(np.int32),
            }
        kind = self.pick(*KINDS)
        own: dict[str, Any] = {"kind": kind, "threshold": self.each(0.3, 1.0, units)}
        own["leak"] = self.each(1.2, 3.0, units) if kind == "lif" else self.each(0.2, 0.95, units)
        own["reset"] = None if reset == "soft" else np.zeros(1, self.dtype)
        if reset == "any":
            own["reset"] = self.each(-0.3, 0.2, units)
        if kind == "adaptive":
            own |= {"adaptation": self.each(0.5, 0.95, units), "rise": 0.5, "reset": None}
        return own | {"decay_input": self.chance(0.5)}

    def pool(self, source: int) -> int:
        """Add a pool of any windows."""
        channels, height, width = self.shape(source)
        rows, columns = self.windows(height), self.windows(width)
        kind = self.pick("average", "average", "maximum")
        divisors = np.outer(np.diff(rows)[:, 0], np.diff(columns)[:, 0]).astype(np.float64)
        if self.plain:
            divisors = np.full_like(divisors, 4.0)
        if kind == "maximum":
            divisors = np.ones_like(divisors)
        shape = (channels, len(rows), len(columns))
        return self.add(Pool, [(source, 0)], shape, kind=kind, rows=rows, columns=columns, divisors=divisors)

    def windows(self, size: int) -> Array:
        """Return windows along an axis."""
        if size >= 2 and self.chance(0.6):
            begins = np.arange(size // 2) * 2
            return np.stack([begins, begins + 2], 1).astype(np.int32)
        begins = np.sort(self.rng.integers(0, size, self.pick(1, 2, 3)))
        ends = np.minimum(begins + self.rng.integers(1, 4, len(begins)), size)
        return np.stack([begins, ends], 1).astype(np.int32)

    def norm(self, source: int) -> int:
        """Add a norm."""
        units = self.shape(source)[0]
        own = {
            name: self.rng.uniform(-0.2, 1.0, units).astype(self.dtype) for name in ("mean", "scale", "shift")
        }
        return self.add(Norm, [(source, 0)], self.shape(source), **own)

    def recurrent(self, source: int) -> int:
        """Add neurons that read ``source`` and their own last spikes."""
        units, height, width = self.shape(source)
        place = len(self.nodes)
        ahead = place + 2  # feedback, sum, neurons
        if height * width == 1:
            feedback = self.add(Linear, [(ahead, 1)], (units, 1, 1), **self.weights(units, units))
        else:
            feedback = self.add(
                Convolution,
                [(ahead, 1)],
                (units, height, width),
                padding=(1, 0),
                **self.weights(units, units, 3, 1),
            )
        both = self.add(Sum, [(source, 0), (feedback, 0)], (units, height, width))
        if self.bits is not None:
            self.nodes[feedback].steps[:] = self.nodes[source].steps  # type: ignore[attr-defined]
        return self.add(Neurons, [(both, 0)], (units, height, width), **self.constants(units))

    def block(self, source: int) -> int:
        """Add a convolution with what may stand around it, and return the place of its spikes."""
        place = self.convolution(source)
        if self.bits is None and not self.plain and self.chance(0.3):
            place = self.norm(place)
        if self.chance(0.25) and not isinstance(self.nodes[place], Norm):
            spikes = self.recurrent(place)
        else:
            spikes = self.neurons(self.pool(place) if self.chance(0.15) else place)
        if self.chance(0.4):
            same = self.convolution(spikes, same=True, units=self.shape(spikes)[0])
            again = self.neurons(same)
            spikes = self.add(Sum, [(again, 0), (spikes, self.pick(0, 0, 1))], self.shape(again))
        return self.pool(spikes) if self.chance(0.6) else spikes

    def plan(self) -> Plan:
        """Return a plan of some blocks."""
        sizes = self.pick((6, 7), (5, 5), (8, 4), (1, 9))
        self.shapes = [(self.pick(1, 2, 3), *sizes)]
        place = INPUT
        for _ in range(self.pick(0, 1, 2, 2)):
            if min(self.shape(place)[1:]) >= 1 and max(self.shape(place)[1:]) >= 2:
                place = self.block(place)
        place = self.add(Flatten, [(place, 0)], (int(np.prod(self.shape(place))), 1, 1))
        if self.chance(0.4):
            hidden = self.linear(place, int(self.rng.integers(1, 9)))
            place = self.recurrent(hidden) if self.chance(0.5) else self.neurons(hidden)
        end = self.pick("neurons", "integrators", "sums")
        if end == "sums" or self.bits is None:
            place = self.linear(place, 4, whole=end != "sums")
        else:
            place = self.linear(place, 4)
        if end == "neurons":
            place = self.neurons(place)
        elif end == "integrators":
            leak = np.array([0.75]) if self.bits is None else np.array([3 * 2**self.bits // 4])
            steps = None if self.bits is None else self.rng.random(4)
            place = self.add(Integrators, [(place, 0)], (4, 1, 1), leak=leak, steps=steps)
        dtype = np.dtype(np.float64 if self.bits is not None else self.dtype)
        over = self.pick("mean", "max", "last")
        return Plan(self.shapes[0], tuple(self.nodes), place, dtype, self.bits, over)
