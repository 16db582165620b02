"""One call of a torch operation on tensors with axes of channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

    from snnprune.network.axes import Axis, Span
    from snnprune.network.units import Units


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
        units: all populations.
        adopt: returns the axis of a tensor that had none, if it may stand for units (`blanks`), or None.
    """

    name: str
    func: Callable[..., Any]
    args: Sequence[Any]
    kwargs: dict[str, Any]
    result: torch.Tensor
    axis_of: Callable[[torch.Tensor], Axis | None]
    units: Units
    adopt: Adopt

    @property
    def subject(self) -> Any:
        """What the operation works on: its first argument."""
        return self.argument(0, "input", "self", "tensors")

    def from_end(self, dim: int) -> int:
        """Return an axis of the subject, counted from the end."""
        return dim if dim < 0 else dim - int(self.subject.ndim)

    def argument(self, position: int, *names: str, default: Any = None) -> Any:
        """Return an argument by position or by one of its names."""
        for name in names:
            if name in self.kwargs:
                return self.kwargs[name]
        return self.args[position] if len(self.args) > position else default
