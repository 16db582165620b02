"""The survival function (DPAP, equations 12-17) and its steering towards a target."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import torch

from snnprune.pruning.normalisation import in_unit_range, known, quantile
from snnprune.pruning.rule import FINISH, Candidates, Rule, lowest
from snnprune.pruning.solver import ROUNDING
from snnprune.pruning.state import SCORES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from snnprune.pruning.clock import Clock
    from snnprune.pruning.normalisation import Normalisation
    from snnprune.pruning.rule import LayerKind
    from snnprune.pruning.state import Axes


EPSILON: Mapping[LayerKind, float] = {"conv": 0.65, "linear": 1.5}
"""The authors' thresholds, from their public code; the paper gives none."""

STAIRS: Mapping[LayerKind, float] = {"conv": 12.0, "linear": 13.0}
"""The authors' eta, from the same code, whose exponent is a staircase: int((e - e0) / eta)."""

ETA = 20.0
"""eta of equation 16 as it is printed, where the exponent is continuous. [reading] Between a staircase of
13 epochs and a continuous decay of 20, the sum of all strengths is the same (20.9 in 300 epochs)."""

GROWTH_CONV = 5.0  # equation 14
GROWTH_LINEAR = 2.0  # equation 15
NORMALISATION: Normalisation = "percentile"  # of the authors' code
MARGIN = 0.2  # on the scale of delta: units that tie at u = 0 are pruned after about 2.4 eta


@dataclass(frozen=True)
class Schedule:
    """The constants of time in one run.

    Attributes:
        start: first epoch, from 0, that ends with a decision (e0).
        eta: number of epochs in which the strength of a decision falls to 1 / e.
        beta: survival at the start.
        gamma: decay of survival per decision.
        stairs: whether the exponent is rounded down to a whole number, as in the authors' code.
    """

    start: int
    eta: float
    beta: float
    gamma: float
    stairs: bool = False

    def strength(self, epoch: int) -> float:
        """Return exp(-(e - e0) / eta), the factor of dF in equation 16."""
        passed = (epoch - self.start) / self.eta
        return math.exp(-math.floor(passed + ROUNDING) if self.stairs else -passed)

    def total(self, epoch: int, decisions: int) -> float:
        """Return S, the sum of the strengths of the next ``decisions`` decisions, corrected for gamma.

        A unit with survival F and constant delta < 0 is pruned within them iff delta < -F / S.
        """
        return sum(self.strength(epoch + k) / self.gamma ** (k + 1) for k in range(decisions))


@dataclass(frozen=True)
class Constants:
    """The constants of time for a run of ``epochs`` epochs; runs of other lengths scale them.

    eta and start scale with the length of the run. beta scales with S, so that beta / S, and with it the
    effect of epsilon, is the same at any length.

    Attributes:
        start: 5, as in the authors' code; at least 1 in a scaled run, so that no decision is based on the
            traces of an untrained network.
        eta: number of epochs in which decisions decay. [reading] None: `ETA`; with neither a target nor an
            epsilon of one's own the authors' `STAIRS`, by the kind of layer.
        beta: 10, the survival that equation 17 starts from.
        gamma: 0.999.
        epochs: 300, the length of the run for which these values hold; None: never scale.
    """

    start: int = 5
    eta: float | None = None
    beta: float = 10.0
    gamma: float = 0.999
    epochs: int | None = 300

    def schedule(self, epochs: int, stairs: LayerKind | None = None) -> Schedule:
        """Return the constants of time of a run of ``epochs`` epochs.

        Args:
            epochs: length of the run.
            stairs: kind of layer whose staircase is taken where there is no eta; None: the continuous decay.
        """
        steps = self.eta is None and stairs is not None
        eta = self.eta if self.eta is not None else ETA if stairs is None else STAIRS[stairs]
        own = Schedule(self.start, eta, self.beta, self.gamma, steps)
        if self.epochs is None or epochs == self.epochs:
            return own
        ratio = epochs / self.epochs
        scaled = replace(own, start=max(1, round(self.start * ratio)), eta=eta * ratio)
        total = scaled.total(scaled.start, max(epochs - scaled.start, 1))
        return replace(scaled, beta=self.beta * total / own.total(own.start, self.epochs - own.start))


