"""Soft pruning: once a neuron has fired often enough, its small weights are held at the lowest value.

Y. Shi, L. Nguyen, S. Oh, X. Liu, D. Kuzum, "A Soft-Pruning Method Applied During Training of Spiking Neural
Networks for In-memory Computing Applications", Frontiers in Neuroscience 13:405, 2019.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from snnprune.methods.spikes import SpikesCriterion
from snnprune.methods.weight_threshold import BelowThreshold
from snnprune.pruning.method import CriterionMethod
from snnprune.pruning.state import WEIGHT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from snnprune.network.topology import Projection
    from snnprune.pruning.state import Axes
    from snnprune.pruning.view import Decision, View

Mode = Literal["soft", "hard"]
MODES: tuple[Mode, ...] = ("soft", "hard")


class DueMagnitude(SpikesCriterion):
    """Scores a synapse by |w|, or by the layer's largest where its neuron has not fired often enough.

    Spikes are counted since the neuron was last due.

    Args:
        spikes: number of spikes after which a neuron is due.
    """

    def __init__(self, spikes: float) -> None:
        self.spikes = spikes

    def synapse_score(self, projection: Projection, view: View) -> Tensor | None:
        """Return the scores, in the shape of the weight."""
        seen = self.state.get(projection.name)
        if seen is None:
            return None
        weight = view.model.get_parameter(projection.weight).detach().abs()
        due = (seen["spikes"] >= self.spikes).view(-1, *(1,) * (weight.ndim - 1))
        return torch.where(due, weight, weight.max())

    def end_epoch(self) -> None:
        """Begin to count anew for neurons that were due."""
        for seen in self.state.values():
            seen["spikes"].mul_(seen["spikes"] < self.spikes)


class SoftPruning(CriterionMethod):
    """Holds the small weights of neurons that have fired often at the lowest value, or removes them.

    A neuron is due once it has fired ``spikes`` times since it was last due. Of its weights, those with |w|
    below ``threshold`` times the largest of the layer are pruned::

        soft   w stays at the lowest value of the layer, with its sign, and learns no more
        hard   w = 0

    **[reading]** The paper was not at hand, and this is from memory. There weights are conductances, whose
    lowest value is above 0; here it is the smallest living |w| of the layer when the decision is taken. The
    network is looked at after each epoch. Soft pruning removes nothing, so rates, targets and compaction know
    nothing of it. The output layer has no neurons that are counted, and keeps its weights.

    Args:
        threshold: share of the largest |w|, in [0, 1).
        spikes: number of spikes after which a neuron is due.
        mode: "soft" or "hard".

    Attributes:
        state: by projection: "held", the weights that are held, 0 where none is.

    Raises:
        ValueError: a share outside [0, 1), less than one spike, or an unknown mode.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import snnprune
        >>> model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(16, 4)
        >>> pruner = snnprune.Pruner(model, x, snnprune.methods.SoftPruning(mode="hard"), epochs=60)
        >>> same = snnprune.Pruner(model, x, "soft-pruning", epochs=60, mode="hard")
    """

    axes: ClassVar[Mapping[str, Axes]] = {"held": WEIGHT}

    def __init__(self, *, threshold: float = 0.1, spikes: float = 500.0, mode: Mode = "soft") -> None:
        if spikes < 1 or mode not in MODES:
            raise ValueError(
                f"spikes is at least 1, and mode is one of {list(MODES)}, came {spikes} and '{mode}'"
            )
        super().__init__(
            DueMagnitude(spikes), BelowThreshold(threshold, start=0), neurons=False, convolutions=True
        )
        self.mode = mode

    @torch.no_grad()
    def after_step(self, view: View) -> None:
        """Count, and put back what is held."""
        super().after_step(view)
        for name, state in self.state.items():
            weight, held = view.model.get_parameter(view.topology.projections[name].weight), state["held"]
            weight.copy_(torch.where(held != 0, held, weight))

    @torch.no_grad()
    def end_epoch(self, view: View, metrics: Mapping[str, float] | None) -> Decision:
        """Remove the small weights, or hold them."""
        decision = super().end_epoch(view, metrics)
        if self.mode == "hard":
            return decision
        values = {}
        for name, stays in decision.synapses.items():
            p = view.topology.projections[name]
            weight, alive = view.model.get_parameter(p.weight).detach(), view.masks.alive(p)
            if bool((alive & ~stays).any()):
                state = self.state.setdefault(name, {"held": torch.zeros_like(weight)})
                living = weight.abs()[alive & (weight != 0)]
                lowest = living.min() if living.numel() else weight.new_zeros(())
                state["held"] = torch.where(alive & ~stays, weight.sign() * lowest, state["held"])
                values[p.weight] = torch.where(state["held"] != 0, state["held"], weight)
        return replace(decision, synapses={}, values=values)
