"""The survival function (DPAP, equations 12-17) and its steering towards a target."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from snnprune.methods.dpap.normalisation import NORMALISATIONS, Normalisation, quantile
from snnprune.pruning.rule import FINISH, Candidates, Rule, lowest
from snnprune.pruning.state import SCORES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from snnprune.pruning.clock import Clock
    from snnprune.pruning.state import Axes


EPSILON = 0.65  # of the authors' code; the paper gives none
GROWTH_CONV = 5.0  # equation 14
GROWTH_LINEAR = 2.0  # equation 15
MARGIN = 0.2  # on the scale of delta: units that tie at u = 0 die after about 2.4 eta


@dataclass(frozen=True)
class Schedule:
    """The constants of time in one run.

    Attributes:
        start: first epoch, from 0, whose end brings a decision (e0).
        eta: epochs in which the strength of a decision falls to 1 / e.
        beta: survival at the start.
        gamma: decay of survival per decision.
    """

    start: int
    eta: float
    beta: float
    gamma: float

    def strength(self, epoch: int) -> float:
        """Return exp(-(e - e0) / eta), the factor of dF in equation 16."""
        return math.exp(-(epoch - self.start) / self.eta)

    def total(self, epoch: int, decisions: int) -> float:
        """Return S, the sum of the strengths of the next ``decisions`` decisions, corrected for gamma.

        A unit with survival F and constant delta < 0 dies within them iff delta < -F / S.
        """
        return sum(self.strength(epoch + k) / self.gamma ** (k + 1) for k in range(decisions))


@dataclass(frozen=True)
class Constants:
    """The constants of time for a run of ``epochs`` epochs; others scale them to keep their meaning.

    eta and start scale with the length; beta scales with S, so that beta / S, and with it what an epsilon
    means, is the same at any length.

    Attributes:
        start: 5, as in the authors' code; at least 1 in a scaled run, so that traces of an untrained
            network decide nothing.
        eta: 20. [reading] The paper gives none; the authors' staircase of 12 epochs decays like a
            continuous 20.
        beta: 10, the survival that equation 17 starts from.
        gamma: 0.999.
        epochs: 300, the run that these are for; None: never scale.
    """

    start: int = 5
    eta: float = 20.0
    beta: float = 10.0
    gamma: float = 0.999
    epochs: int | None = 300

    def schedule(self, epochs: int) -> Schedule:
        """Return the constants of time of a run of ``epochs`` epochs."""
        own = Schedule(self.start, self.eta, self.beta, self.gamma)
        if self.epochs is None or epochs == self.epochs:
            return own
        ratio = epochs / self.epochs
        scaled = Schedule(max(1, round(self.start * ratio)), self.eta * ratio, self.beta, self.gamma)
        total = scaled.total(scaled.start, max(epochs - scaled.start, 1))
        beta = self.beta * total / own.total(own.start, self.epochs - own.start)
        return Schedule(scaled.start, scaled.eta, beta, self.gamma)


class SurvivalFunction(Rule):
    """Units die for good when their survival falls below zero.

    After each epoch e >= start, with u the normalised score in [0, 1]::

        delta = 2 u - epsilon                                          (12, 13)
        dF    = delta + C if delta >= 0 else delta                     (14, 15)
        F    <- gamma F + exp(-(e - start) / eta) dF,  from F = beta   (16, 17)

    With a target, epsilon is solved anew after each epoch (see `steer`) so that the share still to go is
    dead by ``FINISH`` of the run, and no epoch kills more than its part of what is to go: lowest F first,
    ties by the magnitude of the weights.

    Args:
        epsilon: the paper's fixed threshold, used where there is no target. 0.65 is the authors'.
        growth_conv: C in convolutions, 5.
        growth_linear: C in fully connected layers, 2.
        constants: of time.
        normalisation: "percentile", "min-max" or "rank".

    Raises:
        ValueError: no such normalisation.

    Examples:
        >>> import torch
        >>> from snnprune.dpap import SurvivalFunction
        >>> from snnprune.pruning import Candidates, Clock
        >>> score, alive = torch.tensor([1.0, 2.0, 3.0]), torch.ones(3, dtype=torch.bool)
        >>> candidates = Candidates("neurons/fc", "neuron", "linear", score, alive, weight=score)
        >>> rule = SurvivalFunction(normalisation="rank")
        >>> rule.decide(candidates, Clock(epochs=300, epoch=5))  # all are alive still
        tensor([True, True, True])
        >>> rule.state["neurons/fc"]["survival"]  # 9.99 + 2 u - 0.65, and C = 2 more where that is a gain
        tensor([ 9.3400, 12.3400, 13.3400])
    """

    axes: ClassVar[Mapping[str, Axes]] = {"survival": SCORES}

    def __init__(
        self,
        epsilon: float = EPSILON,
        growth_conv: float = GROWTH_CONV,
        growth_linear: float = GROWTH_LINEAR,
        constants: Constants | None = None,
        normalisation: Normalisation = "percentile",
    ) -> None:
        if normalisation not in NORMALISATIONS:
            raise ValueError(f"normalisation is one of {sorted(NORMALISATIONS)}, came '{normalisation}'")
        self.epsilon = epsilon
        self.growth = {"conv": growth_conv, "linear": growth_linear}
        self.constants = constants or Constants()
        self.normalise = NORMALISATIONS[normalisation]

    def survival(self, candidates: Candidates, schedule: Schedule) -> Tensor:
        """Return F of ``candidates``, beta at first."""
        if candidates.key not in self.state:
            self.state[candidates.key] = {"survival": torch.full_like(candidates.score, schedule.beta)}
        return self.state[candidates.key]["survival"]

    def decide(self, candidates: Candidates, clock: Clock) -> Tensor:
        """Move F and return who is alive."""
        schedule = self.constants.schedule(clock.epochs)
        survival = self.survival(candidates, schedule)
        if clock.epoch < schedule.start:
            return candidates.alive
        u = self.normalise(candidates.score, candidates.alive)
        if u is None:
            survival.mul_(schedule.gamma)  # dF = 0: scores that tie prune nothing
            return candidates.alive
        epsilon: float | Tensor | None = self.epsilon
        if candidates.to_go is not None:
            epsilon = steer(u, survival, candidates, schedule, clock)
        if epsilon is None:
            return candidates.alive
        delta = 2.0 * u - epsilon
        change = torch.where(delta >= 0, delta + self.growth[candidates.kind], delta)
        survival.mul_(schedule.gamma).add_(change, alpha=schedule.strength(clock.epoch))
        dying = candidates.alive & (survival < 0)
        if candidates.to_go is not None:
            spared = dying
            dying = lowest(survival, candidates.weight, dying, self._quota(candidates.to_go, schedule, clock))
            survival[spared & ~dying] = 0.0  # next in line: below 0 equation 14 would bring them back to life
        return candidates.alive & ~dying

    def _quota(self, to_go: int, schedule: Schedule, clock: Clock) -> int:
        """Return how many of those to go may die now: this decision's part of the strength that is left."""
        total = schedule.total(clock.epoch, decisions_to_finish(schedule, clock))
        return math.ceil(to_go * schedule.total(clock.epoch, 1) / total)


