"""The options by which users say what a method has to reach, the same for every method with a target."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - options are read by their types
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, TypedDict, Unpack

from snnprune.config.schema import UNDIVIDED, MethodConfig, Usual
from snnprune.pruning.distribution import SCOPES, Scope
from snnprune.pruning.normalisation import Normalisation  # noqa: TC001 - options are read by their types
from snnprune.pruning.target import Target

if TYPE_CHECKING:
    from snnprune.pruning.measures import Measure

OPTIONS: dict[str, Measure] = {
    "target": "weights",
    "target_macs": "macs",
    "target_synops": "synops",
    "target_energy": "energy",
    "target_latency": "latency",
    "target_bytes": "bytes",
}
"""Options that are targets, with what each is a share of."""


class FurtherTargets(TypedDict, total=False):
    """Options of `Aims` that no method has defaults of its own for."""

    target_macs: float | None
    target_synops: float | None
    target_energy: float | None
    target_latency: float | None
    target_bytes: float | None
    bits: int
    layers: Mapping[str, float] | None
    floor: float


class AimOptions(FurtherTargets, total=False):
    """Options of `Aims` beside the target of weights."""

    scope: Scope


class ScoredAimOptions(AimOptions, total=False):
    """Options of `ScoredAims` beside the target of weights and the normalisation."""

    structured: float
    per_operation: bool | None


class Aims:
    """Options of a method with targets.

    Several targets hold together: the tightest one decides. The usual target of all weights holds only
    where no target is given.

    Args:
        target: share of all weights to prune.
        target_macs: share of all multiply-accumulates to prune.
        target_synops: share of the dense network's synaptic operations to prune, measured while it trains.
        target_energy: share of the energy of the dense network's arithmetic to prune (45 nm,
            `network/synops.py`).
        target_latency: share of the time to prune that the event-driven engine's cost model says the
            synapses take.
        target_bytes: share of the bytes of the dense network's weights to prune, at ``bits``.
        bits: bits of a weight, for ``target_bytes``; 32, as in the files of a run.
        layers: shares of single layers by name or glob, within all targets (see `Target`).
        scope: where the budget goes: "local", "erk", "sensitivity", "global" or "lamp" (see `Target`).
        floor: smallest share of its synapses that every layer keeps (see `Target`).

    Attributes:
        scopes: values of ``scope`` that the method takes.
        targets: what is to be reached, in the order of the options.

    Raises:
        ValueError: a value outside its range.
    """

    scopes: ClassVar[tuple[Scope, ...]] = SCOPES
    targets: tuple[Target, ...]

    def __init__(
        self,
        target: float | None = MethodConfig.target,
        *,
        target_macs: float | None = None,
        target_synops: float | None = None,
        target_energy: float | None = None,
        target_latency: float | None = None,
        target_bytes: float | None = None,
        bits: int = Target.bits,
        layers: Mapping[str, float] | None = None,
        scope: Scope = Target.scope,
        floor: float = Target.floor,
    ) -> None:
        if scope not in self.scopes:
            raise ValueError(f"the scope of this method is one of {list(self.scopes)}, came '{scope}'")
        asked = (target, target_macs, target_synops, target_energy, target_latency, target_bytes)
        rates = {name: rate for name, rate in zip(OPTIONS, asked, strict=True) if rate is not None}
        if isinstance(target, Usual) and len(rates) > 1:
            del rates["target"]
        self.targets = tuple(
            Target(float(rate), UNDIVIDED, OPTIONS[name], layers or {}, scope, floor, bits=bits)
            for name, rate in rates.items()
        )

    def need(self) -> None:
        """Check that there is a target, for a method that does not stop by itself.

        Raises:
            ValueError: there is none.
        """
        if not self.targets:
            raise ValueError("the method does not stop by itself and needs a target, such as target=0.6")


class ScoredAims(Aims):
    """Options of a method with targets that scores units.

    Args:
        target: share of all weights to prune.
        structured: share of the log-survival that channels and neurons contribute.
        normalisation: of the scores of a layer, before they are ranked with those of others: the name of a
            function in `snnprune.pruning.normalisation`. None: the method's own.
        per_operation: under a target of operations or energy, whether importance per operation decides what
            goes. None: where the criterion reads activity (`snnprune.pruning.pricing`).
        aims: options of `Aims`.

    Raises:
        ValueError: a value outside its range.
    """

    def __init__(
        self,
        target: float | None = MethodConfig.target,
        *,
        structured: float = MethodConfig.structured,
        normalisation: Normalisation | None = None,
        per_operation: bool | None = None,
        **aims: Unpack[AimOptions],
    ) -> None:
        super().__init__(target, **aims)
        self.targets = tuple(
            replace(each, structured=structured, normalisation=normalisation, per_operation=per_operation)
            for each in self.targets
        )
