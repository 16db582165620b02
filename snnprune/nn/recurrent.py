"""A layer of neurons that is wired to itself: its spikes come back to it one time step later."""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING, Any

import torch
from spikingjelly.activation_based import base, layer
from torch import nn

from snnprune.common.errors import UserError, with_article

if TYPE_CHECKING:
    from torch import Tensor


class Recurrent(base.MemoryModule):
    """Neurons with synapses among themselves.

    With x the current from the layer before, y the spikes and W the recurrent weight::

        y[t] = neuron(x[t] + W y[t-1])          y[-1] = 0

    The synapses are a layer of their own (``feedback``), without bias: that of the layer before is enough.
    The spikes of the last step are a state, as the potentials are: ``functional.reset_net`` sets both back.

    Args:
        neuron: of SpikingJelly, called for one step at a time; it keeps its single-step mode.
        size: number of neurons.
        step_mode: "m" for currents [T, B, size], "s" for those of one step, [B, size].

    Raises:
        UserError: no neuron with a step mode, a size that is no whole number above 0, or, in the forward,
            currents of another shape.

    Examples:
        >>> import torch
        >>> from spikingjelly.activation_based import neuron
        >>> from snnprune.nn.recurrent import Recurrent
        >>> layer = Recurrent(neuron.IFNode(), 2)
        >>> with torch.no_grad():
        ...     _ = layer.feedback.weight.copy_(torch.tensor([[0.0, 0.0], [1.0, 0.0]]))
        >>> layer(torch.tensor([[[1.0, 0.0]], [[0.0, 0.0]]])).detach().squeeze(1)  # 1 hears 0 a step later
        tensor([[1., 0.],
                [0., 1.]])
    """

    y: Tensor | None

    def __init__(self, neuron: nn.Module, size: int, *, step_mode: str = "m") -> None:
        super().__init__()
        _check(neuron, size)
        self.feedback = layer.Linear(size, size, bias=False)
        self.neuron = neuron
        self.register_memory("y", None)
        self.step_mode = step_mode
        self.keep_single_step()

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Compute spikes from currents, of the same shape."""
        width = getattr(self.feedback, "out_features", x.shape[-1])  # another layer may be put in its place
        axes, fits = ("[T, B, {}]", x.ndim > 2) if self.step_mode == "m" else ("[B, {}]", x.ndim == 2)
        if not fits or x.shape[-1] != width:
            raise UserError(
                f'a Recurrent of {width} neurons expects currents {axes.format(width)} in step mode "'
                f'{self.step_mode}", and got {list(x.shape)}: give it that shape, or set the other step mode'
            )
        return super().forward(x, *args, **kwargs)

    def materialize_states(self, inputs: Any, states: Any, step_mode: str) -> Any:
        """Return the spikes before the first step: none."""
        x = inputs[0] if step_mode == "s" else inputs[0][0]
        return (torch.zeros_like(x) if states[0] is None else states[0],)

    def single_step_functional_forward(self, inputs: Any, states: Any, **_: Any) -> Any:
        """Compute one step: (current [B, size],), (spikes of the step before,) to the same of this step."""
        self.keep_single_step()
        y: Tensor = self.neuron(inputs[0] + self.feedback(states[0]))
        return (y,), (y,)

    def detach(self) -> None:
        """Let no gradient flow into the steps before: the spikes may be a view, which cannot be detached."""
        if self.y is not None:
            self.y = self.y.detach()

    def keep_single_step(self) -> None:
        """Give neurons and feedback the mode in which they are called, whatever mode the network has."""
        for module in (self.neuron, self.feedback):
            if module.step_mode != "s":  # ``set_step_mode`` reaches every module of a network
                module.step_mode = "s"


def _check(neuron: Any, size: Any) -> None:
    """Check what a layer is made of.

    Raises:
        UserError: the neuron is no module with a step mode, or the size is no whole number above 0.
    """
    if not isinstance(neuron, nn.Module) or not hasattr(neuron, "step_mode"):
        is_class = isinstance(neuron, type)
        came = f"the class {neuron.__name__}" if is_class else with_article(type(neuron).__name__)
        raise UserError(
            f"neuron must be a layer of neurons with a step mode, and is {came}: give one of SpikingJelly's, "
            "such as neuron.LIFNode()"
        )
    if type(size) is bool or not isinstance(size, Integral) or int(size) < 1:
        came = repr(size) if isinstance(size, int | float | str) else with_article(type(size).__name__)
        raise UserError(
            f"size must be the number of neurons, a whole number above 0, and is {came}: the layer makes its "
            "own synapses of that size"
        )
