"""The tables of a comparison: text in rows and columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from snnprune.bench.comparison import BY_KEY, OPEN, costs
from snnprune.common.statistics import LEVEL
from snnprune.pruning.oversights import misses
from snnprune.runs.summary import BY_EVENTS, SIDES

if TYPE_CHECKING:
    from snnprune.bench.comparison import Comparison, Group, Speed
    from snnprune.common.statistics import Interval

NONE = "-"


@dataclass(frozen=True)
class Table:
    """Text in rows and columns, with notes for the reader.

    Attributes:
        key: its subject in one word.
        title: its title in one line.
        header: header of each column; the first column names the rows.
        rows: rows with one string for each column.
        notes: sentences below the table.
    """

    key: str
    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def tables(comparison: Comparison) -> list[Table]:
    """Return all tables of a comparison."""
    return [
        _accuracy(comparison),
        _size(comparison),
        _operations(comparison),
        _speeds(comparison),
        _machine(comparison),
        _layers(comparison),
    ]


# --- what is shown


def _accuracy(comparison: Comparison) -> Table:
    header = (
        "", "seeds", "accuracy (%)", "difference (points)", "over seeds and samples", "against dense",
        "pruned (%)", "weights left (k)",
    )  # fmt: skip
    rows = []
    for group in comparison.groups:
        entry = group.measures["accuracy"]
        rows.append(
            (
                group.name,
                str(len(group.seeds)),
                spread(entry.interval, 2),
                between(entry.difference, 2, signed=True),
                between(group.bootstrap, 2, signed=True),
                entry.verdict or NONE,
                *(_cell(group, key) for key in ("pruned", "weights")),
            )
        )
    notes = [
        f"Mean and {LEVEL:.0%} interval (Student, over seeds); accuracy of the last epoch's network on "
        f"{comparison.test_samples} test samples. The difference to the dense network is paired by seed; its "
        "second interval resamples seeds and test samples (paired bootstrap). A difference is called better "
        "or worse only if both intervals exclude zero.",
        *(
            f"Pareto front over accuracy and {BY_KEY[measure].title}: {', '.join(comparison.pareto[cost])}."
            for cost, measure in costs(comparison.groups).items()
        ),
        "Fronts are of means.",
    ]
    missed = [
        f"{group.name} ({100 * group.reached:.1f} %)"
        for group in comparison.groups
        if group.target is not None
        and group.reached is not None
        and misses(group.reached, group.target, group.measure)
    ]
    if missed:
        notes.append(
            f"These missed the target, so what was pruned differs from the others: {', '.join(missed)}; "
            "the log of a run says why."
        )
    if comparison.unfinished:
        notes.append(f"Left out, because unfinished: {', '.join(comparison.unfinished)}.")
    if comparison.left_out:
        notes.append(
            f"Left out, because their files cannot be used: {', '.join(comparison.left_out)}; "
            "comparison.json says why."
        )
    title = f"{comparison.model} on {comparison.dataset}, {comparison.epochs} epochs"
    return Table("accuracy", title, header, tuple(rows), tuple(notes))


KINDS = {"dense": "dense", "masked": "alive", "compact": "compact"}
"""Columns of measures that are counted three times: ending of the measure's key, and name in a table."""


def _size(comparison: Comparison) -> Table:
    keys = ["weights_dense", "weights", "weights_compact", "macs_dense", "macs", "macs_compact"]
    units = ["weights (k)", "MACs (M)"]
    if all("bytes_masked" in group.measures for group in comparison.groups):
        keys += [f"bytes_{kind}" for kind in KINDS]
        units.append("weights (kB)")
    names = [f"{unit} {kind}" for unit in units for kind in KINDS.values()]
    return _counted(
        "size",
        "Size of the network",
        comparison,
        dict(zip(keys, names, strict=True)),
        "dense: all weights of the dense network; alive: those that are not pruned; compact: those of the "
        "compact network, in which pruned synapses between surviving units are zeros, and units whose output "
        "is not used are removed. MACs are of one sample over all its time steps, with or without spikes. "
        "Kilobytes are of weights at 32 bits, each layer in the smallest of three forms (docs/methods.md).",
    )


