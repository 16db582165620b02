"""Taylor: prune what the loss would miss least, to first order.

P. Molchanov, S. Tyree, T. Karras, T. Aila, J. Kautz, "Pruning Convolutional Neural Networks for Resource
Efficient Inference", ICLR 2017, equations 6 to 8; here on the currents that neurons get and send.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch

from snnprune.methods.by_score import ByScore
from snnprune.methods.inputs import at_readers
from snnprune.pruning.criterion import Criterion
from snnprune.pruning.state import WEIGHT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from snnprune.network.topology import Population, Projection
    from snnprune.pruning.rule import UnitKind
    from snnprune.pruning.state import Axes
    from snnprune.pruning.view import View


class TaylorCriterion(Criterion):
    """Scores a synapse and a unit by how much the loss would change without it, to first order.

    The current through a synapse is w x, x the activity before it, and so for one batch, summed over samples,
    time and space::

        sum of current x dL/dcurrent = w dL/dw                               of a synapse
        sum of current x dL/dcurrent = sum over its outgoing w of w dL/dw    of a unit

    The score is the sum over the epoch's batches of the absolute value. No hook and no activity is needed: a
    gradient of a weight already is the sum over everything that its current met.

    [reading] A unit's current is what it sends into the membranes of its readers: without the unit they lack
    just that. The current that it gets would not do: a batch norm behind it makes the sum over its incoming
    weights 0 in every batch. Where no layer reads a unit (channels inside heads), incoming weights are taken.
    [reading] The absolute value is taken for each batch, not for each sample. Gradients are those that the
    optimiser steps with, clipped where they are clipped.
    """

    reads: ClassVar[None] = None
    axes: ClassVar[Mapping[str, Axes]] = {"synapse": WEIGHT, "unit": ("unit",)}
    per_epoch: ClassVar[tuple[str, ...]] = ("synapse", "unit")
    alike: ClassVar[tuple[str, ...]] = ("synapse", "unit")
    comparable: ClassVar[frozenset[UnitKind]] = frozenset({"neuron", "synapse"})

    @torch.no_grad()
    def after_backward(self, view: View) -> None:
        """Add a batch."""
        products: dict[str, Tensor] = {}
        for p in view.topology.projections.values():
            weight = view.model.get_parameter(p.weight)
            if weight.grad is not None:
                products[p.name] = weight.detach() * weight.grad
                self._add(p.name, "synapse", products[p.name])
        for population in view.topology.free():
            sent = at_readers(population, view, products)
            if sent is not None:
                self._add(population.name, "unit", sent)

    def _add(self, owner: str, name: str, product: Tensor) -> None:
        own = self.state.setdefault(owner, {})
        own.setdefault(name, torch.zeros_like(product)).add_(product.abs())

    def synapse_score(self, projection: Projection, view: View) -> Tensor | None:  # noqa: ARG002
        """Return the sum over batches, in the shape of the weight."""
        return self.state.get(projection.name, {}).get("synapse")

    def unit_score(self, population: Population, view: View) -> Tensor | None:  # noqa: ARG002
        """Return the sum over batches, [size]."""
        return self.state.get(population.name, {}).get("unit")


class Taylor(ByScore):
    """Prunes what the loss would miss least, to first order, until the target is reached.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import snnprune
        >>> model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(16, 4)
        >>> pruner = snnprune.Pruner(model, x, snnprune.methods.Taylor(scope="global"), epochs=60)
        >>> same = snnprune.Pruner(model, x, "taylor", epochs=60, scope="global")
    """

    criterion_class: ClassVar[type[Criterion]] = TaylorCriterion
