"""One time step of a spiking network as a function: (x, states) -> (y, states)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from snnprune.common.errors import UserError
from snnprune.export.graph import plain
from snnprune.network.leaves import is_multi_step, spiking_base

if TYPE_CHECKING:
    from torch import Tensor


class Memory:
    """Holds the potential of a neuron between steps."""

    def __init__(self) -> None:
        self.potential: Any = None


class Arithmetic(nn.Module):
    """A layer of leaky or perfect integrate-and-fire neurons in plain arithmetic, called for one time step.

        h = v + (x - (v - rest)) / tau      or, where the input does not leak,  v - (v - rest) / tau + x
        y = 1 if h >= threshold else 0
        v = reset where y else h            or, with a soft reset,              h - y threshold

    The operations are in SpikingJelly's order, so that sums are rounded in the same way.

    Args:
        neuron: an IFNode, LIFNode or ParametricLIFNode of SpikingJelly.
        name: of the layer, for messages.

    Raises:
        UserError: it is a neuron of another class.
    """

    def __init__(self, neuron: Any, name: str) -> None:
        super().__init__()
        self.memory = Memory()
        self.multi = is_multi_step(neuron)
        self.threshold = float(neuron.v_threshold)
        self.reset = None if neuron.v_reset is None else float(neuron.v_reset)
        self.rest = self.reset or 0.0
        self.decay_input = bool(getattr(neuron, "decay_input", False))
        kind = type(neuron).__name__
        self.tau: float | None = None
        self.inverse: float | None = None
        if kind == "LIFNode":
            self.tau = float(neuron.tau)
        elif kind == "ParametricLIFNode":
            self.inverse = float(neuron.w.detach().sigmoid())
        elif kind != "IFNode":
            raise UserError(
                f"layer '{name}' is a {kind}, and a time step can be written only with IFNode, LIFNode and "
                "ParametricLIFNode"
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map the input of one step, [B, ...] ([1, B, ...] in multi-step mode), to spikes of that shape."""
        if self.multi:
            x = x.squeeze(0)
        h = self._charge(x, self.memory.potential)
        y = (h >= self.threshold).to(x.dtype)
        self.memory.potential = (
            h - y * self.threshold if self.reset is None else torch.where(y > 0, self.reset, h)
        )
        return y.unsqueeze(0) if self.multi else y

    def _charge(self, x: Tensor, v: Tensor) -> Tensor:
        if self.tau is None and self.inverse is None:
            return v + x

        away = v - self.rest if self.rest else v
        return v + self._leaked(x - away) if self.decay_input else v - self._leaked(away) + x

    def _leaked(self, current: Tensor) -> Tensor:
        if self.tau is not None:
            return current / self.tau
        assert self.inverse is not None
        return current * self.inverse


class Step(nn.Module):
    """One time step of ``model``: frames [B, C, H, W] and potentials to outputs [B, K] and potentials.

    Args:
        model: a spiking network; a plain copy of it is used. In multi-step mode it is called with T = 1.

    Attributes:
        neurons: names of the layers with a potential, in the order of their modules.

    Raises:
        UserError: a neuron is of an unknown class.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.net = plain(model)
        found = {n: m for n, m in self.net.named_modules() if isinstance(m, spiking_base())}
        self.neurons = tuple(found)
        for name, neuron in found.items():
            self.net.set_submodule(name, Arithmetic(neuron, name))
        self.multi = any(is_multi_step(neuron) for neuron in found.values())

    def rest(self) -> list[float]:
        """Return the potential of each layer at the start of a recording."""
        return [float(self._neuron(name).rest) for name in self.neurons]

    def forward(self, x: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Compute one step: frames and potentials to outputs and next potentials."""
        for name, potential in zip(self.neurons, states, strict=True):
            self._neuron(name).memory.potential = potential
        y = self.net(x.unsqueeze(0)).squeeze(0) if self.multi else self.net(x)
        return y, [self._neuron(name).memory.potential for name in self.neurons]

    def _neuron(self, name: str) -> Any:
        return self.net.get_submodule(name)
