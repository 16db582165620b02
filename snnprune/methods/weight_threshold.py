"""Weight threshold: at intervals every synapse below a threshold is removed, and survivors may be quantised.

N. Rathi, P. Panda, K. Roy, "STDP-Based Pruning of Connections and Weight Quantization in Spiking Neural
Networks for Energy-Efficient Recognition", IEEE Transactions on Computer-Aided Design of Integrated Circuits
and Systems 38:668-677, 2019 (first published 2018).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from snnprune.methods.magnitude import MagnitudeCriterion
from snnprune.pruning.method import CriterionMethod
from snnprune.pruning.rule import Rule

if TYPE_CHECKING:
    from torch import Tensor

    from snnprune.pruning.clock import Clock
    from snnprune.pruning.rule import Candidates
    from snnprune.pruning.view import View


class BelowThreshold(Rule):
    """Prunes what scores below a share of the largest score of its layer, every so many epochs.

    Args:
        threshold: the share, in [0, 1).
        start: epoch, from 0, of the first decision.
        every: epochs from one decision to the next.

    Raises:
        ValueError: a share outside [0, 1).

    Examples:
        >>> import torch
        >>> from snnprune.methods.weight_threshold import BelowThreshold
        >>> from snnprune.pruning import Candidates, Clock
        >>> score, alive = torch.tensor([0.3, 0.1, 0.5, 0.9]), torch.tensor([True, True, True, False])
        >>> candidates = Candidates("synapses/fc", "synapse", "linear", score, alive, weight=score)
        >>> BelowThreshold(0.5, start=0).decide(candidates, Clock(epochs=4))
        tensor([ True, False,  True, False])
    """

    def __init__(self, threshold: float, start: int = 1, every: int = 1) -> None:
        if not 0 <= threshold < 1:
            raise ValueError(f"threshold is a share of the largest weight, in [0, 1), came {threshold}")
        self.threshold, self.start, self.every = threshold, start, every

    def due(self, clock: Clock) -> float:
        """Return 1 where a decision is due, and 0 between two."""
        late = clock.epoch - self.start
        return float(late >= 0 and late % self.every == 0 and clock.decisions_left > 0)

    def decide(self, candidates: Candidates, clock: Clock) -> Tensor:
        """Return what is alive and not below the threshold; all that is alive where no decision is due."""
        score, alive = candidates.score, candidates.alive
        if self.due(clock) == 0.0 or not bool(alive.any()):
            return alive
        return alive & (score >= self.threshold * score[alive].max())


class WeightThreshold(CriterionMethod):
    """Removes the synapses whose |w| is below a share of the largest of their layer, at intervals.

    **[reading]** The paper was not at hand, and this is from memory. Its threshold is on weights in [0, 1]
    that STDP has moved towards both ends; here it is a share of the largest living |w| of a layer, so that it
    means the same in every network. An interval is a number of epochs. The largest synapse of each layer
    stays. With ``levels``, living weights lie on as many evenly spaced magnitudes up to the largest of the
    layer throughout the last epoch, after the last decision.

    Args:
        threshold: share of the largest |w|, in [0, 1).
        start: epoch, from 0, of the first decision.
        every: epochs from one decision to the next.
        levels: number of magnitudes above 0 of the survivors; None: they keep their precision.

    Raises:
        ValueError: a share outside [0, 1), a negative epoch, or a number below 1.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import snnprune
        >>> model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(16, 4)
        >>> method = snnprune.methods.WeightThreshold(threshold=0.2, levels=2)
        >>> pruner = snnprune.Pruner(model, x, method, epochs=60)
        >>> same = snnprune.Pruner(model, x, "weight-threshold", epochs=60, threshold=0.2, levels=2)
    """

    def __init__(
        self, *, threshold: float = 0.1, start: int = 1, every: int = 1, levels: int | None = None
    ) -> None:
        if start < 0 or every < 1 or (levels is not None and levels < 1):
            raise ValueError(
                "start is an epoch from 0, and every and levels are at least 1: "
                f"came {start}, {every} and {levels}"
            )
        rule = BelowThreshold(threshold, start, every)
        super().__init__(MagnitudeCriterion(), rule, neurons=False, convolutions=True)
        self.levels = levels

    @torch.no_grad()
    def after_step(self, view: View) -> None:
        """Quantise the survivors, once nothing is left to decide."""
        super().after_step(view)
        if self.levels is None or view.clock.decisions_left > 0:
            return
        for each in self._synapses(view):
            weight = view.model.get_parameter(view.topology.projections[each.name].weight)
            step = each.weight.max() / self.levels
            if step > 0:
                weight.copy_((each.weight / step).round().clamp_(min=1).mul_(step).mul_(weight.sign()))
