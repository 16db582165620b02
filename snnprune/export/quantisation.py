"""A network whose weights, thresholds and leaks lie on a grid of few bits, as neuromorphic chips compute.

Each unit has its own step: s = max |w| / (2^(bits-1) - 1) over the weights that come into it, so that weights
are whole numbers of ``bits`` bits, sign included. Currents are sums of weights, so the unit's bias, threshold
and reset are rounded to whole numbers of the same steps. The leak is the share of a potential that is left
after a time step; it is rounded to a multiple of 2^-bits. Potentials are not rounded any further.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from snnprune.common.errors import UserError
from snnprune.export.graph import NORMS, folded
from snnprune.network import discover
from snnprune.network.leaves import is_multi_step, spiking_base

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from snnprune.network.topology import Projection


@dataclass(frozen=True)
class GridLayer:
    """The synapses of one layer in whole numbers.

    Attributes:
        weights: int32, in the shape of the layer's weight.
        biases: int32 [units], None for a layer without biases.
        steps: the value of 1, float64 [units].
        neuron: the layer of neurons that reads it, None if there is none.
    """

    weights: Tensor
    biases: Tensor | None
    steps: Tensor
    neuron: str | None


@dataclass(frozen=True)
class GridNeurons:
    """The constants of one layer of neurons in whole numbers.

    Attributes:
        thresholds: int32 [units], in steps of the unit.
        resets: int32 [units], None for a soft reset (the threshold is subtracted).
        leak: the share of a potential that is left after a time step, in units of 2^-bits.
    """

    thresholds: Tensor
    resets: Tensor | None
    leak: int


@dataclass(frozen=True)
class Quantised:
    """A network on a grid.

    Attributes:
        model: computes with the rounded numbers; multi-step, [T, B, C, H, W] to [T, B, K].
        bits: of a weight.
        layers: whole numbers of each convolution and linear layer.
        neurons: whole numbers of each layer of neurons.
    """

    model: nn.Module
    bits: int
    layers: dict[str, GridLayer]
    neurons: dict[str, GridNeurons]


class GridNeuron(nn.Module):
    """Leaky integrate-and-fire neurons with constants per unit. Each call begins at rest.

        h = leak v + (1 - leak) rest + gain x
        y = 1 if h >= threshold else 0
        v = reset where y else h        or, with a soft reset, h - y threshold

    Args:
        constants: in whole numbers.
        steps: the value of 1 in the potential, in a shape that broadcasts over [B, units, ...].
        gain: factor of a current.
        bits: of the leak.
    """

    def __init__(self, constants: GridNeurons, steps: Tensor, gain: float, bits: int) -> None:
        super().__init__()
        self.register_buffer("threshold", constants.thresholds.reshape(steps.shape) * steps)
        self.soft, self.gain, self.leak = constants.resets is None, gain, constants.leak / 2**bits
        rest = (
            torch.zeros_like(steps)
            if constants.resets is None
            else constants.resets.reshape(steps.shape) * steps
        )
        self.register_buffer("rest", rest)

    threshold: Tensor
    rest: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Map currents [T, B, units, ...] to spikes of the same shape."""
        threshold, rest = self.threshold.to(x.dtype), self.rest.to(x.dtype)
        v, spikes = rest.expand(x.shape[1:]), []
        for current in x:
            h = self.leak * v + (1 - self.leak) * rest + self.gain * current
            y = (h >= threshold).to(x.dtype)
            v = h - y * threshold if self.soft else torch.where(y > 0, rest, h)
            spikes.append(y)
        return torch.stack(spikes)


