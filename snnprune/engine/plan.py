"""A plan: what a spiking network computes in one time step, node by node, as flat arrays.

Nodes stand in the order in which they are computed. What a node hands on has the shape (channels, height,
width); a row of units is (units, 1, 1), and a sequence (channels, 1, length). Weights of zero are dead
synapses. In floats each node computes what the layer of the same name does, with its operations in its order.
In whole numbers (``Plan.bits``) it computes what `snnprune.export.whole_numbers` says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[Any]
    Shape = tuple[int, int, int]

INPUT = -1
"""The place of the input, in `Source.node`."""

PLACES = 16
"""Binary places of inputs, currents and potentials, in whole numbers: far below what matters."""


@dataclass(frozen=True)
class Source:
    """Where a node reads.

    Attributes:
        node: place in `Plan.nodes` of the node that is read, or `INPUT`.
        delay: 0 for what it handed on in this time step, 1 for the step before, which is zero at first.
    """

    node: int
    delay: Literal[0, 1] = 0


@dataclass(frozen=True, kw_only=True)
class Node:
    """One operation of a time step.

    Attributes:
        name: of the layer that it stands for.
        sources: what it reads.
        shape: of what it hands on: channels, height, width.
    """

    name: str
    sources: tuple[Source, ...]
    shape: Shape


@dataclass(frozen=True, kw_only=True)
class Layer(Node):
    """A layer with synapses.

    Attributes:
        weights: float, or int32 in whole numbers.
        biases: [units], as the weights; None for none.
        steps: in whole numbers, the value of 1, float64 [units]; else None.
        whole: in whole numbers, whether neurons or leaky integrators read its sums. Where none do, it hands
            on values, which are its sums times ``steps`` / 2^16.
    """

    weights: Array
    biases: Array | None = None
    steps: Array | None = None
    whole: bool = True


@dataclass(frozen=True, kw_only=True)
class Convolution(Layer):
    """A convolution; weights [units, inputs / groups, height, width]. One along a sequence has height 1."""

    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1


@dataclass(frozen=True, kw_only=True)
class Linear(Layer):
    """A linear layer; weights [units, inputs], with inputs in the order channels x height x width."""


@dataclass(frozen=True, kw_only=True)
class Pool(Node):
    """An average or a maximum over windows, as torch computes it.

    Attributes:
        kind: "average" or "maximum".
        rows: int32 [height, 2]: the first row of each window, and the first behind it, within the input.
        columns: int32 [width, 2], alike.
        divisors: float64 [height, width]: what the sum of a window is divided by; 1 for a maximum.
    """

    kind: Literal["average", "maximum"]
    rows: Array
    columns: Array
    divisors: Array


@dataclass(frozen=True, kw_only=True)
class Sum(Node):
    """The sum of its sources, added from the first to the last."""


@dataclass(frozen=True, kw_only=True)
class Flatten(Node):
    """Its source in another shape, mostly as a row: channels x height x width, in this order."""


@dataclass(frozen=True, kw_only=True)
class Norm(Node):
    """A norm that could not be folded, in evaluation mode: (x - mean) * scale + shift.

    Attributes:
        mean: float [channels].
        scale: float [channels]: weight / sqrt(variance + eps).
        shift: float [channels].
    """

    mean: Array
    scale: Array
    shift: Array


@dataclass(frozen=True, kw_only=True)
class Neurons(Node):
    """Neurons that spike.

    With x the current, v the potential, R the rest and th the threshold::

        "if"             h = v + x
        "lif"            h = v + (x - (v - R)) / leak   or, without decay_input,  v - (v - R) / leak + x
        "plif"           h = v + (x - (v - R)) leak     or, without decay_input,  v - (v - R) leak + x
        "heterogeneous"  h = leak v + (1 - leak) x
        "whole"          h = 2^16 R + [leak (v - 2^16 R) / 2^bits] + x              in whole numbers alone

        y = 1 if h >= th (2^16 th) else 0
        v = R (2^16 R) where y else h           or, with a soft reset,  h - y th

        "adaptive"       b = r b + (1 - r) y,  B = th + rise b,  v = leak v + (1 - leak) x - B y
                         y = 1 if v >= B else 0

    v begins at R, and b and y at 0. Where R is 0 everywhere it is not subtracted.

    Attributes:
        kind: which equations.
        threshold: th, float or int32: one number [1], or [channels].
        leak: tau of "lif", the factor of "plif", the decay of the others, or integers of 2^-bits; [1] or
            [channels]. That of "adaptive" is float64 where all share it, as Python computes 1 - leak with it.
        reset: R, [1] or [channels]; None for a soft reset, where R is 0.
        decay_input: whether the input of "lif" and "plif" leaks.
        adaptation: r of "adaptive", as its leak.
        rise: of the threshold of "adaptive".
    """

    kind: Literal["if", "lif", "plif", "heterogeneous", "adaptive", "whole"]
    threshold: Array
    leak: Array
    reset: Array | None
    decay_input: bool = False
    adaptation: Array | None = None
    rise: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Integrators(Node):
    """Leaky integrators, which hand on their potentials: v = leak v + (1 - leak) x, from v = 0.

    In whole numbers v = [leak v / 2^bits] + x, and what is handed on is v times ``steps`` / 2^16.

    Attributes:
        leak: float64 [1], or an integer of 2^-bits [1] in whole numbers.
        steps: in whole numbers, the value of 1, float64 [units]; else None.
    """

    leak: Array
    steps: Array | None = None


@dataclass(frozen=True)
class Plan:
    """A network for one time step after the other.

    Attributes:
        shape: of the input of a step: channels, height, width.
        nodes: in the order in which they are computed.
        output: place of the node that answers, whose outputs [T, B, K] become scores by ``over_time``.
        dtype: of values and potentials: float32 or float64. In whole numbers float64; potentials are int64.
        bits: None for floats; else the bits of a weight.
        over_time: "mean", "max" or "last" (`snnprune.nn.scores`).
        about: where the network comes from, and what it was trained on (`snnprune.runs.about`); may be empty.
    """

    shape: Shape
    nodes: tuple[Node, ...]
    output: int
    dtype: np.dtype[Any]
    bits: int | None = None
    over_time: str = "mean"
    about: str = ""

    def shape_of(self, source: Source) -> Shape:
        """Return the shape of what a source hands on."""
        return self.shape if source.node == INPUT else self.nodes[source.node].shape
