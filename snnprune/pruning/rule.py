"""Who dies: the part of a method that decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from snnprune.pruning.state import Stateful

if TYPE_CHECKING:
    from torch import Tensor

    from snnprune.pruning.clock import Clock


UnitKind = Literal["neuron", "synapse"]
LayerKind = Literal["conv", "linear"]

FINISH = 0.5
"""Share of the run at which a target is reached: what is left of it trains what is left of the network."""


@dataclass(frozen=True)
class Candidates:
    """Units of one kind that a rule decides on together: a population's neurons or a projection's synapses.

    Attributes:
        key: "neurons/" and the population's name, or "synapses/" and the projection's; for the rule's state.
        unit: "neuron" or "synapse".
        kind: "conv" or "linear": the layer they belong to.
        score: importance, any shape.
        alive: bool, the same shape.
        weight: magnitude of each unit's weights, the same shape; breaks ties.
        to_go: how many should still die (as far as `Rule.due` lets them now), or None where there is no
            target and the rule alone decides.

    Examples:
        >>> import torch
        >>> from snnprune.pruning import Candidates, Clock
        >>> from snnprune.pruning.lowest import Lowest
        >>> score, alive = torch.tensor([0.3, 0.1, 0.2]), torch.ones(3, dtype=torch.bool)
        >>> candidates = Candidates("neurons/fc", "neuron", "linear", score, alive, weight=score, to_go=2)
        >>> Lowest().decide(candidates, Clock(epochs=10))
        tensor([ True, False, False])
    """

    key: str
    unit: UnitKind
    kind: LayerKind
    score: Tensor
    alive: Tensor
    weight: Tensor
    to_go: int | None = None

    @property
    def name(self) -> str:
        """The population's or the projection's name."""
        return self.key.partition("/")[2]


class Rule(Stateful):
    """Decides from scores; its ``state`` is tensors by the candidates' key and a name.

    Those that are laid out as the candidates are, are declared with the axes `SCORES`.

    Examples:
        >>> from snnprune.pruning import Rule
        >>> class BelowZero(Rule):
        ...     def decide(self, candidates, clock):
        ...         return candidates.alive & (candidates.score > 0)
    """

    def due(self, clock: Clock) -> float:  # noqa: ARG002
        """Return the share, in [0, 1], of what a target still asks for that `to_go` is now.

        1 where the rule spreads its deaths over time by itself.
        """
        return 1.0

    def decide(self, candidates: Candidates, clock: Clock) -> Tensor:
        """Return who is alive after this epoch: bool, never more than before."""
        raise NotImplementedError


def lowest(first: Tensor, tie: Tensor, among: Tensor, count: int) -> Tensor:
    """Return a bool mask of the ``count`` entries of ``among`` with the lowest ``first``, ties by ``tie``.

    Sorting twice and stably keeps the answer the same on every machine, and what differs by rounding alone is
    a tie: see `rounded`.
    """
    chosen = torch.zeros_like(among)
    index = among.flatten().nonzero().squeeze(1)
    count = min(count, index.numel())
    if count <= 0:
        return chosen
    index = index[tie.flatten()[index].argsort(stable=True)]
    index = index[rounded(first.flatten()[index]).argsort(stable=True)]
    chosen.view(-1)[index[:count]] = True
    return chosen


def rounded(score: Tensor) -> Tensor:
    """Return ``score`` on a grid of eps^(3/4) of its largest magnitude, as whole numbers.

    Sums over samples that are equal on paper differ in their last digits with the order of the samples
    (spikes are few and alike, so such ties are common), and a permuted batch, or two processes with half a
    batch each, must come to the same decision. The grid is 2e-12 in float64 and 6e-6 in float32.
    """
    known, precision = score[score.isfinite()], torch.finfo(score.dtype)
    largest = known.abs().max() if known.numel() else score.new_ones(())
    return (score / (largest * precision.eps**0.75).clamp_min(precision.tiny)).round()
