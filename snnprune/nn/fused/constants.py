"""What a layer of LIF neurons does with a step, and what one forward is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from snnprune.nn.fused.surrogates import Slope


@dataclass(frozen=True)
class Constants:
    """What a layer of LIF neurons does with a step.

    Attributes:
        tau: time constant of the leak, in steps.
        threshold: potential of a spike.
        reset: potential after a spike, None to subtract the threshold.
        decay_input: whether the input leaks as well.
        detach_reset: whether no gradient passes through the reset.
        slope: derivative that stands for that of the spike.
        steps: T.
        square: side of the squares of spikes that are averaged, 1 for none.
    """

    tau: float
    threshold: float
    reset: float | None
    decay_input: bool
    detach_reset: bool
    slope: Slope
    steps: int
    square: int = 1

    @property
    def rest(self) -> float:
        """Potential that the leak leads to."""
        return 0.0 if self.reset is None else self.reset


@dataclass
class Note:
    """What a forward is asked for and tells beside its spikes.

    Attributes:
        spatial: whether the input has places, [T, B, C, H, W], that matter.
        count: whether spikes are to be counted.
        once: whether the input has no time axis and stands for every step.
        dtype: of the input.
        keep: whether a backward may follow.
        counts: number of spikes by step, sample and channel [T, B, C], and the sum of the averages.
        nan: whether a potential is not a number.
    """

    spatial: bool
    count: bool
    once: bool
    dtype: torch.dtype
    keep: bool = False
    counts: tuple[Tensor, Tensor | None] | None = None
    nan: bool = False
