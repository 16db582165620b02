"""Layers and neurons that compute with whole numbers alone, as a chip does from the exported numbers.

All sums are exact, so no potential lies above or below its threshold because of the rounding of floats. With
W the weights, b the biases, th the thresholds and R the resets of a unit, in its steps, and L the leak of its
layer in units of 2^-bits, all of them whole numbers, and [x] for x rounded down::

    X = a layer's input times 2^16, rounded to the nearest whole number (ties to even)
    C = sum of W X + 2^16 b                  currents and potentials are in units of 2^-16 steps
    h = 2^16 R + [L (v - 2^16 R) / 2^bits] + C
    y = 1 if h >= 2^16 th else 0
    v = 2^16 R where y else h                or, with a soft reset, where R is 0, h - y 2^16 th

v begins at 2^16 R. A recurrent layer adds to its currents C the sum of W X over its own spikes of the step
before, none at first. A leaky readout, whose steps are (1 - k) times those of the layer that it reads, with k
the share of its potential that is left after a step, answers

    v = [L v / 2^bits] + C                   v begins at 0

Spikes, counts of events, and averages over windows whose size is a power of 2, are whole
numbers X as they are.

Sums of a layer are float64 below 2^48, where each whole number has its own float, and so have the sums of 32
of them; potentials are int64. Values that would go beyond are refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from snnprune.common.errors import UserError
from snnprune.engine.bounds import LARGEST_CURRENT, LARGEST_POTENTIAL, LARGEST_SUM
from snnprune.engine.plan import PLACES

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class GridLayer:
    """The synapses of one layer in whole numbers.

    Attributes:
        weights: int32, in the shape of the layer's weight.
        biases: int32 [units], None for a layer without biases.
        steps: the value of 1, float64 [units].
        neuron: the layer of neurons, or of leaky integrators, that reads it, None if there is none.
    """

    weights: Tensor
    biases: Tensor | None
    steps: Tensor
    neuron: str | None

    @property
    def values(self) -> Tensor:
        """The weights that the whole numbers stand for, float64."""
        return self.weights * wide(self.steps, self.weights.ndim)


@dataclass(frozen=True)
class GridNeurons:
    """The constants of one layer of neurons in whole numbers.

    Attributes:
        thresholds: int32 [units], in steps of the unit.
        resets: int32 [units], None for a soft reset (the threshold is subtracted).
        leak: the share of a potential that is left after a time step, in units of 2^-bits; int32 [units]
            where the units differ.
    """

    thresholds: Tensor
    resets: Tensor | None
    leak: int | Tensor


@dataclass(frozen=True)
class GridReadout:
    """The constants of a layer of leaky integrators, which do not spike, in whole numbers.

    Attributes:
        steps: the value of 1 in a potential, float64 [units].
        leak: the share of a potential that is left after a time step, in units of 2^-bits.
    """

    steps: Tensor
    leak: int


class WholeLayer(nn.Module):
    """A convolution or linear layer that sums whole numbers.

    Args:
        name: of the layer, for errors.
        layer: the layer, which is changed.
        grid: its whole numbers.

    Raises:
        UserError: (of a forward) the input is not finite, or so large that sums would not be exact.
    """

    def __init__(self, name: str, layer: nn.Module, grid: GridLayer) -> None:
        super().__init__()
        self.name, self.layer = name, layer.double()
        layer.get_parameter("weight").copy_(grid.weights)
        self.reach = float(grid.weights.abs().flatten(1).double().sum(1).max())
        self.offset = 0.0
        if grid.biases is not None:
            layer.get_parameter("bias").copy_(grid.biases.double() * 2**PLACES)
            self.offset = float(layer.get_parameter("bias").abs().max())
        self.unit: Tensor | None
        # Neurons read whole numbers. Where there are none, the network goes on with what these stand for.
        unit = unit_of(grid.steps, grid.weights.ndim - 2) if grid.neuron is None else None
        self.register_buffer("unit", unit)

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., inputs, ...] to currents, in units of 2^-16 steps for neurons, or else as values."""
        numbers = (x.double() * 2**PLACES).round()
        top = _top(numbers)
        if not top * self.reach + self.offset < LARGEST_SUM:
            raise UserError(
                f"layer '{self.name}' reads values of up to {top / 2**PLACES:g}, with which its sums are not "
                "exact: choose fewer --bits or smaller inputs"
            )
        # The transforms of cuDNN's faster convolutions would round.
        with torch.backends.cudnn.flags(enabled=False):
            sums: Tensor = self.layer(numbers)
        return sums if self.unit is None else sums * self.unit