@torch.no_grad()
def quantise(model: nn.Module, example: Tensor, bits: int) -> Quantised:
    """Return a copy of ``model`` on a grid of ``bits`` bits, norms folded first.

    Args:
        model: a spiking network in multi-step mode.
        example: encoded frames [T, B, C, H, W]; discovery uses them to find the neurons that read each layer.
        bits: of a weight, its sign included: 2 to 16.

    Raises:
        UserError: bits out of range, or a layer that cannot be put on a grid.
    """
    if not 2 <= bits <= 16:
        raise UserError(f"--bits must be from 2 to 16, and is {bits}: chips have 8 or 4")
    copy = folded(model)
    _check(copy)
    topology = discover(copy, example)
    layers: dict[str, GridLayer] = {}
    neurons: dict[str, GridNeurons] = {}
    for group in _groups(topology.projections.values()):
        steps, name = _steps(copy, group, bits), group[0].neuron
        for projection in group:
            layers[projection.name] = _round(copy, projection, steps)
        if name is not None:
            neuron: Any = copy.get_submodule(name)
            _, gain = _dynamics(neuron)
            neurons[name] = _constants(neuron, steps * gain, bits)
            wide = (steps * gain).reshape(-1, *(1 for _ in group[0].shape[2:]))
            copy.set_submodule(name, GridNeuron(neurons[name], wide, gain, bits))
    return Quantised(copy, bits, {name: layers[name] for name in topology.projections}, neurons)


def _check(model: nn.Module) -> None:
    for name, module in model.named_modules():
        if type(module).__name__ in NORMS:
            raise UserError(
                f"layer '{name}' is a norm without a layer right before it that it can be folded into"
            )
        known = type(module).__name__ in ("LIFNode", "IFNode", "ParametricLIFNode")
        if isinstance(module, spiking_base()) and not (known and is_multi_step(module)):
            raise UserError(
                f"layer '{name}' is a {type(module).__name__}, and only LIFNode, IFNode and "
                "ParametricLIFNode in multi-step mode can be put on a grid"
            )


def _groups(projections: Iterable[Projection]) -> list[list[Projection]]:
    """Group the layers that the same neurons read: their currents are added, so they share a grid.

    Raises:
        UserError: neurons read several layers side by side.
    """
    groups: dict[str, list[Projection]] = {}
    for projection in projections:
        # A layer that no neurons read is an output of the network, and has a grid of its own.
        groups.setdefault(projection.neuron or f"answer of {projection.name}", []).append(projection)
    for name, group in groups.items():
        if len({p.shape[0] for p in group}) > 1 or any(p.site and p.site.offset for p in group):
            raise UserError(f"layer '{name}' reads several layers side by side, which cannot share a grid")
    return list(groups.values())


def _steps(model: nn.Module, group: list[Projection], bits: int) -> Tensor:
    """Return the value of 1 in each unit, [units]; that of a unit without weights is arbitrary.

    The values are exact in float32, as in the files; their dtype is float64, for precise sums.
    """
    weights = [model.get_parameter(p.weight).double().flatten(1).abs().amax(1) for p in group]
    most = torch.stack(weights).amax(0)
    steps = torch.where(most > 0, most, torch.ones_like(most)) / (2 ** (bits - 1) - 1)
    return steps.float().double()


def _constants(neuron: Any, steps: Tensor, bits: int) -> GridNeurons:
    """Return the constants of SpikingJelly's ``neuron`` in steps of the potential.

    A threshold is at least one step: at 0 a neuron would fire without input.
    """
    stays, _ = _dynamics(neuron)

    def whole(value: float) -> Tensor:
        return (value / steps).round().to(torch.int32)

    resets = None if neuron.v_reset is None else whole(float(neuron.v_reset))
    return GridNeurons(whole(float(neuron.v_threshold)).clamp(min=1), resets, round(stays * 2**bits))


def _dynamics(neuron: Any) -> tuple[float, float]:
    """Return the share of a potential that is left after a step, and the factor of a current."""
    kind = type(neuron).__name__
    if kind == "IFNode":
        return 1.0, 1.0
    leaks = 1 / float(neuron.tau) if kind == "LIFNode" else float(neuron.w.detach().sigmoid())
    return 1.0 - leaks, leaks if neuron.decay_input else 1.0


def _round(model: nn.Module, projection: Projection, steps: Tensor) -> GridLayer:
    """Round weights and biases of a layer in place, and return them as whole numbers."""
    layer = model.get_submodule(projection.name)
    weight = layer.get_parameter("weight")
    wide = steps.reshape(-1, *(1 for _ in weight.shape[1:]))
    weights = (weight.double() / wide).round()
    weight.copy_(weights * wide)
    bias, biases = layer._parameters.get("bias"), None
    if bias is not None:
        biases = (bias.double() / steps).round()
        bias.copy_(biases * steps)
        biases = biases.to(torch.int32)
    return GridLayer(weights.to(torch.int32), biases, steps, projection.neuron)
