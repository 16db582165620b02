"""The part of a method that decides which units are pruned."""

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
"""Share of the run at which a target is reached; the rest of the run trains the pruned network."""


@dataclass(frozen=True)
class Candidates:
    """Units of one kind that a rule decides on together: a population's neurons or a projection's synapses.

    Attributes:
        key: "neurons/" and the population's name, or "synapses/" and the projection's name; names the entry
            of the rule's state.
        unit: "neuron" or "synapse".
        kind: "conv" or "linear": kind of the layer that the units belong to.
        score: importance, any shape.
        alive: bool, the same shape.
        weight: magnitude of each unit's weights, the same shape; breaks ties.
        to_go: how many units this decision should prune (`Rule.due` of all that are still to be pruned), or
            None where there is no target and the rule alone decides.
        replaced: how many this decision prunes on top, because as many others grow.
        price: what each unit costs by a measured target, the same shape; None where there is none.

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
    replaced: int = 0
    price: Tensor | None = None

    @property
    def name(self) -> str:
        """The population's or the projection's name."""
        return self.key.partition("/")[2]


class Rule(Stateful):
    """Decides from scores; its ``state`` holds tensors by the candidates' key and a name.

    Tensors in the shape of the candidates' scores are declared with the axes `SCORES`.

    Examples:
        >>> from snnprune.pruning import Rule
        >>> class BelowZero(Rule):
        ...     def decide(self, candidates, clock):
        ...         return candidates.alive & (candidates.score > 0)
    """

    def due(self, clock: Clock) -> float:  # noqa: ARG002
        """Return the share, in [0, 1], of the units still to be pruned that this decision prunes.

        1 for a rule that spreads pruning over time by itself.
        """
        return 1.0

    def decides(self, clock: Clock) -> bool:
        """Tell whether this decision may prune anything: a look that is taken once waits for it."""
        return clock.decisions_left > 0 and self.due(clock) > 0.0

    def decide(self, candidates: Candidates, clock: Clock) -> Tensor:
        """Return which candidates stay alive: bool, shape of the scores, True only where alive before."""
        raise NotImplementedError

    def wake(self, key: str, born: Tensor, clock: Clock) -> None:
        """Let candidates that come to life begin as those of a first decision do.

        Args:
            key: of the candidates.
            born: bool, shape of the scores.
            clock: the present epoch.
        """


def lowest(first: Tensor, tie: Tensor, among: Tensor, count: int) -> Tensor:
    """Return a bool mask of the ``count`` entries of ``among`` with the lowest ``first``, ties by ``tie``.

    A selection and a stable sort of those that tie at its edge give the same answer on every machine. Scores
    that differ only by rounding are ties (see `rounded`); a score that is no number comes last.
    """
    chosen = torch.zeros_like(among)
    index = among.flatten().nonzero().squeeze(1)
    count = min(count, index.numel())
    if count <= 0:
        return chosen
    score = rounded(first.flatten()[index]).nan_to_num(torch.inf, torch.inf, -torch.inf)
    edge = score.kthvalue(count).values
    below, level = index[score < edge], index[score == edge]
    del score
    level = level[tie.flatten()[level].argsort(stable=True)[: count - len(below)]]
    chosen.view(-1)[below] = True
    chosen.view(-1)[level] = True
    return chosen


def ascending(first: Tensor, tie: Tensor, among: Tensor) -> Tensor:
    """Return the flat indices of the entries of ``among`` in the order in which `lowest` chooses them."""
    index = among.flatten().nonzero().squeeze(1)
    index = index[tie.flatten()[index].argsort(stable=True)]
    score = rounded(first.flatten()[index]).nan_to_num(torch.inf, torch.inf, -torch.inf)
    return index[score.argsort(stable=True)]


def rounded(score: Tensor) -> Tensor:
    """Return ``score`` on a grid of eps^(3/4) of its largest magnitude, as whole numbers.

    Sums over samples that are equal on paper differ in their last digits with the order of the samples. Such
    ties are common, because spikes are few and alike. A permuted batch, or two processes with half a batch
    each, must lead to the same decision. The grid is 2e-12 in float64 and 6e-6 in float32.
    """
    precision = torch.finfo(score.dtype)
    if not score.numel():
        return score.clone()
    largest = torch.stack(score.aminmax()).abs().max()
    if not bool(largest.isfinite()):
        known = score[score.isfinite()]
        largest = known.abs().max() if known.numel() else score.new_ones(())
    return score.div((largest * precision.eps**0.75).clamp_min(precision.tiny)).round_()
