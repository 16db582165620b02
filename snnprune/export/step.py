"""One time step of a spiking network as a function: (x, states) -> (y, states)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from snnprune.common.errors import UserError
from snnprune.export.graph import plain
from snnprune.export.recurrence import recurrent_kinds
from snnprune.network.leaves import is_multi_step, spiking_base

if TYPE_CHECKING:
    from torch import Tensor


class Memory:
    """Holds the state of a layer between steps."""

    def __init__(self) -> None:
        self.state: Any = None


class Arithmetic(nn.Module):
    """A layer of leaky or perfect integrate-and-fire neurons in plain arithmetic, called for one time step.

        h = v + (x - (v - rest)) / tau      or, where the input does not leak,  v - (v - rest) / tau + x
        y = 1 if h >= threshold else 0
        v = reset where y else h            or, with a soft reset,              h - y threshold

    The operations are in SpikingJelly's order, so that sums are rounded in the same way.

    Args:
        neuron: an IFNode, LIFNode or ParametricLIFNode of SpikingJelly.
        name: of the layer, for messages.

    Attributes:
        step_mode: "m" for an input [1, B, ...], "s" for [B, ...]. A recurrent layer sets it for its neurons.

    Raises:
        UserError: it is a neuron of another class.
    """

    letter = "v"

    def __init__(self, neuron: Any, name: str) -> None:
        super().__init__()
        self.memory = Memory()
        self.step_mode = "m" if is_multi_step(neuron) else "s"
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
        multi = self.step_mode == "m"
        if multi:
            x = x.squeeze(0)
        h = self._charge(x, self.memory.state)
        y = (h >= self.threshold).to(x.dtype)
        self.memory.state = (
            h - y * self.threshold if self.reset is None else torch.where(y > 0, self.reset, h)
        )
        return y.unsqueeze(0) if multi else y

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


class Looped(nn.Module):
    """A recurrent layer, called for one time step: its state are the spikes of the last one.

    Args:
        layer: as `snnprune.export.recurrence` knows them, with `Arithmetic` in place of its neurons.
    """

    letter = "y"

    rest = 0.0
    """Before the first step nothing has fired."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.memory = Memory()
        self.multi = is_multi_step(layer)
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """Map the input of one step, [B, ...] ([1, B, ...] in multi-step mode), to spikes."""
        if self.multi:
            x = x.squeeze(0)
        last = self.memory.state
        states = self.layer.materialize_states((x,), (last if last.ndim else None,), "s")
        (y,), (self.memory.state,) = self.layer.single_step_functional_forward((x,), states)
        out: Tensor = y.unsqueeze(0) if self.multi else y
        return out


class Step(nn.Module):
    """One time step of ``model``: frames [B, C, H, W] and states to outputs [B, K] and states.

    Args:
        model: a spiking network; a plain copy of it is used. In multi-step mode it is called with T = 1.

    Attributes:
        states: names of the layers with a state, in the order of their modules.
        letters: what each state is: "v", the potential of neurons, or "y", the last spikes of a recurrent
            layer.

    Raises:
        UserError: a neuron is of an unknown class.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.net = plain(model)
        found = {
            n: m for n, m in self.net.named_modules() if isinstance(m, (*spiking_base(), *recurrent_kinds()))
        }
        self.multi = any(is_multi_step(module) for module in found.values())
        self._holders: list[Any] = []
        for name, module in reversed(found.items()):  # neurons inside of a recurrent layer before the layer
            step = Looped(module) if isinstance(module, recurrent_kinds()) else Arithmetic(module, name)
            self.net.set_submodule(name, step)
            self._holders.insert(0, step)
        self.states = tuple(found)
        self.letters = tuple(holder.letter for holder in self._holders)

    def rest(self) -> list[float]:
        """Return the state of each layer at the start of a recording."""
        return [float(holder.rest) for holder in self._holders]

    def forward(self, x: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Compute one step: frames and states to outputs and next states."""
        for holder, state in zip(self._holders, states, strict=True):
            holder.memory.state = state
        y = self.net(x.unsqueeze(0)).squeeze(0) if self.multi else self.net(x)
        return y, [holder.memory.state for holder in self._holders]
