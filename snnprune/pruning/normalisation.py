"""Scores of one layer on a scale that other layers share, one function for each scale.

Each function takes scores and a mask of the alive entries, and returns them on its scale: what was lower is
not higher. Those that spread scores over [0, 1] return None where all scores tie: a rule must never prune a
whole layer of equal scores.

Two parts of a method ask for a scale. A ranking over all layers compares scores of different layers by it
(`spread`). A survival function needs u in [0, 1] (DPAP's "normalised linearly", before equations 12 and 13).
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


def unchanged(score: Tensor, alive: Tensor) -> Tensor:  # noqa: ARG001 - the signature of all
    """Return ``score`` as it is: for scores that are on one scale in all layers, such as |w|."""
    return score


def norm(score: Tensor, alive: Tensor) -> Tensor:
    """Return x / |x|_2, over the alive entries (Molchanov et al., ICLR 2017, section 2.2)."""
    return _over(score, score[alive].norm())


def mean(score: Tensor, alive: Tensor) -> Tensor:
    """Return x / mean of |x|, over the alive entries: the layer's size does not count.

    Examples:
        >>> import torch
        >>> from snnprune.pruning.normalisation import mean
        >>> mean(torch.tensor([1.0, 2.0, 3.0, 9.0]), torch.tensor([True, True, True, False]))
        tensor([0.5000, 1.0000, 1.5000, 4.5000])
    """
    return _over(score, score[alive].abs().sum() / max(int(alive.sum()), 1))


def total(score: Tensor, alive: Tensor) -> Tensor:
    """Return x / sum of |x|, over the alive entries: each unit's part of what its layer does."""
    return _over(score, score[alive].abs().sum())


def largest(score: Tensor, alive: Tensor) -> Tensor:
    """Return x / max of |x|, over the alive entries."""
    return _over(score, score.abs().where(alive, 0.0).max())


def lamp(score: Tensor, alive: Tensor) -> Tensor:
    """Return x^2 / sum of x'^2 over the alive entries from x on, in ascending order (LAMP, equation 2).

    J. Lee, S. Park, S. Mo, S. Ahn, J. Shin, "Layer-adaptive Sparsity for the Magnitude-based Pruning", ICLR
    2021, where x is a weight. The largest entry of each layer is 1. [reading] Scores below 0 count as 0.

    Examples:
        >>> import torch
        >>> from snnprune.pruning.normalisation import lamp
        >>> lamp(torch.tensor([3.0, 1.0, 2.0]), torch.ones(3, dtype=torch.bool))  # 9/9, 1/14, 4/13
        tensor([1.0000, 0.0714, 0.3077])
    """
    living = score[alive].double().clamp_min(0.0).square()
    order = living.argsort(stable=True)
    ascending = living[order]
    left = ascending.flip(0).cumsum(0).flip(0)
    scaled = torch.empty_like(living)
    scaled[order] = ascending / left.clamp_min(torch.finfo(left.dtype).tiny)
    found = torch.zeros_like(score)
    found[alive] = scaled.to(score.dtype)
    return found


def _over(score: Tensor, scale: Tensor) -> Tensor:
    return score / scale if bool(scale > 0) else score


Normalisation = Literal["none", "norm", "mean", "sum", "max", "min-max", "percentile", "rank", "lamp"]

NORMALISATIONS: dict[Normalisation, Callable[[Tensor, Tensor], Tensor | None]] = {
    "none": unchanged,
    "norm": norm,
    "mean": mean,
    "sum": total,
    "max": largest,
    "min-max": min_max,
    "percentile": percentile,
    "rank": rank,
    "lamp": lamp,
}


def known(name: str) -> None:
    """Check that there is a normalisation called ``name``.

    Raises:
        ValueError: there is none.
    """
    if name not in NORMALISATIONS:
        raise ValueError(f"normalisation is one of {sorted(NORMALISATIONS)}, came '{name}'")


def in_unit_range(name: Normalisation, score: Tensor, alive: Tensor) -> Tensor | None:
    """Return u in [0, 1] by the normalisation ``name``, clipped to this range; None where all of u tie."""
    scaled = NORMALISATIONS[name](score, alive)
    if scaled is None or not bool(alive.any()):
        return None
    u = scaled.clamp(0, 1)
    living = u[alive]
    return u.where(alive, u.new_zeros(())) if bool(living.max() > living.min()) else None
