"""The page of one run."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import numpy as np

from snnprune.common.statistics import Interval, bootstrap_difference
from snnprune.pruning.measures import WHAT
from snnprune.report import sizes
from snnprune.report.page import Block, Number, Page, Section, Table, write
from snnprune.report.picture import draw_all
from snnprune.report.plots import (
    confusion,
    fan_in,
    firing,
    learning,
    maps,
    operations,
    populations,
    recording,
    survival,
)
from snnprune.report.style import short
from snnprune.runs.reading import read_run
from snnprune.runs.summary import BY_EVENTS, SIDES
from snnprune.runs.typed import read_file

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from snnprune.report.page import Written
    from snnprune.report.picture import Missing, Picture
    from snnprune.runs.reading import Run
    from snnprune.runs.summary import Synops

    Maker = Callable[[Run], Picture | Missing | None]

SECTIONS: dict[str, tuple[str, Sequence[Maker]]] = {
    "Learning and pruning": ("", (learning.accuracy, learning.by_rate, learning.weights_left)),
    "What was pruned, and why": ("", (survival.survival, fan_in.fan_in, maps.neurons, maps.synapses)),
    "What the network does": (
        "",
        (
            populations.populations,
            firing.firing,
            operations.operations,
            confusion.confusion,
            recording.recording,
        ),
    ),
}
"""Pictures of each part of the page, in order."""


def write_report(path: Path) -> Written:
    """Write ``report.html`` and ``figures/`` into the folder of a finished run.

    Raises:
        UserError: as `read_run`, or the folder cannot be written.
    """
    run = read_run(path).read_all()
    return write(run_page(run), path / "report.html")


def run_page(run: Run) -> Page:
    """Return the page of ``run``, and write its pictures."""
    summary, interval = run.summary, sampled_difference(run)
    return Page(
        kind="Report of a run",
        title=f"{summary.model} on {summary.dataset}, {run.method}",
        lead=_lead(run),
        numbers=_numbers(run, interval),
        remarks=_remarks(run, interval),
        sections=[*_pictures(run), _layers(run), _how(run)],
    )


def _lead(run: Run) -> str:
    summary = run.summary
    begin = (
        f"The network {summary.model} was trained on {summary.dataset} for {summary.epochs} epochs "
        f"with seed {summary.seed}"
    )
    if not run.prunes:
        return f"{begin}. Nothing was pruned."
    aims = {"weights": summary.target} if summary.target is not None else {}
    aims |= {measure: aim.asked for measure, aim in (summary.targets or {}).items()}
    said = " and ".join(f"{rate:.0%} of all {WHAT[measure]}" for measure, rate in aims.items())
    asked = f"towards a target of {said}" if said else "by its own stopping rule"
    twin = "" if run.twin is None else " Its unpruned twin was trained with the same other settings."
    return f"{begin}, and pruned during training with {run.method}, {asked}.{twin}"


def _numbers(run: Run, interval: Interval | None) -> list[Number]:
    accuracy = Number("accuracy", f"{run.summary.accuracy:.2%}", "test accuracy", _samples(run))
    return [accuracy, _difference(run, interval), *sizes.shares(run.summary), _operations(run), *_aims(run)]


def _samples(run: Run) -> str:
    """Return on how many samples, and of which epoch's network, the accuracy was measured."""
    epoch = run.summary.returned_to_epoch
    network = "last epoch" if epoch is None else f"epoch {epoch}, to which the method went back"
    return network if run.predictions is None else f"{len(run.predictions.labels):,} samples, {network}"


def _difference(run: Run, interval: Interval | None) -> Number:
    if run.twin is None:
        return Number(
            "at-best",
            f"{run.summary.accuracy_at_best:.2%}",
            "test accuracy at the epoch with the best validation accuracy",
            f"epoch {run.summary.best_epoch}",
        )
    points = 100 * (run.summary.accuracy - run.twin.summary.accuracy)
    note = f"twin {run.twin.summary.accuracy:.2%}"
    if interval is not None and interval.low is not None and interval.high is not None:
        note += f"; {100 * interval.low:+.1f} to {100 * interval.high:+.1f} with other test samples"
    return Number("difference", f"{points:+.2f}", "points against the unpruned twin", note)


def sampled_difference(run: Run) -> Interval | None:
    """Return the difference in accuracy to the twin, with an interval from resampling the test samples.

    None if the predictions of one of the two are missing, or are of other samples.
    """
    if run.predictions is None or run.twin is None or run.twin.predictions is None:
        return None
    ours, others = run.predictions, run.twin.predictions
    if not np.array_equal(ours.labels, others.labels):
        return None
    return bootstrap_difference(ours.hits[None], others.hits[None])


