"""How much the loss rises when one layer alone is pruned, measured once before the first decision.

As S. Han et al. ("Learning both Weights and Connections for Efficient Neural Networks", NIPS 2015, section
3) and H. Li et al. ("Pruning Filters for Efficient ConvNets", ICLR 2017, section 3.1) choose the share of
each layer, here on samples that are held out of training, and never on test data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from snnprune.common import ranks
from snnprune.pruning.distribution import Sensitive
from snnprune.pruning.rule import lowest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from snnprune.pruning.masks import Masks
    from snnprune.pruning.rule import Candidates
    from snnprune.pruning.view import View

SHARES = (0.5, 0.8, 0.95)
"""Shares of a layer that are pruned for a look: about equal steps in the logarithm of what is left."""


def measured(view: View, candidates: Sequence[Candidates], loss: Callable[[], float]) -> Sensitive:
    """Return the distribution that follows from pruning the lowest shares of each of ``candidates`` alone.

    Each look costs one call of ``loss``. Weights are the same afterwards, bit for bit.

    Args:
        view: the network.
        candidates: all that a method decides on.
        loss: of the network as it is, on samples that are held out.
    """
    before = _agreed(loss())
    rises = {c.key: [_pruned(view, c, share, loss) - before for share in SHARES] for c in candidates}
    return Sensitive(SHARES, rises)


def _pruned(view: View, candidates: Candidates, share: float, loss: Callable[[], float]) -> float:
    """Return the loss without the lowest ``share`` of ``candidates``; at least one stays."""
    count = int(candidates.alive.sum())
    going = min(round(share * count), count - 1)
    alive = candidates.alive & ~lowest(candidates.score, candidates.weight, candidates.alive, going)
    masks = _with(view.masks, candidates, alive)
    state = view.model.state_dict(keep_vars=True)
    kept: dict[str, Tensor] = {key: state[key].detach().clone() for key in masks.factors()}
    try:
        masks.zero(view.model)
        return _agreed(loss())
    finally:
        with torch.no_grad():
            for key, before in kept.items():
                state[key].data.copy_(before)


def _with(masks: Masks, candidates: Candidates, alive: Tensor) -> Masks:
    """Return other masks, in which only ``alive`` of ``candidates`` are."""
    other = masks.after()
    if candidates.unit == "neuron":
        other.keep_units(masks.topology.populations[candidates.name], alive)
    else:
        other.keep_synapses(masks.topology.projections[candidates.name], alive)
    other.refresh()
    return other


def _agreed(loss: float) -> float:
    """Return the number of rank 0, in every process."""
    return ranks.from_first([float(loss)])[0]
