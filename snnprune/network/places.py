"""Where things are in tensors: samples, time steps, and the activity of a projection's units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from snnprune.network.runs import Run


@dataclass(frozen=True)
class Fold:
    """How samples and time steps share an axis of rows, for a neuron that takes both in one.

    Attributes:
        steps: number of time steps of a sample; 0 where it follows from the number of rows.
        samples: number of samples; 0 where it follows from the number of rows.
        by_sample: whether the steps of one sample are neighbours.

    Examples:
        >>> from snnprune.network.places import Fold
        >>> Fold(steps=4).divide(12)  # four steps of three samples
        (4, 3)
    """

    steps: int = 0
    samples: int = 0
    by_sample: bool = False

    def divide(self, rows: int) -> tuple[int, int]:
        """Return the numbers of time steps and of samples among ``rows``."""
        return (self.steps, rows // self.steps) if self.steps else (rows // self.samples, self.samples)


@dataclass(frozen=True)
class Layout:
    """Where samples and time are in what a layer is given or a neuron puts out, axes counted from the front.

    Attributes:
        samples: the axis of the samples.
        time: the axis of the time steps; None where a call is one step, where there is no time, or where time
            is folded into the samples' axis.
        by_sample: whether the steps of one sample are neighbours, where time is folded into that axis.
        fold: how a neuron divides that axis itself; None where it does not.
    """

    samples: int = 0
    time: int | None = None
    by_sample: bool = False
    fold: Fold | None = None


SAMPLES_FIRST = Layout()
"""Samples on the first axis, and no time."""


@dataclass(frozen=True)
class Site:
    """Where the activity of a projection's units is found: a run of the output of one call of a neuron.

    Attributes:
        axis: of the neuron's output, counted from the end.
        offset: first entry (above 0 where a neuron reads a concatenation).
        size: entries, one per row of the projection's weight.
        call: which of the neuron module's calls, where it stands in several places (a shared ReLU).
        calls: how often it is called in one pass.
        steps: how many passes there are in a forward of the example: time steps of a loop inside of it.
        layout: where samples and time are there.
        behind: the runs of the populations whose entries come before and make up the offset.
        repeats: how often the entries are those of the rows: once for each gate of a recurrent cell.
    """

    axis: int
    offset: int
    size: int
    call: int = 0
    calls: int = 1
    steps: int = 1
    layout: Layout = SAMPLES_FIRST
    behind: tuple[Run, ...] = ()
    repeats: int = 1

    def rows(self, activity: Tensor, axis: int) -> Tensor:
        """Return the activity of each row of the weight, of what the neuron puts out along ``axis``."""
        own = activity.narrow(axis, self.offset, self.size // self.repeats)
        return own if self.repeats == 1 else torch.cat([own] * self.repeats, axis)
