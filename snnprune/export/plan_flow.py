"""Values on their way through a forward: where each comes from, and how its axes stand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import torch

from snnprune.common.errors import UserError, first_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from snnprune.engine.plan import Shape, Source

    Axes = Literal["steps", "rows", "one", "answer"]

SAMPLES = 2
"""Samples of the values that are followed. With two, [T, B, ...] and [T x B, ...] are told apart."""


@dataclass(frozen=True)
class Flow:
    """A value of a forward.

    Attributes:
        source: of its numbers, which stand there in the same order.
        places: the shape of one sample at one time step.
        axes: what stands before these: "steps" [T, B, ...], "rows" [T x B, ...], "one" [B, ...] of one time
            step, or "answer" [B, ...] of all.
        steps: T.
        memory: of the values that share memory with it.
        version: of this memory, which grows when something is added in place.
        over_time: of an answer, how it was made of those of all time steps (`snnprune.nn.scores`).
    """

    source: Source
    places: tuple[int, ...]
    axes: Axes
    steps: int
    memory: int
    version: int = 0
    over_time: str | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the value."""
        leading = {"steps": (self.steps, SAMPLES), "rows": (self.steps * SAMPLES,)}
        return (*leading.get(self.axes, (SAMPLES,)), *self.places)

    def example(self) -> torch.Tensor:
        """Return a value of this shape in which each number is its own place."""
        numbers = torch.arange(torch.Size(self.shape).numel(), dtype=torch.int64)
        return numbers.reshape(self.shape)


def reshaped(name: str, flow: Flow, change: Callable[[torch.Tensor], Any]) -> Flow:
    """Return what a change of shape makes of ``flow``, with the same source.

    Args:
        name: of the operation, for errors.
        flow: the value.
        change: the operation.

    Raises:
        UserError: it fails, or mixes the numbers of different steps or samples, or their order.
    """
    before = flow.example()
    try:
        after = change(before)
    except Exception as error:
        raise UserError(
            f"'{name}' cannot be followed on an input of shape {flow.shape} ({first_line(error)}): flatten "
            "with layer.Flatten of SpikingJelly"
        ) from error
    count = flow.steps * SAMPLES
    kept = isinstance(after, torch.Tensor) and after.numel() == before.numel()
    axes: Axes | None = None
    places, rows = (), 0
    if flow.axes == "one" and kept and after.shape[:1] == (SAMPLES,):
        axes, places, rows = "one", after.shape[1:], SAMPLES
    elif flow.axes in ("steps", "rows") and kept and after.shape[:2] == (flow.steps, SAMPLES):
        axes, places, rows = "steps", after.shape[2:], count
    elif flow.axes in ("steps", "rows") and kept and after.shape[:1] == (count,):
        axes, places, rows = "rows", after.shape[1:], count
    if axes is None or not torch.equal(after.reshape(rows, -1), before.reshape(rows, -1)):
        raise UserError(
            f"'{name}' changes more than the shape of a sample at one time step, and an event-driven network "
            "keeps steps, samples and the order of units apart: flatten the axes behind [T, B] alone"
        )
    return replace(flow, axes=axes, places=tuple(places))


def as_shape(name: str, places: tuple[int, ...]) -> Shape:
    """Return the shape (channels, height, width) of a sample at one time step.

    Raises:
        UserError: there are more axes than that.
    """
    if not 1 <= len(places) <= 3 or min(places) < 1:
        raise UserError(
            f"'{name}' has samples of shape {places}, and an event-driven network knows units, sequences "
            "(channels, length) and maps (channels, height, width)"
        )
    channels, *rest = places
    height, width = {0: (1, 1), 1: (1, *rest), 2: tuple(rest)}[len(rest)]
    return (channels, height, width)
