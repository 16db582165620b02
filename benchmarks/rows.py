"""The rows of the table of `speed.py`: which figure is to reach what."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from contest import INFER, TRAIN, ratio
from limit import NAME as LIMIT
from whole import DENSE, PRUNED
from workloads import BARE, DPAP, FUSED_SURROGATES, PLAIN, REMOVED, WORKLOADS

SETTINGS = ("default", "tuned")  # of the allocator

Measured = dict[str, Any]
"""Of one workload: {"seconds": {contender: {"train": [...], "infer": [...]}}, "peak": {contender: bytes}}."""


Value = Callable[[Measured], "float | None"]


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
        figure: what it is.
        workload: of what.
        of: the figure of what was measured there, None where that cannot be measured.
        reach: at most this much, with the default and with the tuned allocator; None is only reported.
    """

    figure: str
    workload: str
    of: Value
    reach: tuple[float, float] | None = None

    def value(self, measured: Measured | None) -> float | None:
        """Return the figure, None where its workload was not measured."""
        return None if measured is None else self.of(measured)


def step(name: str, what: str = TRAIN) -> Value:
    """A contender's time in units of SpikingJelly's."""
    return lambda measured: ratio(measured["seconds"][name][what], measured["seconds"][PLAIN][what])


def _pruner(measured: Measured) -> float | None:
    """What the pruner adds to a step, as a share of the step with it."""
    return 1 - ratio(measured["seconds"][BARE][TRAIN], measured["seconds"][DPAP][TRAIN])


def _fastest(measured: Measured) -> float | None:
    """The step in units of SpikingJelly's fastest fused surrogate, which is another than the paper's."""
    others = [measured["seconds"][name][TRAIN] for name in FUSED_SURROGATES if name in measured["seconds"]]
    return max(ratio(measured["seconds"][DPAP][TRAIN], other) for other in others) if others else None


def _memory(measured: Measured) -> float | None:
    peaks = measured["peak"]
    return peaks[DPAP] / peaks[PLAIN] if peaks[DPAP] and peaks[PLAIN] else None


def _whole(measured: Measured) -> float | None:
    own, other = ([run["seconds"] for run in measured[name]] for name in (PRUNED, DENSE))
    return statistics.median(own) / statistics.median(other)


def _limit(measured: Measured) -> float | None:
    return ratio(measured[LIMIT], measured[PLAIN])


FLOOR = "convolutions and matrix products alone, without neurons"
UNPRUNED, GONE = "training step, DPAP on, nothing pruned yet", "training step, half of all units removed"
SHARE, LOOK = "the pruner's share of its own step", "inference, half of all units removed"
FASTEST = "training step, beside SpikingJelly's fastest fused surrogate"
PEAK, WHOLE = (
    "peak memory above the model, nothing pruned yet",
    "whole training, data and validation included",
)

ROWS = (
    Row(UNPRUNED, "mnist", step(DPAP), (0.32, 0.40)),
    Row(UNPRUNED, "nmnist", step(DPAP), (0.32, 0.40)),
    Row(UNPRUNED, "mnist-direct", step(DPAP), (0.28, 0.36)),
    Row(UNPRUNED, "cifar10", step(DPAP), (0.80, 0.80)),
    Row(UNPRUNED, "sew", step(DPAP)),
    Row(UNPRUNED, "gesture", step(DPAP)),
    *(Row(FLOOR, f"limit {name}", _limit) for name in WORKLOADS),
    *(Row(FASTEST, name, _fastest) for name in WORKLOADS),
    Row(GONE, "mnist", step(REMOVED), (0.15, 0.20)),
    Row(GONE, "nmnist", step(REMOVED), (0.15, 0.20)),
    Row(GONE, "cifar10", step(REMOVED), (0.30, 0.30)),
    Row(GONE, "sew", step(REMOVED)),
    Row(GONE, "gesture", step(REMOVED)),
    Row(SHARE, "mnist", _pruner, (0.03, 0.03)),
    Row(SHARE, "nmnist", _pruner, (0.03, 0.03)),
    Row(LOOK, "mnist", step(REMOVED, INFER), (0.19, 0.25)),
    Row(LOOK, "nmnist", step(REMOVED, INFER), (0.19, 0.25)),
    *(Row(PEAK, name, _memory, (0.5, 0.5)) for name in ("mnist", "nmnist", "cifar10", "sew", "gesture")),
    Row(WHOLE, "whole", _whole, (0.30, 0.40)),
)


def report(results: dict[str, dict[str, Measured]]) -> str:
    """Return all that was measured as text with Markdown tables.

    Args:
        results: what was measured, by allocator setting ("default", "tuned") and workload.
    """
    settings = [name for name in SETTINGS if name in results]
    parts = [table(results, settings)]
    for name in settings:
        found = results[name]
        parts.append(f"Medians of a training step in seconds, {name} allocator:\n\n{seconds(found)}")
        memory = found["bandwidth"]
        parts.append(
            f"Fused LIF layer, forward and backward, {name} allocator: {memory['layer'] / 1e9:.1f} of "
            f"{memory['copy'] / 1e9:.1f} GB/s that a copy reaches ({memory['share']:.0%})"
        )
        for run, took in (found.get("whole") or {}).items():
            accuracy = ", ".join(f"{one['accuracy']:.2%}" for one in took)
            spans = ", ".join(f"{one['seconds']:.0f} s" for one in took)
            parts.append(f"Whole training, {name} allocator, {run}: {spans}; test accuracy {accuracy}")
    machines = {str(r["machine"]) for found in results.values() for r in found.values() if "machine" in r}
    return "\n\n".join([*parts, *machines])


def table(results: dict[str, dict[str, Measured]], settings: list[str]) -> str:
    """Return the figures, and what they were to reach."""
    head = " | ".join(f"{name} | reach" for name in settings)
    lines = [f"| figure | network | {head} |", "| --- | --- |" + " ---: | ---: |" * len(settings)]
    for row in ROWS:
        values = {name: row.value(results[name].get(row.workload)) for name in settings}
        if any(value is not None for value in values.values()):
            name = row.workload.removeprefix("limit ")
            title = WORKLOADS[name].what if name in WORKLOADS else "conv-snn, N-MNIST"
            cells = [_cell(row, values[name], SETTINGS.index(name)) for name in settings]
            lines.append(f"| {row.figure} | {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def seconds(found: dict[str, Measured]) -> str:
    """Return the median seconds of every contender's training step."""
    measured = {name: of["seconds"] for name, of in found.items() if name in WORKLOADS}
    contenders = list(dict.fromkeys(one for of in measured.values() for one in of))
    lines = [f"| network | {' | '.join(contenders)} |", "| --- |" + " ---: |" * len(contenders)]
    for name, of in measured.items():
        cells = [f"{statistics.median(of[one][TRAIN]):.4f}" for one in contenders]
        lines.append(f"| {WORKLOADS[name].what} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(row: Row, value: float | None, setting: int) -> str:
    reach = "-" if row.reach is None else f"{row.reach[setting]:.2f}"
    if value is None:
        return f"- | {reach}"
    missed = row.reach is not None and value > row.reach[setting]
    return f"{value:.3f}{' (missed)' if missed else ''} | {reach}"
