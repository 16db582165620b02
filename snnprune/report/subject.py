"""What the pictures of a run read, from a pruner in a loop of the user's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from snnprune.runs.size import Size
from snnprune.runs.tensors import Dynamics

if TYPE_CHECKING:
    from snnprune.pruning import Pruner


@dataclass(frozen=True)
class Subject:
    """A pruner as the pictures read it.

    Attributes:
        summary: what is left now.
        dynamics: what its history holds.
        metrics: what was measured, by name: pairs of an epoch and a value.
        prunes: whether anything was pruned.
        twin: always None; a loop of one's own has no twin beside it.
        fired: on what the firing rates were measured.
    """

    summary: Size
    dynamics: Dynamics
    metrics: dict[str, list[tuple[int, float]]]
    prunes: bool
    twin: None = None
    fired: str = "the first training batch of the epoch"

    @classmethod
    def of(cls, pruner: Pruner) -> Subject:
        """Read a pruner."""
        metrics: dict[str, list[tuple[int, float]]] = {}
        for row in pruner.history:
            for name, value in row.metrics.items():
                metrics.setdefault(name, []).append((row.epoch, value))
        size = Size.of(pruner.rates())
        return cls(size, Dynamics.of(pruner), metrics, size.weights_left < size.weights_dense)
