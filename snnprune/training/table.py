"""The table at the end of a run: the pruned network beside the dense one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table

from snnprune.common.console import clock
from snnprune.pruning import oversights
from snnprune.pruning.measures import WHAT
from snnprune.report.style import short
from snnprune.runs.summary import Aim, Summary

if TYPE_CHECKING:
    from collections.abc import Callable


def _share(left: int, dense: int) -> str:
    return f"{short(left)} ({left / dense:.1%})" if left != dense else short(left)


def _asked(summary: Summary) -> str:
    if summary.method == "dense":
        return "-"
    if summary.target is None and summary.targets:
        return f"{summary.pruning_rate:.1%}"  # what was asked for stands in rows of its own
    asked = "own stopping" if summary.target is None else f"{summary.target:.1%} asked"
    return f"{summary.pruning_rate:.1%} ({asked})"


def _best(summary: Summary) -> str:
    """Return the best epoch, and what was pruned in it where that is not what the run ended with."""
    pruned = summary.pruned_at_best
    early = pruned is not None and f"{pruned:.1%}" != f"{summary.pruning_rate:.1%}"
    return f"{summary.best_epoch} of {summary.epochs}" + (f", {pruned:.1%} pruned" if early else "")


ROWS: tuple[tuple[str, Callable[[Summary], str]], ...] = (
    ("test accuracy, last epoch", lambda s: f"{s.accuracy:.2%}"),
    ("best epoch on validation", _best),
    ("test accuracy, best epoch", lambda s: f"{s.accuracy_at_best:.2%}"),
    ("weights pruned", _asked),
    ("weights left", lambda s: _share(s.weights_left, s.weights_dense)),
    ("MACs a sample", lambda s: _share(s.macs_left, s.macs_dense)),
    ("training time", lambda s: clock(s.seconds)),
)


def shortfall(summary: Summary) -> str | None:
    """Return a sentence if the target was missed, None if it was reached or there is none."""
    advice = "give it more with --train.epochs"
    sentences = [
        f"whether the target of {WHAT[measure]} is reached is not known: no batch was measured"
        if aim.pruned is None
        else oversights.shortfall(
            aim.pruned, aim.asked, summary.epochs, advice, WHAT[measure], measure=measure
        )
        for measure, aim in _aims(summary).items()
    ]
    return "; ".join(filter(None, sentences)) or None


def _aims(summary: Summary) -> dict[Any, Aim]:
    """Return all targets of a run, by measure."""
    weights = {} if summary.target is None else {"weights": Aim(summary.target, summary.pruning_rate)}
    return weights | (summary.targets or {})


def _pruned(summary: Summary, measure: str) -> str:
    aim = (summary.targets or {}).get(measure)
    if aim is None:
        return "-"
    return "not measured" if aim.pruned is None else f"{aim.pruned:.1%} ({aim.asked:.1%} asked)"


def comparison(summaries: list[Summary]) -> Table:
    """Return a table with one column for each of ``summaries``, which have the same data set and model."""
    first = summaries[0]
    table = Table(title=f"{first.model} on {first.dataset}", title_justify="left")
    table.add_column("")
    for summary in summaries:
        table.add_column(summary.method, justify="right")
    for name, value in ROWS:
        table.add_row(name, *(value(summary) for summary in summaries))
    for measure in dict.fromkeys(m for s in summaries for m in s.targets or {} if m != "weights"):
        table.add_row(f"pruned of the {WHAT[measure]}", *(_pruned(s, measure) for s in summaries))
    table.add_section()
    for name in first.layers:
        table.add_row(f"weights of {name}", *(_layer(summary, name) for summary in summaries))
    table.add_section()
    for name in first.neurons_left:
        table.add_row(f"neurons of {name}", *(_neurons(summary, name) for summary in summaries))
    return table


def _layer(summary: Summary, name: str) -> str:
    layer = summary.layers.get(name)
    return "-" if layer is None else _share(layer.left, layer.dense)


def _neurons(summary: Summary, name: str) -> str:
    counts = summary.neurons_left.get(name)
    return "-" if counts is None else f"{counts[0]} of {counts[1]}"