class WholeNeurons(nn.Module):
    """Leaky integrate-and-fire neurons with constants per unit. Each series of currents begins at rest.

    Args:
        name: of the layer of neurons, for errors.
        constants: in whole numbers.
        places: number of axes behind that of the units.
        bits: of the leak.

    Raises:
        UserError: (of a forward) a current is so large that potentials would not be exact.
    """

    threshold: Tensor
    rest: Tensor
    leak: Tensor

    def __init__(self, name: str, constants: GridNeurons, places: int, bits: int) -> None:
        super().__init__()
        self.name, self.bits, self.soft = name, bits, constants.resets is None
        leak = torch.as_tensor(constants.leak, device=constants.thresholds.device).long()
        self.register_buffer("leak", wide(leak, places + 1) if leak.ndim else leak)
        rest = torch.zeros_like(constants.thresholds) if constants.resets is None else constants.resets
        self.register_buffer("threshold", wide(constants.thresholds.long() << PLACES, places + 1))
        self.register_buffer("rest", wide(rest.long() << PLACES, places + 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map currents [T, B, units, ...], in units of 2^-16 steps, to spikes of the same shape."""
        numbers = _exact(self.name, x, len(x))
        v, spikes = self.rest.expand(x.shape[1:]), []
        for current in numbers:
            fired, v = self.step(current, v)
            spikes.append(fired)
        return torch.stack(spikes)

    def step(self, current: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Compute one step: currents [B, units, ...] and potentials, int64, to spikes and potentials."""
        h = self.rest + _left(v - self.rest, self.leak, self.bits) + current
        fired = h >= self.threshold
        return fired.double(), h - fired * self.threshold if self.soft else torch.where(fired, self.rest, h)


class WholeStep(nn.Module):
    """The neurons of a recurrent layer, called for one step at a time.

    Args:
        neurons: the same neurons for a series.

    Raises:
        UserError: (of a forward) a current is so large that potentials would not be exact.
    """

    def __init__(self, neurons: WholeNeurons) -> None:
        super().__init__()
        self.neurons, self.steps = neurons, 1
        self.v: Tensor | None = None

    def begin(self, steps: int) -> None:
        """Put the neurons at rest before a series of ``steps`` calls."""
        self.v, self.steps = None, steps

    def forward(self, x: Tensor) -> Tensor:
        """Map currents [B, units], in units of 2^-16 steps, to spikes of the same shape."""
        v = self.neurons.rest.expand(x.shape) if self.v is None else self.v
        fired, self.v = self.neurons.step(_exact(self.neurons.name, x, self.steps), v)
        return fired


class WholeLoop(nn.Module):
    """A recurrent layer: what its synapses make of its spikes is added to its currents one step later.

    Args:
        feedback: its synapses.
        neuron: its neurons.
    """

    def __init__(self, feedback: WholeLayer, neuron: WholeStep) -> None:
        super().__init__()
        self.feedback, self.neuron = feedback, neuron

    def forward(self, x: Tensor) -> Tensor:
        """Map currents [T, B, units], in units of 2^-16 steps, to spikes of the same shape."""
        self.neuron.begin(len(x))
        y, spikes = torch.zeros_like(x[0]), []
        for current in x:
            y = self.neuron(current + self.feedback(y))
            spikes.append(y)
        return torch.stack(spikes)


class WholeReadout(nn.Module):
    """Leaky integrators, which answer with their potentials. Each series of currents begins at rest.

    Args:
        name: of the layer, for errors.
        constants: in whole numbers.
        bits: of the leak.

    Raises:
        UserError: (of a forward) a current is so large that potentials would not be exact.
    """

    unit: Tensor

    def __init__(self, name: str, constants: GridReadout, bits: int) -> None:
        super().__init__()
        self.name, self.leak, self.bits = name, constants.leak, bits
        self.register_buffer("unit", unit_of(constants.steps, 0))

    def forward(self, x: Tensor) -> Tensor:
        """Map currents [T, B, units], in units of 2^-16 steps, to the values of potentials."""
        v, potentials = torch.zeros_like(x[0], dtype=torch.int64), []
        for current in _exact(self.name, x, len(x)):
            v = _left(v, self.leak, self.bits) + current
            potentials.append(v * self.unit)
        return torch.stack(potentials)


def wide(numbers: Tensor, axes: int) -> Tensor:
    """Return ``numbers`` [units] in a shape of ``axes`` axes, of which the units are the first."""
    return numbers.reshape(-1, *(1 for _ in range(axes - 1)))


def unit_of(steps: Tensor, places: int) -> Tensor:
    """Return what 1 in a current stands for, [units, 1, ...] with ``places`` axes behind the units."""
    return wide(steps / 2**PLACES, places + 1)


def in_double(_module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Turn the frames that a network is given into float64 (a forward pre-hook)."""
    return tuple(a.double() if isinstance(a, torch.Tensor) else a for a in args)


def _exact(name: str, currents: Tensor, steps: int) -> Tensor:
    """Return the currents of neurons ``name`` as int64, where ``steps`` of them keep potentials exact."""
    numbers = currents.round()
    top = _top(numbers)
    if not top < min(LARGEST_CURRENT, LARGEST_POTENTIAL / max(steps, 1)):
        raise UserError(
            f"neurons '{name}' read currents of up to {top / 2**PLACES:g} steps, with which their "
            "potentials are not exact: choose fewer --bits or smaller inputs"
        )
    return numbers.long()


def _left(above: Tensor, leak: int | Tensor, bits: int) -> Tensor:
    """Return [leak above / 2^bits], of high and low bits apart, so that no product overflows."""
    low = above & (2**bits - 1)
    return leak * (above >> bits) + (leak * low >> bits)


def _top(numbers: Tensor) -> float:
    """Return the largest magnitude; NaN if there is one."""
    return float(numbers.abs().max()) if numbers.numel() else 0.0
