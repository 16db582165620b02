"""From scores to u in [0, 1] (DPAP's "normalised linearly", before equations 12 and 13).

Each function takes scores and a mask of the alive entries, and returns u. It returns None if all scores tie,
because a rule must never prune a whole layer of equal scores.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


def quantile(values: Tensor, q: float) -> Tensor:
    """Return the q-quantile of a flat tensor of any size, interpolated linearly between ranks.

    ``torch.quantile`` takes at most 16 M entries. This function needs two selections and no sort.

    Args:
        values: [n], n >= 1.
        q: in [0, 1].
    """
    position = q * (values.numel() - 1)
    low = math.floor(position)
    below = values.kthvalue(low + 1).values
    if position == low:
        return below
    above = values.kthvalue(low + 2).values
    return below + (above - below) * (position - low)


def percentile(score: Tensor, alive: Tensor, q: float = 0.75) -> Tensor | None:
    """Return u = clip((x - m) / (P75 - m), 0, 1), m and P75 over the alive entries above 0.

    [reading] With plain min-max, one heavy tail would put nearly every synapse at 0. The authors' code clips
    at the 75th percentile. Silent, depressed and pruned entries are 0.

    Examples:
        >>> import torch
        >>> from snnprune.dpap import percentile
        >>> percentile(torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]), torch.ones(5, dtype=torch.bool))
        tensor([0.0000, 0.3333, 0.6667, 1.0000, 1.0000])
    """
    counted = alive & (score > 0)
    positive = score[counted]
    if positive.numel() == 0:
        return None
    low, high = positive.min(), quantile(positive, q)
    if not bool(high > low):
        return None
    return ((score - low) / (high - low)).clamp(0, 1).where(counted, score.new_zeros(()))


def min_max(score: Tensor, alive: Tensor) -> Tensor | None:
    """Return u = (x - min) / (max - min) over the alive entries; pruned entries are 0.

    Examples:
        >>> import torch
        >>> from snnprune.dpap import min_max
        >>> min_max(torch.tensor([1.0, 2.0, 5.0]), torch.ones(3, dtype=torch.bool))
        tensor([0.0000, 0.2500, 1.0000])
    """
    living = score[alive]
    if living.numel() == 0 or not bool(living.max() > living.min()):
        return None
    u = (score - living.min()) / (living.max() - living.min())
    return u.where(alive, score.new_zeros(()))


def rank(score: Tensor, alive: Tensor) -> Tensor | None:
    """Return each alive entry's rank in [0, 1]; ties share their mean rank, and pruned entries are 0.

    Examples:
        >>> import torch
        >>> from snnprune.dpap import rank
        >>> rank(torch.tensor([1.0, 2.0, 5.0]), torch.ones(3, dtype=torch.bool))
        tensor([0.0000, 0.5000, 1.0000])
    """
    living = score[alive]
    if living.numel() == 0:
        return None
    values, inverse, counts = living.unique(return_inverse=True, return_counts=True)
    if values.numel() == 1:
        return None
    ends = counts.cumsum(0)
    means = (ends - (counts + 1) / 2).to(score.dtype) / (living.numel() - 1)
    u = torch.zeros_like(score)
    u[alive] = means[inverse]
    return u


Normalisation = Literal["percentile", "min-max", "rank"]

NORMALISATIONS: dict[Normalisation, Callable[[Tensor, Tensor], Tensor | None]] = {
    "percentile": percentile,
    "min-max": min_max,
    "rank": rank,
}
