"""Pruning by a score that needs no activity."""

from __future__ import annotations

from typing import ClassVar, Literal, Unpack

from snnprune.config.schema import MethodConfig
from snnprune.pruning.aims import ScoredAimOptions, ScoredAims
from snnprune.pruning.criterion import Criterion
from snnprune.pruning.lowest import Lowest, Schedule
from snnprune.pruning.method import CriterionMethod

Unit = Literal["synapses", "neurons", "both"]
UNITS: tuple[Unit, ...] = ("synapses", "neurons", "both")


class ByScore(ScoredAims, CriterionMethod):
    """Prunes the units with the lowest scores, until the target is reached.

    Args:
        target: share of all weights to prune.
        schedule: "gradual" (Zhu and Gupta 2017) or "one-shot" (Han et al. 2015).
        start: epoch, from 0, of the first gradual decision; 1, as for DPAP in a short run.
        finish: epoch of the last gradual decision, or of the single one; None: half of the run, as for DPAP.
        unit: "synapses" of all layers but the output; "neurons" and channels; or "both": channels of
            convolutions, neurons and synapses of linear layers, as DPAP does.
        criterion: scores units in place of one that ``criterion_class`` makes, where the method is
            ``swappable``.
        aims: further targets, and how they are distributed: the options of `ScoredAims`.

    Attributes:
        criterion_class: the criterion that scores units.
        swappable: whether another criterion may score in its place.

    Raises:
        ValueError: no target, a value outside its range, or a criterion for a method that is its own.
        TypeError: ``criterion`` is no `Criterion`.
    """

    criterion_class: ClassVar[type[Criterion]]
    swappable: ClassVar[bool] = True
    rule: Lowest
    formerly: ClassVar[tuple[str, ...]] = ("CriterionMethod",)

    def __init__(
        self,
        target: float | None = MethodConfig.target,
        *,
        schedule: Schedule = "gradual",
        start: int = 1,
        finish: int | None = None,
        unit: Unit = "synapses",
        criterion: Criterion | None = None,
        **aims: Unpack[ScoredAimOptions],
    ) -> None:
        if criterion is not None and not isinstance(criterion, Criterion):
            raise TypeError(f"criterion must be a Criterion, came {criterion!r:.80}")
        if criterion is not None and not self.swappable:
            raise ValueError(
                f"{type(self).__name__} is made for the scores of its own {self.criterion_class.__name__}: "
                "leave criterion out, or give it to a method that only ranks, such as magnitude"
            )
        if unit not in UNITS:
            raise ValueError(f"unit is one of {list(UNITS)}, came '{unit}'")
        ScoredAims.__init__(self, target, **aims)
        self.need()
        CriterionMethod.__init__(
            self,
            self.criterion_class() if criterion is None else criterion,
            Lowest(schedule, start, finish),
            target=self.targets,
            neurons=unit != "synapses",
            synapses=unit != "neurons",
            convolutions=unit == "synapses",
        )
