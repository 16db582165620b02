"""Adaptive threshold: small weights are pruned below a threshold that follows the firing of their neuron.

W. Guo, M. E. Fouda, H. E. Yantir, A. M. Eltawil, K. N. Salama, "Unsupervised Adaptive Weight Pruning for
Energy-Efficient Neuromorphic Systems", Frontiers in Neuroscience 14:598876, 2020.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch

from snnprune.config.schema import MethodConfig
from snnprune.methods.by_score import ByScore
from snnprune.methods.spikes import SpikesCriterion

if TYPE_CHECKING:
    from torch import Tensor

    from snnprune.network.topology import Projection
    from snnprune.pruning.criterion import Criterion
    from snnprune.pruning.view import View

LEAST, MOST = 0.1, 10.0
"""Bounds of a neuron's firing as a multiple of the layer's mean: a silent one keeps a threshold."""


class AdaptiveThresholdCriterion(SpikesCriterion):
    """Scores a synapse by |w| over the threshold of its neuron.

    With n_j the spikes of neuron j in the epoch, as a multiple of the mean over the living neurons of its
    layer, kept in [0.1, 10], and the threshold theta_j = c n_j^power::

        score[j, i] = |w[j, i]| / n_j^power         |w| < theta_j  where  score < c

    so that one c for all, which the target sets, is a threshold for each neuron. A neuron's score is the sum
    over its synapses.

    **[reading]** The equations of the paper were not at hand. Known is that the threshold follows each neuron
    and the time, so that neurons which fire little keep their inputs. The power is ours. c rises with the
    schedule, and n_j is counted anew in each epoch.

    Args:
        power: how much a threshold follows the firing; 0: not at all, which is magnitude.
    """

    per_epoch: ClassVar[tuple[str, ...]] = ("spikes",)

    def __init__(self, power: float = 0.5) -> None:
        self.power = power

    def synapse_score(self, projection: Projection, view: View) -> Tensor | None:
        """Return the scores, in the shape of the weight."""
        seen = self.state.get(projection.name)
        if seen is None:
            return None
        weight = view.model.get_parameter(projection.weight).detach().abs()
        living = view.masks.rows(projection)
        spikes = seen["spikes"].abs()
        mean = spikes[living].mean() if bool(living.any()) else spikes.new_zeros(())
        firing = (spikes / mean).clamp(LEAST, MOST) if mean > 0 else torch.ones_like(spikes)
        return weight / firing.pow(self.power).view(-1, *(1,) * (weight.ndim - 1))

    def neuron_score(self, projection: Projection, alive: Tensor, view: View) -> Tensor | None:  # noqa: ARG002
        """Return the sum over the synapses, [post]; pruned weights are zero."""
        score = self.synapse_score(projection, view)
        return None if score is None else score.flatten(1).sum(1)


class AdaptiveThreshold(ByScore):
    """Prunes the weights that are smallest beside the firing of their neuron, until the target is reached.

    Args:
        target: share of all weights to prune.
        power: how much a threshold follows the firing.
        options: those of `ByScore`.

    Raises:
        ValueError: a negative power.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import snnprune
        >>> model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(16, 4)
        >>> pruner = snnprune.Pruner(model, x, snnprune.methods.AdaptiveThreshold(power=1.0), epochs=60)
        >>> same = snnprune.Pruner(model, x, "adaptive-threshold", epochs=60, power=1.0)
    """

    criterion_class: ClassVar[type[Criterion]] = AdaptiveThresholdCriterion

    def __init__(
        self, target: float | None = MethodConfig.target, *, power: float = 0.5, **options: Any
    ) -> None:
        if power < 0:
            raise ValueError(f"power is at least 0, came {power}")
        super().__init__(target, criterion=AdaptiveThresholdCriterion(power), **options)
