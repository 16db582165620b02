"""Variance of contributions: what always says the same is a bias.

A unit whose contribution to its readers does not change from sample to sample is replaced by a constant
without loss, as in J. Sietsma, R. J. F. Dow, "Creating artificial neural networks that generalize", Neural
Networks 4(1), 1991, who remove units of constant output and add it to the biases behind them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch

from snnprune.methods.by_score import ByScore
from snnprune.methods.inputs import at_readers, inputs
from snnprune.pruning.criterion import Criterion
from snnprune.pruning.state import NUMBER
from snnprune.pruning.traces import spiking_trace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from snnprune.network.topology import Population, Projection
    from snnprune.pruning.state import Axes
    from snnprune.pruning.traces import Keep
    from snnprune.pruning.view import Decision, View


class VarianceCriterion(Criterion):
    """Scores a synapse and a unit by the variance of what they contribute, and folds the mean into a bias.

    With S the trace of an input over the epoch's samples, and w the weight that reads it::

        score of a synapse = w^2 Var[S]
        score of a unit    = sum over all w that read it of w^2 Var[S]
        when inputs D of a row die:  bias <- bias + sum over D of w m     m the mean activity per time step

    [reading] Places of a channel behind a flatten are taken as independent. Where no layer reads a unit, its
    own rows are scored. The mean is folded where a linear layer with a bias reads one place at a time: a
    convolution pads its edges, where the bias would be too large, and a layer without a bias has no place for
    it. There the mean is lost, as with any other method.

    Args:
        tau: decay of the trace.
        fold: fold the mean into the bias.
    """

    reads: ClassVar[Keep] = "series"
    axes: ClassVar[Mapping[str, Axes]] = {
        "sum": ("pre",),
        "squares": ("pre",),
        "steps": ("pre",),
        "samples": NUMBER,
        "length": NUMBER,
    }
    per_epoch: ClassVar[tuple[str, ...]] = ("sum", "squares", "steps", "samples", "length")

    def __init__(self, tau: float = 0.5, *, fold: bool = True) -> None:
        self.tau, self.fold = tau, fold

    @torch.no_grad()
    def after_step(self, view: View) -> None:
        """Add a batch of series [T, B, columns]."""
        for p, series in inputs(view):
            own, trace = self.statistics(p, series), spiking_trace(series, self.tau)
            own["sum"].add_(trace.sum(0))
            own["squares"].add_(trace.square().sum(0))
            own["steps"].add_(series.sum((0, 1)))
            own["samples"].add_(series.shape[1])
            own["length"].add_(series.shape[0] * series.shape[1])

    def _products(self, projection: Projection, view: View) -> Tensor | None:
        """Return w^2 Var[S], in the shape of the weight."""
        own = self.state.get(projection.name)
        if own is None or not own["samples"]:
            return None
        mean = own["sum"] / own["samples"]
        variance = (own["squares"] / own["samples"] - mean.square()).clamp_min(0)
        weight = view.model.get_parameter(projection.weight).detach()
        return weight.square() * variance.view(1, -1, *(1,) * (weight.ndim - 2))

    def synapse_score(self, projection: Projection, view: View) -> Tensor | None:
        """Return w^2 Var[S], in the shape of the weight."""
        return self._products(projection, view)

    def unit_score(self, population: Population, view: View) -> Tensor | None:
        """Return the sum over all that reads a unit, [size]."""
        ends = (*view.topology.outgoing(population.name), *view.topology.incoming(population.name))
        found = {p.name: product for p in ends if (product := self._products(p, view)) is not None}
        return at_readers(population, view, found)

    def neuron_score(self, projection: Projection, alive: Tensor, view: View) -> Tensor | None:  # noqa: ARG002
        """Return the sum over incoming synapses, [post], for units whose readers are not recorded."""
        product = self._products(projection, view)
        return None if product is None else product.flatten(1).sum(1)

    @torch.no_grad()
    def make_up(self, decision: Decision, view: View) -> dict[str, Tensor]:
        """Return the biases with the mean of what dies."""
        after, values = view.masks.after(decision.units), {}
        for p in view.topology.projections.values():
            own, bias = self.state.get(p.name), getattr(view.model.get_submodule(p.name), "bias", None)
            if not self.fold or own is None or bias is None or not self._reads_one_place(p, own):
                continue
            stays = after.alive(p)
            if p.name in decision.synapses:
                stays = stays & decision.synapses[p.name]
            gone = view.model.get_parameter(p.weight).detach() * (view.masks.alive(p) & ~stays)
            if gone.any():
                mean = own["steps"] / own["length"]
                values[f"{p.name}.bias" if p.name else "bias"] = bias.detach() + gone @ mean.to(gone.dtype)
        return values

    @staticmethod
    def _reads_one_place(projection: Projection, own: Mapping[str, Tensor]) -> bool:
        """Tell whether an input is one number a time step: of tokens, it would be a sum."""
        if projection.kind != "linear" or not own["samples"]:
            return False
        return projection.positions in {1, round(float(own["length"] / own["samples"]))}


class Variance(ByScore):
    """Prunes what contributes the least variance, folding means into biases, until the target is reached.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import snnprune
        >>> model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(16, 4)
        >>> pruner = snnprune.Pruner(model, x, snnprune.methods.Variance(unit="neurons"), epochs=60)
        >>> same = snnprune.Pruner(model, x, "variance", epochs=60, unit="neurons")
    """

    criterion_class: ClassVar[type[Criterion]] = VarianceCriterion
