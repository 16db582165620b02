"""The clock that every rule reads."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Clock:
    """How far training has come.

    Attributes:
        epochs: length of the run.
        epoch: the running epoch, from 0; when a decision is taken, the epoch that has just ended.
        batches: optimiser steps since training began.

    Examples:
        >>> from snnprune.pruning import Clock
        >>> Clock(epochs=10, epoch=7).decisions_left
        2
    """

    epochs: int
    epoch: int = 0
    batches: int = 0

    @property
    def decisions_left(self) -> int:
        """Number of decisions, this one included, that training still follows: 0 after the last epoch."""
        return max(self.epochs - 1 - self.epoch, 0)
