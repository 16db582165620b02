"""Spiking traces: recent activity of every neuron, one number per sample (DPAP, equations 5, 6, 18 and 19).

A trace is linear in the spikes, ``S = sum_t tau^(T-1-t) o[t]``: spikes are first summed over a channel's
H x W and then weighted over time with one product, so nothing of the size of the activity is kept.
"""

from __future__ import annotations

import functools
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from torch import Tensor

    from snnprune.network.places import Layout

Keep = Literal["trace", "series"]


@dataclass(frozen=True)
class Activity:
    """What the two sides of a projection did in one batch.

    Attributes:
        pre: trace of every input column, [B, columns] (or [T, B, columns] where the series was asked for).
        post: trace of every unit, [B, post] (or [T, B, post]).

    Examples:
        >>> import torch
        >>> from snnprune.pruning import Activity
        >>> Activity(pre=torch.rand(16, 4), post=torch.rand(16, 8)).samples
        16
    """

    pre: Tensor
    post: Tensor

    @property
    def samples(self) -> int:
        """B, the number of samples."""
        return self.post.shape[-2]


def spiking_trace(spikes: Tensor, tau: float = 0.5) -> Tensor:
    """Return the trace after the last step: S[t+1] = tau S[t] + o[t+1] from S = 0 (DPAP, equation 5).

    Args:
        spikes: [T, ...], one entry per time step.
        tau: decay per step.

    Returns:
        [...], in the dtype of ``spikes`` (float32 where that is not a floating type).

    Examples:
        >>> import torch
        >>> from snnprune.dpap import spiking_trace
        >>> spiking_trace(torch.tensor([1.0, 0.0, 1.0]), tau=0.5)  # 1, 0.5, 1.25
        tensor(1.2500)
    """
    if not spikes.is_floating_point():
        spikes = spikes.float()
    decay = _decays(tau, spikes.shape[0], spikes.dtype, spikes.device)
    with full_precision(spikes.device):  # a product, which an autocast would make in 16 bits
        return (decay @ spikes.reshape(len(decay), -1)).reshape(spikes.shape[1:])


@functools.lru_cache(maxsize=64)
def _decays(tau: float, steps: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return what each step weighs in a trace, [T]: the same few in every batch, so they are kept."""
    with torch.inference_mode(False):  # it outlives this call, and may be wanted in a graph
        return tau ** torch.arange(steps - 1, -1, -1, dtype=dtype, device=device)


def full_precision(device: torch.device) -> AbstractContextManager[Any]:
    """Return what keeps arithmetic out of the 16 bits of an autocast, where there is one around it."""
    if torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


def sum_over_space(activity: Tensor, channels: int, layout: Layout) -> Tensor:
    """Sum everything but time, samples and channels (DPAP, equation 6).

    Args:
        activity: [..., C, ...] with channels at axis ``channels``, counted from the end.
        channels: negative.
        layout: where samples and time are.

    Returns:
        [T, B, C] where the layout has a time axis, else [N, C], in the order of the samples' axis.
    """
    kept = [d for d in (layout.time, layout.samples, activity.ndim + channels) if d is not None]
    gone = [d for d in range(activity.ndim) if d not in kept]
    summed = activity.sum(gone) if gone else activity
    places = sorted(kept)
    return summed.permute([places.index(d) for d in kept])
