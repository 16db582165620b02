"""The page of a bench."""

from __future__ import annotations

import math
import shlex
from typing import TYPE_CHECKING, Any

from snnprune.report.bench_files import read_bench
from snnprune.report.page import Block, Number, Page, Section, Table, write
from snnprune.report.picture import draw_all
from snnprune.report.plots import comparison
from snnprune.report.style import short
from snnprune.runs.typed import read_file

if TYPE_CHECKING:
    from pathlib import Path

    from snnprune.report.bench_files import Bench
    from snnprune.report.page import Written

LOSS = 1.0
"""Points of accuracy that a network may lose and still be the smallest variant at the top of the page."""

PICTURES = (comparison.by_rate, comparison.differences, comparison.pareto, comparison.curves)


def write_report(path: Path) -> Written:
    """Write ``report.html`` and ``figures/`` into the folder of a bench.

    Raises:
        UserError: as `read_bench`, or the folder cannot be written.
    """
    bench = read_bench(path)
    return write(bench_page(bench), path / "report.html")


def bench_page(bench: Bench) -> Page:
    """Return the page of ``bench``, and write its pictures."""
    found = bench.comparison
    drawn, missing = draw_all(PICTURES, bench, bench.path / "figures")
    return Page(
        kind="Report of a bench",
        title=f"{found['model']} on {found['dataset']}: the effect of pruning",
        lead=_lead(bench),
        numbers=_numbers(bench),
        remarks=_remarks(bench),
        sections=[
            Section("Accuracy and cost", pictures=drawn, missing=missing),
            Section("Tables", tables=[_table(each) for each in found["tables"]]),
            _how(bench),
        ],
    )


def _lead(bench: Bench) -> str:
    found = bench.comparison
    names = ", ".join(group["name"] for group in bench.pruned) or "nothing else"
    return (
        f"The network {found['model']} was trained on {found['dataset']} for up to {found['epochs']} epochs, "
        f"unpruned and pruned ({names}), each with {_seeds(bench)}, and tested on {found['test_samples']:,} "
        "samples."
    )


def _seeds(bench: Bench) -> str:
    counts = sorted({len(group["seeds"]) for group in bench.groups})
    if counts == [1]:
        return "one seed"
    return f"{counts[0]} seeds" if len(counts) == 1 else f"{counts[0]} to {counts[-1]} seeds"


def _numbers(bench: Bench) -> list[Number]:
    runs = sum(len(group["seeds"]) for group in bench.groups)
    said = [group["measures"]["accuracy"]["verdict"] for group in bench.pruned]
    shown = f"of {len(said)} pruned variants are shown to be"
    return [
        Number("runs", str(runs), "finished runs", f"{len(bench.groups)} variants, {_seeds(bench)}"),
        _unpruned(bench),
        Number("better", str(said.count("better")), f"{shown} more accurate than the unpruned network"),
        Number("worse", str(said.count("worse")), f"{shown} less accurate than the unpruned network"),
        _smallest(bench),
    ]


def _unpruned(bench: Bench) -> Number:
    if bench.dense is None:
        return Number("unpruned", "-", "test accuracy, unpruned", "it was not trained")
    interval = bench.dense["measures"]["accuracy"]["interval"]
    level = f"{bench.comparison['level']:.0%} interval"
    ends = "" if interval["low"] is None else f"{level} {interval['low']:.2f} to {interval['high']:.2f}"
    return Number("unpruned", f"{interval['mean']:.2f}%", "test accuracy, unpruned, mean over seeds", ends)


def _smallest(bench: Bench) -> Number:
    """Return the smallest variant for which both intervals exclude a loss of more than `LOSS` points."""
    label = (
        f"of the weights are left in the smallest variant for which a loss above {LOSS:g} point is excluded"
    )
    safe = [g for g in bench.pruned if _lowest(g) > -LOSS]
    if not safe:
        return Number("smallest", "-", label, "no pruned variant, as far as these runs show")
    least = min(safe, key=lambda g: float(g["measures"]["weights"]["interval"]["mean"]))
    share = 100 - float(least["measures"]["pruned"]["interval"]["mean"])
    left = short(1e3 * float(least["measures"]["weights"]["interval"]["mean"]))
    return Number("smallest", f"{share:.1f}%", label, f"{least['name']}, {left} weights left")


def _lowest(group: dict[str, Any]) -> float:
    """Return the lowest difference in accuracy, in points, that one of the two intervals allows."""
    both = (group["measures"]["accuracy"]["difference"], group.get("bootstrap"))
    lows = [-math.inf if each is None or each["low"] is None else float(each["low"]) for each in both]
    return min(lows)


def _remarks(bench: Bench) -> list[str]:
    found = bench.comparison
    said = [
        f"A variant is called better or worse only if the {found['level']:.0%} interval over seeds and the "
        "one over seeds and test samples both exclude zero. Where no difference is shown, there may still be "
        "one: look at the width of the intervals."
    ]
    said += [f"Left out: {name}. {why}." for name, why in bench.left_out.items()]
    if found["unfinished"]:
        said.append(f"Left out, because unfinished: {', '.join(map(str, found['unfinished']))}.")
    return said


def _table(table: dict[str, Any]) -> Table:
    return Table(
        str(table["title"]),
        [str(cell) for cell in table["header"]],
        [[str(cell) for cell in row] for row in table["rows"]],
        " ".join(map(str, table.get("notes", ()))),
    )


def _how(bench: Bench) -> Section:
    sample, blocks, facts = bench.sample, [], []
    if sample is not None:
        asked = bench.asked
        words = ["snnprune", "bench", "--config", str(sample.path / "config.yaml")]
        for name in ("methods", "targets", "seeds"):
            if asked.get(name):
                words += [f"--{name}", _listed(asked[name])]
        blocks = [
            Block("Command", shlex.join([*words, "--out", "runs/again"])),
            Block(f"Configuration of {sample.path.name}", read_file(sample.path / "config.yaml", str.rstrip)),
        ]
        facts = [
            ["device", sample.summary.device],
            ["commit", sample.summary.git_commit or "an installed package"],
            *([name, version] for name, version in sample.summary.versions.items()),
        ]
    facts.insert(0, ["seeds", ", ".join(str(seed) for seed in _all_seeds(bench))])
    return Section("How it was made, and how to repeat it", facts=facts, blocks=blocks)


def _listed(values: list[Any]) -> str:
    """Return a list as the command line reads it. A single number gets a comma, else it would be a count."""
    words = ["own" if value is None else str(value) for value in values]
    return ",".join(words) if len(words) > 1 else f"{words[0]},"


def _all_seeds(bench: Bench) -> list[int]:
    return sorted({seed for group in bench.groups for seed in group["seeds"]})
