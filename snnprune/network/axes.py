"""The channel axis of a tensor, and one call of a torch operation on such tensors.

Axes are counted from the end. So it makes no difference whether there is a time axis in front, or whether it
is folded into the batch.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Unknown(Exception):  # noqa: N818 - an answer, not an error
    """No rule covers what the operation does to channels; the message says what it does."""


@dataclass(frozen=True)
class Span:
    """A run of an axis that one population fills: ``size`` units, ``spread`` entries each."""

    population: int
    size: int
    spread: int = 1

    @property
    def length(self) -> int:
        """Entries on the axis."""
        return self.size * self.spread


@dataclass(frozen=True)
class Axis:
    """The axis of a tensor that holds its channels.

    Attributes:
        dim: the axis, counted from the end (negative).
        spans: the populations on it, in order.
        sources: projections that reach this tensor without a neuron between.
        resting: the operation after which a dead unit is no longer at zero, or None (`silence`).
        state: the neuron whose state this is, handed out beside its activity; None for activity.
    """

    dim: int
    spans: tuple[Span, ...]
    sources: frozenset[str] = frozenset()
    resting: str | None = None
    state: str | None = None

    @property
    def length(self) -> int:
        """Entries on the axis."""
        return sum(s.length for s in self.spans)


class Adopt(Protocol):
    """How a tensor without an axis is given one: see `blanks.adopt`."""

    def __call__(
        self, tensor: torch.Tensor, dim: int, spans: tuple[Span, ...] = (), *, foreign: bool = False
    ) -> Axis | None:
        """Return the axis."""


@dataclass(frozen=True)
class Operation:
    """One call of a torch operation.

    Attributes:
        name: name of the operation.
        func: the operation.
        args: its arguments.
        kwargs: its keyword arguments.
        result: one of its output tensors.
        axis_of: returns the axis of a tensor, or None if it is unknown.
        join: merges the populations of two axes, unit by unit.
        adopt: returns the axis of a tensor that had none, if it may stand for units (`blanks`), or None.
    """

    name: str
    func: Callable[..., Any]
    args: Sequence[Any]
    kwargs: dict[str, Any]
    result: torch.Tensor
    axis_of: Callable[[torch.Tensor], Axis | None]
    join: Callable[[Axis, Axis], Axis]
    adopt: Adopt

    @property
    def subject(self) -> Any:
        """What the operation works on: its first argument."""
        return self.argument(0, "input", "self", "tensors")

    def argument(self, position: int, *names: str, default: Any = None) -> Any:
        """Return an argument by position or by one of its names."""
        for name in names:
            if name in self.kwargs:
                return self.kwargs[name]
        return self.args[position] if len(self.args) > position else default


def mapped(value: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """Return ``value`` with each tensor in nested lists, tuples and dicts replaced by ``change`` of it."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if type(value) in {list, tuple}:
        return type(value)(mapped(v, change) for v in value)
    if type(value) is dict:
        return {k: mapped(v, change) for k, v in value.items()}
    return value


def tensors_in(value: Any) -> list[torch.Tensor]:
    """Return the tensors in nested lists, tuples, dicts and dataclasses, in order."""
    if isinstance(value, torch.Tensor):
        return [value]
    if is_dataclass(value) and not isinstance(value, (dict, type)):
        value = [getattr(value, f.name) for f in fields(value)]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [t for item in value for t in tensors_in(item)]
    return []
