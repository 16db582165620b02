"""Let an optimiser start anew with a parameter whose weights were replaced, of whatever shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from snnprune.pruning.moments.fresh import fresh_ones
from snnprune.pruning.moments.places import keyed
from snnprune.pruning.moments.trial import step, unnoticed

if TYPE_CHECKING:
    from torch import Tensor

    from snnprune.pruning.moments.places import Path


def restart(optimizer: Any, parameter: Tensor, *, lazily: bool) -> None:
    """Drop what an optimiser keeps of a parameter.

    Args:
        optimizer: the optimiser.
        parameter: with its new weights.
        lazily: whether the optimiser makes what it misses in its next step. Otherwise it gets what a fresh
            one has after a step without a gradient.
    """
    for _, mapping in list(keyed(optimizer)):
        mapping.pop(parameter, None)
    if lazily:
        return
    for path, value in _after_a_still_step(optimizer, parameter).items():
        *attributes, last = path
        for name in attributes:
            optimizer = getattr(optimizer, name)
        getattr(optimizer, last)[parameter] = value


def _after_a_still_step(optimizer: Any, parameter: Tensor) -> dict[Path, Any]:
    with unnoticed(parameter.device):
        for make in fresh_ones(optimizer, parameter):
            standin = nn.Parameter(parameter.detach().clone())
            try:
                fresh = make(standin)
                step(fresh, standin, torch.zeros_like(parameter), graph=False)
            except Exception:  # noqa: S112 - an optimiser of others may raise anything
                continue
            return {path: mapping[standin] for path, mapping in keyed(fresh) if standin in mapping}
    return {}
