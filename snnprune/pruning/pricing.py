"""What each unit costs under a target of operations or energy, and scores per operation.

To remove a number of operations at the least loss of importance, those go first whose importance per
operation is lowest: a synapse that reads a busy input costs more than one that reads a quiet one.

[reading] Whether a score is divided follows from the score. One that reads activity rises with the input's
rate, and so does the cost: it is divided. |w| does not: the current that a synapse carries is |w| times the
rate, which divided by the rate is |w| again. So it stands for importance per operation as it is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from snnprune.network.runs import summed
from snnprune.network.synops import ACCUMULATE_PJ, MAC_PJ

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import Tensor

    from snnprune.network.runs import Run
    from snnprune.network.topology import Projection
    from snnprune.pruning.measures import Measure
    from snnprune.pruning.rule import Candidates
    from snnprune.pruning.view import View

PRICED: frozenset[Measure] = frozenset({"synops", "energy"})
"""Measures by which every synapse has a cost of its own."""

LEAST = 0.1
"""Smallest price that a score is divided by, as a share of the mean: of an input that hardly fires in one
batch, the price is noise, and no score may become infinite by it."""


def priced(candidates: Sequence[Candidates], measure: Measure, view: View) -> list[Candidates]:
    """Return the candidates, each with what its units cost.

    A neuron costs what its synapses on both sides do, as far as they are alive.

    Args:
        candidates: all that a method decides on.
        measure: one of `PRICED`.
        view: the network, with its traffic.
    """
    each = {p.name: _each(p, measure, view) for p in view.topology.projections.values()}
    found = []
    for c in candidates:
        synapses = c.unit == "synapse"
        price = each[c.name].expand(c.score.shape) if synapses else _of_units(c.name, each, view)
        found.append(replace(c, price=price.to(c.score)))
    return found


def _each(projection: Projection, measure: Measure, view: View) -> Tensor:
    """Return what each synapse costs in a sample, in a shape that can be expanded to the weight's."""
    layer = None if view.traffic is None else view.traffic.layers.get(projection.name)
    device = view.masks.rows(projection).device
    if layer is None or (layer.analogue and measure == "synops"):
        return torch.zeros([1] * len(projection.shape), dtype=torch.float64, device=device)
    joules = MAC_PJ if layer.analogue else ACCUMULATE_PJ
    return layer.each().to(device) * (joules if measure == "energy" else 1.0)


def _of_units(population: str, each: dict[str, Tensor], view: View) -> Tensor:
    total = torch.zeros_like(view.masks.units[population], dtype=torch.float64)
    for p in view.topology.projections.values():
        sides = [(runs, axis) for runs, axis in ((p.outflow, 0), (p.inflow, 1)) if _has(runs, population)]
        if sides:
            cost = (each[p.name] * view.masks.alive(p)).reshape(p.shape[0], p.shape[1], -1).sum(2)
            for runs, axis in sides:
                total += summed(runs, population, cost.sum(1 - axis)).to(total.device)
    return total


def _has(runs: Iterable[Run], population: str) -> bool:
    return any(run.population == population for run in runs)


def relative(candidates: Sequence[Candidates]) -> list[Candidates]:
    """Return the candidates with prices over the mean of all alive units of a kind, none below `LEAST`."""
    found = []
    for c in candidates:
        same = [other for other in candidates if other.unit == c.unit and other.price is not None]
        count = sum(int(other.alive.sum()) for other in same)
        mean = sum(float(_price(other)[other.alive].sum()) for other in same) / max(count, 1)
        price = (_price(c) / mean).clamp_min(LEAST) if mean > 0 else torch.ones_like(c.score)
        found.append(replace(c, price=price))
    return found


def per_price(score: Tensor, price: Tensor) -> Tensor:
    """Return importance per operation; a score below 0 falls with its price, so that the costly go first.

    Examples:
        >>> import torch
        >>> from snnprune.pruning.pricing import per_price
        >>> per_price(torch.tensor([3.0, 3.0, -1.0]), torch.tensor([1.0, 2.0, 2.0]))
        tensor([ 3.0000,  1.5000, -2.0000])
    """
    return torch.where(score > 0, score / price, score * price)


def worth(candidates: Candidates, order: Tensor, count: int) -> int:
    """Return how many of the first in an order cost as much as ``count`` units do on average.

    Args:
        candidates: with prices.
        order: alive units, by flat index, those that go first in front.
        count: of units of the average price.
    """
    prices = _price(candidates).flatten()[order].double()
    if not count or not bool(prices.sum() > 0):
        return count
    gone = prices.cumsum(0)
    first = int(torch.searchsorted(gone, count * float(prices.mean())))
    return min(first + 1, len(order))


def _price(candidates: Candidates) -> Tensor:
    assert candidates.price is not None
    return candidates.price