def _operations(run: Run) -> Number:
    rows = operations.by_layer(run.summary.synops).values()
    masked, dense = (sum(row[column] for row in rows) for column in ("masked", "dense"))
    return Number(
        "operations",
        f"{masked / dense:.1%}" if dense else "-",
        "of the synaptic operations are left",
        f"{short(masked)} of {short(dense)} a sample",
    )


def _aims(run: Run) -> list[Number]:
    """Return the targets of another measure than weights."""
    return [
        Number(
            f"target-{measure}",
            "-" if aim.pruned is None else f"{1 - aim.pruned:.1%}",
            f"of the {WHAT[measure]} are left",
            f"{1 - aim.asked:.1%} asked; in the last epoch of training",
        )
        for measure, aim in (run.summary.targets or {}).items()
        if measure != "weights"
    ]


def _remarks(run: Run, interval: Interval | None) -> list[str]:
    said = []
    if interval is not None and run.prunes:
        said.append(
            "The interval says how much the difference would vary with other test samples; it "
            + ("excludes" if interval.excludes_zero else "includes")
            + " zero. It does not cover other seeds, since there is one run of each network: snnprune bench "
            "compares over seeds."
        )
    elif run.prunes:
        said.append("This is one run with one seed; snnprune bench compares over seeds.")
    return said


def _pictures(run: Run) -> list[Section]:
    folder, sections = run.path / "figures", []
    for title, (text, makers) in SECTIONS.items():
        drawn, missing = draw_all(makers, run, folder)
        if drawn or missing:
            sections.append(Section(title, [text] if text else [], drawn, missing=missing))
    return sections


def _layers(run: Run) -> Section:
    summary = run.summary
    rows = sizes.rows(summary)
    left, dense = summary.weights_left, summary.weights_dense
    rows.append(["all", f"{dense:,}", f"{left:,}", f"{1 - left / dense:.1%}", ""])
    tables = [Table("Weights and neurons", sizes.HEAD, rows)]
    tables.append(_operations_table(summary.synops))
    return Section("Layer by layer", tables=tables)


def _operations_table(counted: Synops) -> Table:
    by_layer = operations.by_layer(counted)
    rows = [
        [name, *(f"{row[column]:,.0f}" for column in operations.COLUMNS)] for name, row in by_layer.items()
    ]
    rows.append(
        ["all", *(f"{sum(row[column] for row in by_layer.values()):,.0f}" for column in operations.COLUMNS)]
    )
    by_events = _by_events(counted)
    rows += by_events
    rows.append(["energy, nJ", *(f"{counted.energy_pj[c] / 1e3:,.1f}" for c in operations.COLUMNS)])
    constants = counted.constants_pj
    note = (
        f"{operations.MEANING} Energy of the arithmetic: {constants['accumulate']} pJ for an accumulate and "
        f"{constants['mac']} pJ for a multiply-accumulate (45 nm), without memory and leakage."
        + (f" {BY_EVENTS}" if by_events else "")
    )
    return Table("Synaptic operations a sample", ["layer", *operations.COLUMNS], rows, note)


def _by_events(counted: Synops) -> list[list[str]]:
    """Return the row of the operations by events, or none where nothing differs or nobody counted them."""
    found = counted.by_events
    if found is None or all(found[column] == counted[column] for column in operations.COLUMNS):
        return []
    return [["all, by events", *(f"{found[c] + counted.macs[c]:,.0f}" for c in operations.COLUMNS)]]


def _recording(taken: dict[str, float] | None) -> list[list[str]]:
    """Return a row with the time of one recording in each network, none for runs that did not measure it."""
    if taken is None:
        return []
    times = [f"{SIDES.get(name, name)} {milliseconds:.2f} ms" for name, milliseconds in taken.items()]
    return [["one recording, one thread", ", ".join(times)]]


def _how(run: Run) -> Section:
    summary = run.summary
    config = run.path / "config.yaml"
    command = f"snnprune train --config {shlex.quote(str(config))} --out runs/again"
    facts = [
        ["seed", str(summary.seed)],
        ["device", summary.device],
        ["time, all epochs", f"{summary.seconds:,.0f} s"],
        ["commit", summary.git_commit or "an installed package"],
        *([name, version] for name, version in summary.versions.items()),
        ["peak memory", f"{summary.machine.peak_memory_mb:,.0f} MB"],
        ["threads", str(summary.machine.threads)],
        *_recording(summary.machine.recording_ms),
    ]
    return Section(
        "How it was made, and how to repeat it",
        ["The same machine, versions and number of threads give the same numbers, bit for bit."],
        facts=facts,
        blocks=[Block("Command", command), Block("Configuration", read_file(config, str.rstrip))],
    )