def decisions_to_finish(schedule: Schedule, clock: Clock) -> int:
    """Return how many decisions a target has from this one on: up to `FINISH`, then one at a time."""
    last = max(schedule.start, round(FINISH * clock.epochs))
    return min(max(last - clock.epoch + 1, 1), clock.decisions_left)


def steer(
    u: Tensor, survival: Tensor, candidates: Candidates, schedule: Schedule, clock: Clock
) -> Tensor | None:
    """Return the epsilon at which those still to go die in time, or None where no decision is left.

    With S the strength of the decisions left, a unit whose u stays put dies within them iff
    2 u + F / S < epsilon: the share p of the living that should die is below the p-quantile of 2 u + F / S.
    [reading] `MARGIN` is added: solved anew each epoch without it, units that tie would come ever nearer to
    0 and die together at the last decision.

    Args:
        u: normalised scores.
        survival: F, the same shape.
        candidates: who is alive, and how many of them should die.
        schedule: constants of time.
        clock: when.
    """
    decisions = decisions_to_finish(schedule, clock)
    if decisions < 1 or candidates.to_go is None:
        return None
    living = (2.0 * u + survival / schedule.total(clock.epoch, decisions))[candidates.alive]
    return quantile(living, min(candidates.to_go / living.numel(), 1.0)) + MARGIN
