"""How often the neurons of a network fire in the first batch of an epoch."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from snnprune.network.axes import tensors_in
from snnprune.network.firing import Firing, Tally, judge, most_active
from snnprune.network.hooks import Hook, after
from snnprune.network.leaves import competes
from snnprune.pruning.forwards import is_training, uncompiled

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor, nn

    from snnprune.pruning.masks import Masks


class BatchFiring:
    """Hooks on layers of neurons that count their outputs from `open` to `close`, in training alone.

    Args:
        model: the network.
        neurons: names of its layers of neurons.

    Attributes:
        rates: share of each layer's outputs that were not zero, by name, once it is closed.
    """

    def __init__(self, model: nn.Module, neurons: Iterable[str]) -> None:
        self.model, self.neurons = model, list(dict.fromkeys(neurons))
        self.rates: dict[str, float] = {}
        self._tally = Tally()
        self._handles: list[Any] = []

    def open(self) -> None:
        """Count from now on."""
        self.close()
        self.rates, self._tally = {}, Tally()
        self._hook()

    def close(self) -> None:
        """Count no more, and remove the hooks."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self.rates |= self._tally.rates()

    def odd(self, masks: Masks) -> list[Firing]:
        """Return the layers of neurons that are silent or saturated: of the outputs of their living units."""
        populations = [(p.neuron, masks.rows(p)) for p in masks.topology.projections.values()]
        found = []
        for name, rate in self.rates.items():
            own = [units for neuron, units in populations if neuron == name]
            module = self.model.get_submodule(name)
            living = sum(int(units.sum()) for units in own) / max(sum(map(len, own)), 1)
            if competes(module):
                living = 1.0  # of few or many units one fires at a step
            found.append(judge(name, rate / living, module))
        return [layer for layer in found if layer.state != "ok"]

    def _hook(self) -> None:
        for name in self.neurons:
            module = self.model.get_submodule(name)
            self._handles.append(after(module, self._counter(name, module)))

    def _counter(self, name: str, own: nn.Module) -> Hook:
        def hook(module: nn.Module, _args: Any, output: Any) -> None:
            if module is own and is_training(self.model):  # and no replica, which shares the hooks
                fired = next(iter(tensors_in(output)), None)
                if fired is not None:
                    self._tally.add(name, fired.count_nonzero(), most_active(module, fired))

        def counts(_output: Tensor, post: Tensor | None, _pre: Tensor | None) -> None:
            """Take spikes [T, B, C] that fused layers have summed over space on the way."""
            if post is not None and is_training(self.model):
                self._tally.add(name, post.sum(), len(post) * own.v.numel())  # type: ignore[operator]

        counter = Hook(uncompiled(hook))
        counter.counts = counts  # so that layers stay fused: measuring changes no rounding
        counter.series = lambda module, spikes: hook(module, (), spikes)
        return counter

    def __deepcopy__(self, memo: dict[int, Any]) -> BatchFiring:
        """Return the same for a copy of the model."""
        twin = type(self)(copy.deepcopy(self.model, memo), self.neurons)
        memo[id(self)] = twin
        twin.rates, twin._tally = dict(self.rates), copy.deepcopy(self._tally, memo)
        if self._handles:
            twin._hook()
        return twin