class SurvivalFunction(Rule):
    """Prunes units permanently when their survival falls below zero.

    After each epoch e >= start, with u the normalised score in [0, 1]::

        delta = 2 u - epsilon                                          (12, 13)
        dF    = delta + C if delta >= 0 else delta                     (14, 15)
        F    <- gamma F + exp(-(e - start) / eta) dF,  from F = beta   (16, 17)

    With a target, epsilon is solved again after each epoch (see `steer`), so that the target is reached at
    ``FINISH`` of the run. No epoch prunes more than its part of the units still to be pruned. The lowest F is
    pruned first; ties go by the magnitude of the weights.

    Args:
        epsilon: the paper's fixed threshold, used without a target. None: the authors', by the kind of layer.
        growth_conv: C in convolutions, 5.
        growth_linear: C in fully connected layers, 2.
        constants: the constants of time.
        normalisation: name of what makes u of scores (`snnprune.pruning.normalisation`); "percentile" is the
            authors'. u is clipped to [0, 1].

    Raises:
        ValueError: the normalisation is unknown.

    Examples:
        >>> import torch
        >>> from snnprune.dpap import SurvivalFunction
        >>> from snnprune.pruning import Candidates, Clock
        >>> score, alive = torch.tensor([1.0, 2.0, 3.0]), torch.ones(3, dtype=torch.bool)
        >>> candidates = Candidates("neurons/fc", "neuron", "linear", score, alive, weight=score)
        >>> rule = SurvivalFunction(normalisation="rank")
        >>> rule.decide(candidates, Clock(epochs=300, epoch=5))  # all are alive still
        tensor([True, True, True])
        >>> rule.state["neurons/fc"]["survival"]  # 9.99 + 2 u - 1.5, and C = 2 more where that is a gain
        tensor([ 8.4900,  9.4900, 12.4900])
    """

    axes: ClassVar[Mapping[str, Axes]] = {"survival": SCORES}
    epsilon: float | None = None

    def __init__(
        self,
        epsilon: float | None = None,
        growth_conv: float = GROWTH_CONV,
        growth_linear: float = GROWTH_LINEAR,
        constants: Constants | None = None,
        normalisation: Normalisation = NORMALISATION,
    ) -> None:
        known(normalisation)
        if epsilon is not None:  # else the state of a run that reaches a target says nothing of it
            self.epsilon = epsilon
        self.growth = {"conv": growth_conv, "linear": growth_linear}
        self.constants = constants or Constants()
        self.normalisation = normalisation
        self._begins: dict[str, float] = {}  # beta of the last decision on each

    def normalise(self, score: Tensor, alive: Tensor) -> Tensor | None:
        """Return u in [0, 1], None where all scores tie (see `in_unit_range`)."""
        return in_unit_range(self.normalisation, score, alive)

    def survival(self, candidates: Candidates, schedule: Schedule) -> Tensor:
        """Return F of ``candidates``, beta at first."""
        if candidates.key not in self.state:
            self.state[candidates.key] = {"survival": torch.full_like(candidates.score, schedule.beta)}
        return self.state[candidates.key]["survival"]

    def decides(self, clock: Clock) -> bool:
        """Tell whether pruning has begun."""
        return super().decides(clock) and clock.epoch >= self.constants.schedule(clock.epochs).start

    def schedule(self, candidates: Candidates, clock: Clock) -> Schedule:
        """Return the constants of time for ``candidates``."""
        authors = candidates.to_go is None and self.epsilon is None
        return self.constants.schedule(clock.epochs, candidates.kind if authors else None)

    def decide(self, candidates: Candidates, clock: Clock) -> Tensor:
        """Update F and return which candidates stay alive; of these, others replace those of the lowest F."""
        alive = self._outlast(candidates, clock)
        if not candidates.replaced:
            return alive
        survival = self.state[candidates.key]["survival"]
        return alive & ~lowest(survival, candidates.weight, alive, candidates.replaced)

    def wake(self, key: str, born: Tensor, clock: Clock) -> None:  # noqa: ARG002
        """Let those that come to life begin with F = beta."""
        self.state[key]["survival"][born] = self._begins[key]

    def _outlast(self, candidates: Candidates, clock: Clock) -> Tensor:
        """Update F and return who does not fall below zero."""
        schedule = self.schedule(candidates, clock)
        survival = self.survival(candidates, schedule)
        self._begins[candidates.key] = schedule.beta
        if clock.epoch < schedule.start:
            return candidates.alive
        u = self.normalise(candidates.score, candidates.alive)
        if u is None:
            survival.mul_(schedule.gamma)  # dF = 0: scores that tie prune nothing
            return candidates.alive
        epsilon: float | Tensor | None = EPSILON[candidates.kind] if self.epsilon is None else self.epsilon
        if candidates.to_go is not None:
            epsilon = steer(u, survival, candidates, schedule, clock)
        if epsilon is None:
            return candidates.alive
        delta = 2.0 * u - epsilon
        change = torch.where(delta >= 0, delta + self.growth[candidates.kind], delta)
        survival.mul_(schedule.gamma).add_(change, alpha=schedule.strength(clock.epoch))
        pruned = candidates.alive & (survival < 0)
        if candidates.to_go is not None:
            due, quota = pruned, self._quota(candidates.to_go, schedule, clock)
            pruned = lowest(survival, candidates.weight, due, quota)
            survival[due & ~pruned] = 0.0  # pruned next; below 0 they could recover by equation 14
        return candidates.alive & ~pruned

    def _quota(self, to_go: int, schedule: Schedule, clock: Clock) -> int:
        """Return how many of ``to_go`` to prune now: this decision's part of the remaining strength."""
        total = schedule.total(clock.epoch, decisions_to_finish(schedule, clock))
        return math.ceil(to_go * schedule.total(clock.epoch, 1) / total)


def decisions_to_finish(schedule: Schedule, clock: Clock) -> int:
    """Return the number of decisions, this one included, until `FINISH` of the run; after that 1."""
    last = max(schedule.start, round(FINISH * clock.epochs))
    return min(max(last - clock.epoch + 1, 1), clock.decisions_left)


def steer(
    u: Tensor, survival: Tensor, candidates: Candidates, schedule: Schedule, clock: Clock
) -> Tensor | None:
    """Return the epsilon that reaches the target in time, or None if no decision is left.

    Let S be the strength of the remaining decisions. A unit whose u does not change is pruned within them iff
    2 u + F / S < epsilon. So the share p of the alive units that should be pruned lies below the p-quantile
    of 2 u + F / S. [reading] `MARGIN` is added, because epsilon is solved again in each epoch: without it,
    units that tie would approach 0 ever more slowly and be pruned together at the last decision.

    Args:
        u: normalised scores.
        survival: F, the same shape.
        candidates: the units that are alive, and how many of them to prune.
        schedule: the constants of time.
        clock: the present epoch.
    """
    decisions = decisions_to_finish(schedule, clock)
    if decisions < 1 or candidates.to_go is None:
        return None
    living = (2.0 * u + survival / schedule.total(clock.epoch, decisions))[candidates.alive]
    return quantile(living, min(candidates.to_go / living.numel(), 1.0)) + MARGIN
