"""Pruning by a score that needs no activity."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from snnprune.config.schema import MethodConfig
from snnprune.pruning.criterion import Criterion
from snnprune.pruning.lowest import Lowest, Schedule
from snnprune.pruning.method import CriterionMethod
from snnprune.pruning.target import Scope, Target, aim, required

if TYPE_CHECKING:
    from collections.abc import Mapping

Unit = Literal["synapses", "neurons", "both"]
UNITS: tuple[Unit, ...] = ("synapses", "neurons", "both")


class ByScore(CriterionMethod):
    """Prunes the units with the lowest scores, until the target is reached.

    Args:
        target: share of all weights to prune.
        structured: with ``unit="both"``, share of the log-survival that channels and neurons contribute.
        target_macs: share of all multiply-accumulates to prune, in place of ``target``.
        layers: shares of single layers by name or glob, within either target (see `Target`).
        scope: "local": all other layers lose the same share; "global": one threshold for all layers.
        floor: smallest share of its synapses that every layer keeps (see `Target`).
        schedule: "gradual" (Zhu and Gupta 2017) or "one-shot" (Han et al. 2015).
        start: epoch, from 0, of the first gradual decision; 1, as for DPAP in a short run.
        finish: epoch of the last gradual decision, or of the single one; None: half of the run, as for DPAP.
        unit: "synapses" of all layers but the output; "neurons" and channels; or "both": channels of
            convolutions, neurons and synapses of linear layers, as DPAP does.
        criterion: scores units in place of one that ``criterion_class`` makes.

    Attributes:
        criterion_class: the criterion that scores units.

    Raises:
        ValueError: no target, or a value outside its range.
        TypeError: ``criterion`` is no `Criterion`.
    """

    criterion_class: ClassVar[type[Criterion]]
    formerly: ClassVar[tuple[str, ...]] = ("CriterionMethod",)

    def __init__(
        self,
        target: float | None = MethodConfig.target,
        *,
        structured: float = MethodConfig.structured,
        target_macs: float | None = None,
        layers: Mapping[str, float] | None = None,
        scope: Scope = Target.scope,
        floor: float = Target.floor,
        schedule: Schedule = "gradual",
        start: int = 1,
        finish: int | None = None,
        unit: Unit = "synapses",
        criterion: Criterion | None = None,
    ) -> None:
        if criterion is not None and not isinstance(criterion, Criterion):
            raise TypeError(f"criterion must be a Criterion, came {criterion!r:.80}")
        if unit not in UNITS:
            raise ValueError(f"unit is one of {list(UNITS)}, came '{unit}'")
        super().__init__(
            self.criterion_class() if criterion is None else criterion,
            Lowest(schedule, start, finish),
            target=required(
                aim(target, target_macs, structured=structured, layers=layers, scope=scope, floor=floor)
            ),
            neurons=unit != "synapses",
            synapses=unit != "neurons",
            convolutions=unit == "synapses",
        )
