"""Check that the layers of a network fire: neither silent nor saturated layers pass on information."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from snnprune.network.hooks import after
from snnprune.network.leaves import competes
from snnprune.network.untouched import untouched
from snnprune.network.wrappers import forget_compiled

SILENT = 0.001
"""A layer counts as silent if its share of active outputs is smaller: one spike in a thousand places."""

SATURATED = 0.95
"""A spiking layer counts as saturated if its share of active outputs is larger."""


@dataclass(frozen=True)
class Firing:
    """Activity of one layer of neurons.

    Attributes:
        layer: name of the layer in the model.
        rate: share of its outputs, over time, samples and places, that are not zero; of units that compete,
            share of the steps in which one of them is.
        state: "silent", "saturated", or "ok".
    """

    layer: str
    rate: float
    state: Literal["ok", "silent", "saturated"]

    def __str__(self) -> str:
        """Return the activity as one sentence, with advice if the layer is not ok."""
        if self.state == "silent":
            return (
                f"layer {self.layer} is silent ({self.rate:.2%} of its outputs are active), so the "
                "layers behind it cannot learn: check the scale of the input and of the initial weights"
            )
        if self.state == "saturated":
            return (
                f"layer {self.layer} is saturated ({self.rate:.1%} of its outputs are active), so its "
                "outputs hardly depend on the input: check the scale of the input and of the initial weights"
            )
        return f"layer {self.layer} is active in {self.rate:.1%} of its outputs"


def check(model: nn.Module, batch: torch.Tensor) -> list[Firing]:
    """Run ``batch`` once through ``model`` and return each neuron layer's activity, in forward order.

    The batch runs in training mode, from the neurons' resting state, without gradients. Modes, neuron states,
    buffers (batch norm's statistics) and the random generators are restored afterwards.

    Args:
        model: any module; its layers of neurons are SpikingJelly's spiking nodes (modules with a
            ``v_threshold``) and ReLUs.
        batch: an input of the model, [T, B, ...] for a multi-step spiking network, else [B, ...].
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(untouched(model))
        model.train()
        watch = stack.enter_context(contextlib.closing(Watch(model)))
        with torch.no_grad():
            model(batch)
    return [judge(name, rate, model.get_submodule(name)) for name, rate in watch.rates().items()]


class Tally:
    """How many outputs of layers of neurons were active, by layer, in the order in which they came."""

    def __init__(self) -> None:
        self._outputs: dict[str, tuple[int, int]] = {}

    def add(self, layer: str, active: torch.Tensor, size: int) -> None:
        """Add ``size`` outputs of a layer, of which ``active`` were not zero."""
        before = self._outputs.get(layer, (0, 0))
        self._outputs[layer] = (before[0] + int(active), before[1] + size)

    def rates(self) -> dict[str, float]:
        """Return the share of each layer's outputs, over time, samples and places, that were not zero."""
        return {layer: active / max(size, 1) for layer, (active, size) in self._outputs.items()}


class Watch:
    """Counts the active outputs of the neurons of a network, from its construction until `close`.

    Args:
        model: any module; its layers of neurons are SpikingJelly's spiking nodes (modules with a
            ``v_threshold``) and ReLUs.
    """

    def __init__(self, model: nn.Module) -> None:
        forget_compiled(model)
        self._tally = Tally()
        self._handles = []
        for name, module in model.named_modules():
            if is_spiking(module) or isinstance(module, nn.ReLU):
                self._handles.append(after(module, self._count(name)))

    def rates(self) -> dict[str, float]:
        """Return the rates of the layers by name, in forward order (see `Tally.rates`)."""
        return self._tally.rates()

    def _count(self, name: str) -> Any:
        def hook(module: nn.Module, _inputs: Any, output: torch.Tensor) -> None:
            self._tally.add(name, output.count_nonzero(), most_active(module, output))

        return hook

    def close(self) -> None:
        """Remove every hook."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()


def most_active(module: nn.Module, output: torch.Tensor) -> int:
    """Return how many of its outputs a layer of neurons could activate: of units that compete, one a step."""
    return output.numel() // (output.shape[-1] if competes(module) else 1)


def is_spiking(module: nn.Module) -> bool:
    """Tell whether a layer of neurons spikes, as SpikingJelly's spiking nodes do."""
    return hasattr(module, "v_threshold")


def judge(layer: str, rate: float, neurons: nn.Module) -> Firing:
    """Return whether a layer is silent or saturated.

    A ReLU that is always active is not saturated, and neither are units that compete, of which another one
    may fire at every step.
    """
    if rate < SILENT:
        return Firing(layer, rate, "silent")
    full = rate > SATURATED and is_spiking(neurons) and not competes(neurons)
    return Firing(layer, rate, "saturated" if full else "ok")
