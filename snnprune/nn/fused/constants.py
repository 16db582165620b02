"""The constants of a layer of LIF neurons, and the settings of one forward."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from snnprune.nn.fused.surrogates import Slope


@dataclass(frozen=True)
class Window:
    """The windows of a maximum pool.

    Attributes:
        side: of a window, a square.
        stride: from one window to the next, both ways.
        padding: places around an image that are in windows, and never the maximum.
    """

    side: int
    stride: int
    padding: int

    def places(self, length: int) -> int:
        """Return how many windows there are along an axis of ``length`` places."""
        return (length + 2 * self.padding - self.side) // self.stride + 1


@dataclass(frozen=True)
class Constants:
    """The constants of a layer of LIF neurons.

    Attributes:
        tau: time constant of the leak, in steps.
        threshold: potential at which a neuron spikes.
        reset: potential after a spike, None for a soft reset (the threshold is subtracted).
        decay_input: whether the input leaks as well.
        detach_reset: whether no gradient passes through the reset.
        slope: derivative of the surrogate.
        steps: T.
        square: side of the squares over which spikes are averaged, 1 for no average.
        window: of which the maximum of the spikes is taken, None for all spikes; ``square`` is 1 then.
    """

    tau: float
    threshold: float
    reset: float | None
    decay_input: bool
    detach_reset: bool
    slope: Slope
    steps: int
    square: int = 1
    window: Window | None = None

    @property
    def rest(self) -> float:
        """Potential towards which a neuron leaks."""
        return 0.0 if self.reset is None else self.reset


@dataclass
class Note:
    """Settings of one forward, and its results other than spikes.

    Attributes:
        spatial: whether the places of the input, [T, B, C, H, W], are needed.
        count: whether to count spikes.
        once: whether the input has no time axis and is used at every step.
        dtype: of the input.
        keep: whether a backward may follow.
        counts: number of spikes by step, sample and channel [T, B, C], and the sum of what the pool makes of
            them, or of the spikes and what is added to them.
        won: which place of its window each maximum was found at, [T, ...] in the order of the output.
        nan: whether a potential is not a number.
        before: spikes before each step, [T, ...], of neurons with synapses among themselves.
    """

    spatial: bool
    count: bool
    once: bool
    dtype: torch.dtype
    keep: bool = False
    counts: tuple[Tensor, Tensor | None] | None = None
    nan: bool = False
    before: Tensor | None = None
    won: Any = None
