"""Which steps of optimisers belong to one batch, where several train one network."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakSet

from snnprune.pruning.optimizers import parameters

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import nn
    from torch.optim import Optimizer

    from snnprune.pruning.traces import Activity


class Round:
    """The steps that optimisers take on one batch.

    A batch begins with a step after a forward, or with the second step of the same optimiser. It is whole
    once every parameter that has a gradient is in an optimiser that has stepped; where some are in none, it
    ends when the next one begins.

    Attributes:
        traces: of the open batch; None where there is no open batch.
        optimizers: those that have stepped on it.
        given: all that a step was ever told of.
    """

    def __init__(self) -> None:
        self.traces: Mapping[str, Activity] | None = None
        self.optimizers: WeakSet[Optimizer] = WeakSet()
        self.given: WeakSet[Optimizer] = WeakSet()
        self._about_to_step: WeakSet[Optimizer] = WeakSet()

    def has_next(self, optimizer: Optimizer | None, *, after_forward: bool) -> bool:
        """Tell whether a step is the first one of a new batch."""
        return after_forward or optimizer is None or not self.optimizers or optimizer in self.optimizers

    def begin(self, traces: Mapping[str, Activity]) -> None:
        """Begin a batch, with its traces."""
        self.traces, self.optimizers = traces, WeakSet()

    def add(self, optimizer: Optimizer) -> None:
        """Note that ``optimizer`` has stepped on the open batch."""
        self.optimizers.add(optimizer)
        self.given.add(optimizer)

    def left_out(self, stepped: Iterable[Optimizer]) -> Optimizer | None:
        """Return which of those that ``stepped`` has parameters that no step was told of."""
        told = _parameters(self.given)
        found = (o for o in stepped if o not in self.given and not _parameters([o]) <= told)
        return next(found, None) if told else None

    def trained(self, stepped: Iterable[Optimizer]) -> set[int]:
        """Return the ids of the parameters of those that ``stepped`` or were given."""
        return _parameters([*stepped, *self.given])

    def is_whole(self, model: nn.Module) -> bool:
        """Tell whether no other optimiser is to be waited for."""
        stepped = _parameters(self.optimizers)
        return not stepped or all(p.grad is None or id(p) in stepped for p in model.parameters())

    def end(self) -> None:
        """End the open batch, where there is one."""
        if self.traces is not None:
            self.traces, self._about_to_step = None, WeakSet()

    def is_first_to_step(self, optimizer: Optimizer) -> bool:
        """Note that ``optimizer`` is about to step; tell whether it is the first one since a batch ended."""
        first = not self._about_to_step or optimizer in self._about_to_step
        if first:
            self._about_to_step = WeakSet()
        self._about_to_step.add(optimizer)
        return first


def _parameters(optimizers: Iterable[Optimizer]) -> set[int]:
    return {id(p) for optimizer in optimizers for p in parameters(optimizer)}
