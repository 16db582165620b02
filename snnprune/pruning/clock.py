"""When: the clock that every rule reads."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Clock:
    """Where training is.

    Attributes:
        epochs: length of the run.
        epoch: the epoch that is running, or that has just ended when a decision is taken; from 0.
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
        """Decisions from this one on that training still follows: none after the last epoch."""
        return max(self.epochs - 1 - self.epoch, 0)
