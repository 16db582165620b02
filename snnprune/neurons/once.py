"""Layers without a state, computed for one step where all time steps are the same (direct encoding)."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from spikingjelly.activation_based import layer

from snnprune.neurons.layout import shown

if TYPE_CHECKING:
    from torch import Tensor

LAYERS = (
    layer.Conv1d, layer.Conv2d, layer.Conv3d, layer.Linear, layer.Flatten,
    layer.AvgPool1d, layer.AvgPool2d, layer.AvgPool3d, layer.MaxPool1d, layer.MaxPool2d, layer.MaxPool3d,
)  # fmt: skip
"""Those of SpikingJelly whose multi-step forward is their forward of every step. A batch norm is not one of
them: its running variance knows over how many values it was taken."""


class Once:
    """Mixed into a class of layers: an input that is expanded over time gives an output that is."""

    plain: Any
    step_mode: str

    def forward(self, x: Tensor) -> Tensor:
        """Compute one step and show it at all, or whatever the plain layer does."""
        step = shown(x) if self.step_mode == "m" else None
        if step is None:
            return super().forward(x)  # type: ignore[misc]
        y: Tensor = self.plain.__bases__[0].forward(self, step)
        return y.expand(x.shape[0], *y.shape)

    def __reduce_ex__(self, _protocol: Any) -> Any:
        """Let copies and files name the plain class: this one is made while the program runs."""
        return _again, (self.plain,), self.__dict__


def _again(plain: type) -> Any:
    return once(plain).__new__(once(plain))


@functools.cache
def once(plain: Any) -> Any:
    """Return the class of layers like ``plain`` that is mixed with `Once`."""
    return type(plain.__name__, (Once, plain), {"plain": plain, "__module__": plain.__module__})
