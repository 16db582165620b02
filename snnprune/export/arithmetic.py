"""Layers with states in plain arithmetic, called for one time step, which torch can write as ONNX."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from snnprune.common.errors import UserError, with_article
from snnprune.export.readout import is_integrator
from snnprune.export.recurrence import recurrent_kinds
from snnprune.network.leaves import is_multi_step

if TYPE_CHECKING:
    from collections.abc import Sequence

    States = tuple[Any, ...]


class Memory:
    """Holds the states of a layer between steps."""

    def __init__(self) -> None:
        self.states: States = ()


class Arithmetic(nn.Module):
    """A layer that is called for one time step, and finds its states in its memory.

    Args:
        layer: the layer that it stands for.
        letters: names of its states.
        rest: what each begins with.

    Attributes:
        memory: of the states.
        step_mode: "m" for an input [1, B, ...], "s" for [B, ...]. A recurrent layer sets it for its neurons.
    """

    def __init__(
        self, layer: nn.Module, letters: Sequence[str] = ("v",), rest: Sequence[float] = (0.0,)
    ) -> None:
        super().__init__()
        self.memory = Memory()
        self.letters, self.rest = tuple(letters), tuple(rest)
        self.step_mode = "m" if is_multi_step(layer) else "s"

    def forward(self, x: Tensor) -> Tensor:
        """Map the input of one step, [B, ...] ([1, B, ...] in multi-step mode), to an output alike."""
        multi = self.step_mode == "m"
        y, self.memory.states = self.step(x.squeeze(0) if multi else x, self.memory.states)
        return y.unsqueeze(0) if multi else y

    def step(self, x: Tensor, states: States) -> tuple[Tensor, States]:
        """Map the input [B, ...] and the states of the step before to the output and the states."""
        raise NotImplementedError


class IntegrateAndFire(Arithmetic):
    """Leaky or perfect integrate-and-fire neurons of SpikingJelly.

        h = v + (x - (v - rest)) / tau      or, where the input does not leak,  v - (v - rest) / tau + x
        y = 1 if h >= threshold else 0
        v = reset where y else h            or, with a soft reset,              h - y threshold

    The operations are in SpikingJelly's order, so that sums are rounded in the same way.

    Args:
        neuron: an IFNode, LIFNode or ParametricLIFNode of SpikingJelly.
    """

    def __init__(self, neuron: Any) -> None:
        self.reset = None if neuron.v_reset is None else float(neuron.v_reset)
        super().__init__(neuron, rest=(self.reset or 0.0,))
        self.threshold = float(neuron.v_threshold)
        self.decay_input = bool(getattr(neuron, "decay_input", False))
        kind = type(neuron).__name__
        self.tau = float(neuron.tau) if kind == "LIFNode" else None
        self.inverse = float(neuron.w.detach().sigmoid()) if kind == "ParametricLIFNode" else None

    def step(self, x: Tensor, states: States) -> tuple[Tensor, States]:
        """Map a current and a potential to spikes and a potential."""
        h = self._charge(x, *states)
        y = (h >= self.threshold).to(x.dtype)
        return y, (h - y * self.threshold if self.reset is None else torch.where(y > 0, self.reset, h),)

    def _charge(self, x: Tensor, v: Tensor) -> Tensor:
        if self.tau is None and self.inverse is None:
            return v + x

        away = v - self.rest[0] if self.rest[0] else v
        return v + self._leaked(x - away) if self.decay_input else v - self._leaked(away) + x

    def _leaked(self, current: Tensor) -> Tensor:
        if self.tau is not None:
            return current / self.tau
        assert self.inverse is not None
        return current * self.inverse


class Heterogeneous(Arithmetic):
    """Neurons with a time constant of their own each: those of `snnprune.nn.models.heterogeneous`."""

    def __init__(self, neuron: Any) -> None:
        super().__init__(neuron, rest=(float(neuron.v_reset),))
        self.threshold = float(neuron.v_threshold)
        self.decay = _kept(neuron.decay)

    def step(self, x: Tensor, states: States) -> tuple[Tensor, States]:
        """Map a current and a potential to spikes and a potential."""
        u = self.decay * states[0] + (1 - self.decay) * x
        y = (u >= self.threshold).to(x.dtype)
        return y, (torch.where(y > 0, self.rest[0], u),)


class Adaptive(Arithmetic):
    """Neurons with a threshold that rises with their spikes: those of `snnprune.nn.models.adaptive`."""

    def __init__(self, neuron: Any) -> None:
        from snnprune.nn.models.adaptive import RISE  # noqa: PLC0415 - imports SpikingJelly, and ANNs need none

        super().__init__(neuron, ("v", "b", "y"), (0.0, 0.0, 0.0))
        self.base, self.rise = float(neuron.v_threshold), RISE
        self.decay, self.adaptation = _kept(neuron.decay), _kept(neuron.adaptation)

    def step(self, x: Tensor, states: States) -> tuple[Tensor, States]:
        """Map a current and (potential, adaptation, spikes) to spikes and the same."""
        v, b, y = (state if state.ndim else state.expand(x.shape) for state in states)  # scalars at rest
        b = self.adaptation * b + (1 - self.adaptation) * y
        threshold = self.base + self.rise * b
        v = self.decay * v + (1 - self.decay) * x - threshold * y
        y = (v >= threshold).to(x.dtype)
        return y, (v, b, y)


class Own(Arithmetic):
    """A layer of SpikingJelly's kind that is plain arithmetic itself, with other such layers inside.

    Args:
        layer: a recurrent layer, with arithmetic in place of its neurons, or leaky integrators.
        letter: name of its state.
    """

    def __init__(self, layer: Any, letter: str) -> None:
        super().__init__(layer, (letter,))
        self.layer = layer

    def step(self, x: Tensor, states: States) -> tuple[Tensor, States]:
        """Map an input and a state to an output and a state."""
        held = tuple(state if state.ndim else None for state in states)  # at rest it is not known how many
        (y,), states = self.layer.single_step_functional_forward(
            (x,), self.layer.materialize_states((x,), held, "s")
        )
        return y, states


SPIKING = {
    **dict.fromkeys(("IFNode", "LIFNode", "ParametricLIFNode"), IntegrateAndFire),
    "HeterogeneousLIFNode": Heterogeneous,
    "AdaptiveLIFNode": Adaptive,
}
"""Arithmetic of neurons by their class."""


def arithmetic(layer: nn.Module, name: str) -> Arithmetic:
    """Return the arithmetic of a layer with states.

    Raises:
        UserError: there is none. The message names the layer.
    """
    if isinstance(layer, recurrent_kinds()):
        return Own(layer, "y")
    if is_integrator(layer):
        return Own(layer, "v")
    kind = type(layer).__name__
    if kind not in SPIKING:
        raise UserError(
            f"layer '{name}' is {with_article(kind)}, and a time step can be written only with IFNode, "
            "LIFNode and ParametricLIFNode, recurrent layers of them, and the "
            "neurons and leaky integrators of snnprune"
        )
    return SPIKING[kind](layer)


def _kept(decay: Any) -> Any:
    """Return a decay as a constant."""
    from snnprune.nn.models.decays import bounded  # noqa: PLC0415 - as above

    value = bounded(decay)
    return nn.Buffer(value.detach()) if isinstance(value, Tensor) else value
