"""What a kind of neurons does between two products of a layer that is wired to itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

Row = np.ndarray[Any, Any]
"""One step of N x H numbers."""


def precise(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype of potentials where inputs have ``dtype``."""
    return torch.float32 if dtype.itemsize == 2 else dtype


def row(given: Tensor | float, size: int, dtype: torch.dtype) -> Row:
    """Return ``size`` numbers of ``dtype``: those of a tensor, or the same for all."""
    if isinstance(given, torch.Tensor):
        return given.detach().reshape(-1).to(dtype).numpy()
    return torch.full((size,), given, dtype=dtype).numpy()


def gradient(given: Tensor | None, size: int, dtype: torch.dtype) -> Tensor:
    """Return a gradient of ``size`` numbers that may be written over, zero if there is none."""
    if given is None:
        return torch.zeros(size, dtype=dtype)
    return given.reshape(-1).to(dtype, copy=True)


class Forward(ABC):
    """All steps of N x H neurons, one at a time.

    Attributes:
        kept: what the backward needs.
        broken: whether a last potential is not a number.
    """

    kept: tuple[Tensor, ...]
    broken = False

    @abstractmethod
    def step(self, t: int, x: Row, fed: Row, s: Row) -> None:
        """Compute step ``t``; `snnprune.nn.fused.cpu_steps` says what ``x`` and ``fed`` are. Write ``s``."""

    @abstractmethod
    def end(self) -> tuple[Tensor, ...]:
        """Return the states after the last step, N x H numbers each."""


class Backward(ABC):
    """The same backwards, from the last step to the first."""

    @abstractmethod
    def spikes(self, first: int, last: int, out: Tensor) -> None:
        """Write the spikes of steps ``first`` to ``last``, [steps, N, H]."""

    @abstractmethod
    def step(self, t: int, gs: Row, fed: Row, gx: Row) -> None:
        """Go back through step ``t``; write the gradient of its input."""

    @abstractmethod
    def end(self) -> tuple[Tensor | None, ...]:
        """Return the gradients of what was given: N x H numbers of a state, H of what neurons own."""


class Cell(ABC):
    """A kind of neurons with its constants.

    Attributes:
        states: names of the states that `Forward.end` returns.
    """

    states: tuple[str, ...] = ("v",)

    @abstractmethod
    def forward(self, given: Sequence[Tensor | float], steps: int, like: Tensor, *, keep: bool) -> Forward:
        """Begin a forward.

        Args:
            given: states before it, [N, H] or one number for all, and what neurons own, [H] or likewise.
            steps: T.
            like: a step of the input, [N, H].
            keep: whether a backward may follow.
        """

    @abstractmethod
    def backward(
        self, given: Sequence[Tensor | float], kept: Sequence[Tensor], ends: Sequence[Tensor | None]
    ) -> Backward:
        """Begin a backward; ``ends`` are the gradients of what `Forward.end` returned."""
