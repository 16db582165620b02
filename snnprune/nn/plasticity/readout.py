"""Labels for units that learnt without any: each unit answers for the class to which it responds most."""

from __future__ import annotations

import torch
from torch import Tensor

MEMORY = 4000.0
"""Samples: ten for each of 400 units. While 20,000 digits are learnt, what a unit answers to changes."""


class Responses:
    """Counts how much each unit responds to each class, and makes the weights of a readout of it.

    A unit's label is the class with its highest mean number of spikes for a sample; the lower class where
    two are equal. One that has never fired has none. The readout of class k is the mean of its units::

        out[k, j] = 1 / n_k where unit j has label k, else 0            n_k the number of units of label k

    so that the largest output is the class whose units fire most on average. Source: Diehl and Cook 2015,
    section 2.5. **[reading]** They stop learning before they label. Here units learn on, so that a count
    loses the share 1 / ``memory`` with each sample that is added: what a unit answered to before it changed
    counts for little.

    Args:
        classes: number of classes K.
        units: number of units N.
        memory: number of samples in which a count falls to 1 / e; None: it stays.

    Examples:
        >>> import torch
        >>> from snnprune.nn.plasticity.readout import Responses
        >>> seen = Responses(2, 3)
        >>> seen.add(torch.tensor([[4.0, 1.0, 0.0], [0.0, 3.0, 0.0]]), torch.tensor([0, 1]))
        >>> seen.weights()
        tensor([[1., 0., 0.],
                [0., 1., 0.]])
    """

    def __init__(self, classes: int, units: int, memory: float | None = MEMORY) -> None:
        self.kept = 1.0 if memory is None else 1.0 - 1.0 / memory
        self.spikes = torch.zeros(classes, units, dtype=torch.float64)
        self.samples = torch.zeros(classes, dtype=torch.float64)

    def add(self, spikes: Tensor, labels: Tensor) -> None:
        """Add a batch: spikes [B, N] of each unit, and the samples' classes [B]."""
        labels = labels.cpu()
        self.spikes.mul_(self.kept ** len(labels))
        self.samples.mul_(self.kept ** len(labels))
        self.spikes.index_add_(0, labels, spikes.detach().cpu().double())
        self.samples.index_add_(0, labels, torch.ones(len(labels), dtype=torch.float64))

    def weights(self) -> Tensor:
        """Return the weights of the readout, [K, N]."""
        rates = (self.spikes / self.samples.unsqueeze(1)).nan_to_num(0.0)
        own = torch.zeros_like(rates).scatter_(0, rates.argmax(0, keepdim=True), 1.0) * (rates.sum(0) > 0)
        return (own / own.sum(1, keepdim=True).clamp(min=1)).float()
