"""Prune the least important units: as many as a target asks for, at once or gradually."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from snnprune.pruning.rule import FINISH, Candidates, Rule, lowest

if TYPE_CHECKING:
    from torch import Tensor

    from snnprune.pruning.clock import Clock

Schedule = Literal["gradual", "one-shot"]
SCHEDULES: tuple[Schedule, ...] = ("gradual", "one-shot")


class Lowest(Rule):
    """Prunes the units with the lowest scores; ties go by the magnitude of the weights, then by order.

    The target sets how many are pruned, and the schedule sets when. Let s_f be the share that the target asks
    for, with n decisions from ``start`` to ``finish``. Decision t = 1 ... n brings the share pruned to

        s_t = s_f (1 - (1 - t / n)^3)        gradual (Zhu and Gupta 2017, equation 1, from s_i = 0)
        s_t = 0 until t = n, then s_f        one-shot (Han et al. 2015, section 3: train, prune, train on)

    Args:
        schedule: "gradual" or "one-shot".
        start: epoch, from 0, of the first gradual decision.
        finish: epoch of the last gradual decision, or of the single one; None: half of the run. It is never
            later than the last epoch but one, because the pruned network has to be trained further.

    Raises:
        ValueError: the schedule is unknown, or an epoch is below 0.

    Examples:
        >>> from snnprune.pruning import Clock
        >>> from snnprune.pruning.lowest import Lowest
        >>> [Lowest("one-shot").due(Clock(epochs=10, epoch=epoch)) for epoch in (4, 5)]
        [0.0, 1.0]
    """

    def __init__(self, schedule: Schedule = "gradual", start: int = 1, finish: int | None = None) -> None:
        if schedule not in SCHEDULES:
            raise ValueError(f"schedule is one of {list(SCHEDULES)}, came '{schedule}'")
        for name, epoch in (("start", start), ("finish", finish)):
            if epoch is not None and epoch < 0:
                raise ValueError(f"{name} is an epoch, from 0, came {epoch}")
        self.schedule, self.start, self.finish = schedule, start, finish

    def due(self, clock: Clock) -> float:
        """Return (s_t - s_{t-1}) / (s_f - s_{t-1}): this decision's part of what is still to be pruned."""
        last = self.last(clock)
        first = last if self.schedule == "one-shot" else min(self.start, last)
        if clock.decisions_left == 0 or clock.epoch < first:
            return 0.0
        left = max(last - clock.epoch, 0)
        return 1.0 - (left / (left + 1)) ** 3

    def last(self, clock: Clock) -> int:
        """Return the epoch at whose end the target is reached."""
        last = round(FINISH * clock.epochs) if self.finish is None else self.finish
        return min(max(last, self.start), clock.epochs - 2)

    def decide(self, candidates: Candidates, clock: Clock) -> Tensor:  # noqa: ARG002
        """Return the units that stay: all alive but the ``to_go`` and ``replaced`` least important."""
        count = (candidates.to_go or 0) + candidates.replaced
        pruned = lowest(candidates.score, candidates.weight, candidates.alive, count)
        return candidates.alive & ~pruned