def _operations(comparison: Comparison) -> Table:
    counted = {"synops": "SynOps (M)", "analogue": "analogue MACs (M)", "energy": "energy (uJ)"}
    columns = {f"{key}_{kind}": f"{name} {KINDS[kind]}" for key, name in counted.items() for kind in KINDS}
    there = {
        key: name
        for key, name in columns.items()
        if any(any(group.measures[key].values.values()) for group in comparison.groups)
    }
    note = ""
    if any(_events_differ(group) for group in comparison.groups):
        there["synops_by_events_masked"] = "SynOps by events (M) alive"
        note = f" {BY_EVENTS}"
    return _counted(
        "operations",
        "Operations of one test sample",
        comparison,
        there,
        "The spikes of the trained network at all synapses of the dense network (dense), at those that are "
        "not pruned (alive), and at those of the compact network (compact). Energy is that of the arithmetic "
        f"only, with constants of 45 nm; it compares networks and does not predict a chip.{note}",
    )


def _events_differ(group: Group) -> bool:
    """Tell whether a cell of the group's recordings holds several events."""
    by_events = group.measures.get("synops_by_events_masked")
    return by_events is not None and by_events.values != group.measures["synops_masked"].values


def _counted(key: str, title: str, comparison: Comparison, columns: dict[str, str], note: str) -> Table:
    """Return a table of the measures in ``columns``, under the names given there."""
    return Table(
        key,
        title,
        ("", *columns.values()),
        tuple((group.name, *(_cell(group, each) for each in columns)) for group in comparison.groups),
        (note,),
    )


def _speeds(comparison: Comparison) -> Table:
    compared = [group for group in comparison.groups if group.speedups]
    shares = list(compared[0].speedups) if compared else []
    return Table(
        "speed",
        "Epochs, against the dense network of the same seed",
        ("", *(f"to {_star(share)}" for share in shares), "learning speed L"),
        tuple(
            (
                group.name,
                *(_speed(group.speedups[share]) for share in shares),
                _speed(group.learning_speed) if group.learning_speed else NONE,
            )
            for group in compared
        ),
        (
            "How many times fewer epochs a method takes to reach a test accuracy: median over seeds, with "
            "the interval of the geometric mean if every seed reaches it. A* is the best accuracy of the "
            "dense network.",
        ),
    )


def _machine(comparison: Comparison) -> Table:
    keys = [
        "training",
        "inference_dense",
        "inference_compact",
        *(f"recording_{kind}" for kind in SIDES),
        "memory",
    ]
    known = [key for key in keys if any(key in group.measures for group in comparison.groups)]
    return Table(
        "machine",
        "Time and memory, as measured",
        ("", *(f"{BY_KEY[key].title} ({BY_KEY[key].unit})" for key in known)),
        tuple((group.name, *(_cell(group, key) for key in known)) for group in comparison.groups),
        (
            "Measured on the machine that ran the cells, with its other programs running; measured_on in "
            "summary.json says how.",
        ),
    )


def _layers(comparison: Comparison) -> Table:
    names = list(comparison.groups[0].layers)
    return Table(
        "layers",
        "Weights pruned in each layer (%)",
        ("", *names),
        tuple(
            (group.name, *(spread(group.layers[n], 1) if n in group.layers else NONE for n in names))
            for group in comparison.groups
        ),
    )


# --- numbers as words


def spread(interval: Interval, digits: int) -> str:
    """Return text such as "95.00 ± 1.20", or the mean alone if there is no interval."""
    mean = f"{interval.mean:.{digits}f}"
    return mean if interval.half is None else f"{mean} ± {interval.half:.{digits}f}"


def between(interval: Interval | None, digits: int, *, signed: bool = False) -> str:
    """Return text such as "-1.20 [-2.00, -0.40]"."""
    if interval is None:
        return NONE
    sign = "+" if signed else ""
    mean = f"{interval.mean:{sign}.{digits}f}"
    if interval.low is None or interval.high is None:
        return mean
    return f"{mean} [{interval.low:{sign}.{digits}f}, {interval.high:{sign}.{digits}f}]"


def _cell(group: Group, key: str) -> str:
    if key not in group.measures:
        return NONE
    return spread(group.measures[key].interval, BY_KEY[key].digits)


def _star(share: float) -> str:
    return "A*" if share == 1 else f"{share:g} A*"


def _speed(speed: Speed) -> str:
    median = NONE if speed.ratio is None else f"{speed.ratio:.2f}"
    if speed.low is None or speed.high is None:
        return f"{median} ({speed.verdict})"
    verdict = "" if speed.verdict == OPEN else f", {speed.verdict}"
    return f"{median} [{speed.low:.2f}, {speed.high:.2f}]{verdict}"
