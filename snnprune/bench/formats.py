"""A comparison on the screen, in Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from typing import TYPE_CHECKING

import rich.table

from snnprune.bench.comparison import BY_KEY
from snnprune.bench.tables import NONE, tables
from snnprune.common.statistics import LEVEL
from snnprune.runs.typed import csv_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from snnprune.bench.comparison import Comparison, Group, Speed
    from snnprune.bench.tables import Table
    from snnprune.common.statistics import Interval


def screen(table: Table, width: int) -> tuple[rich.table.Table, list[str]]:
    """Return a table for the terminal, without its notes, and the names of the columns that it leaves out.

    Args:
        table: the table to show.
        width: characters in a line of the terminal. Columns that do not fit are left out.
    """
    drawn = rich.table.Table(title=table.title, title_justify="left")
    shown: list[int] = []
    hidden, room = [], width - 1
    for i, name in enumerate(table.header):
        needed = _width(name, [row[i] for row in table.rows])
        if i == 0:
            needed = min(needed, width // 3)  # a longer name takes several lines
        if i == 0 or needed + 3 <= room:  # a border and a space on each side
            shown.append(i)
            room -= needed + 3
            drawn.add_column(name, justify="right" if i else "left", overflow="fold", width=needed)
        else:
            hidden.append(name)
    for row in table.rows:
        drawn.add_row(*(row[i] for i in shown))
    return drawn, hidden


def _width(header: str, cells: Sequence[str]) -> int:
    """Return the width that a column needs: a line may break between words, but not inside a number."""
    parts = [*header.split(), "-"]
    for cell in cells:
        parts += cell.split() if any(letter.isalpha() for letter in cell) else [cell]
    return max(map(len, parts))


def markdown(comparison: Comparison) -> str:
    """Return all tables in Markdown."""
    parts = []
    for table in tables(comparison):
        lines = [
            f"## {table.title}",
            "",
            _piped(table.header),
            _piped(["---", *["---:"] * (len(table.header) - 1)]),
            *(_piped(row) for row in table.rows),
        ]
        parts.append("\n".join([*lines, *(line for note in table.notes for line in ("", _starred(note)))]))
    return "\n\n".join(parts) + "\n"


def _piped(cells: Sequence[str]) -> str:
    return f"| {' | '.join(_starred(cell) for cell in cells)} |"


def _starred(text: str) -> str:
    """Return text in which stars are not Markdown."""
    return text.replace("*", r"\*")


def latex(comparison: Comparison) -> str:
    """Return all tables in LaTeX, for a document that uses booktabs."""
    parts = ["% \\usepackage{booktabs}"]
    for table in tables(comparison):
        label = _slug(f"{comparison.model} {comparison.dataset} {table.key}")
        lines = (
            r"\begin{table}",
            rf"\caption{{{_escaped(' '.join((f'{table.title}.', *table.notes)))}}}",
            rf"\label{{tab:{label}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}",
            r"\toprule",
            _row(table.header),
            r"\midrule",
            *(_row(row) for row in table.rows),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        )
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _slug(text: str) -> str:
    """Return text without LaTeX's special characters: lower-case letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _row(cells: Sequence[str]) -> str:
    return " & ".join(_escaped(cell) for cell in cells) + r" \\"


_SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{",
    "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "*": r"$^*$",
}  # fmt: skip


def _escaped(text: str) -> str:
    """Return text with LaTeX's special characters escaped, and with minus signs before numbers."""
    if text == NONE:
        return "--"
    words = []
    for last, sign, following in zip(f" {text}", text, f"{text[1:]} ", strict=False):
        negative = sign == "-" and last in " [" and following.isdigit()
        words.append("$-$" if negative else _SPECIAL.get(sign, sign))
    return "".join(words)


def tidy(comparison: Comparison) -> str:
    """Return the comparison in CSV, one row for each group and measure."""
    header = (
        "group", "method", "target", "measure", "unit", "seeds", "mean", "low", "high",
        "difference", "difference_low", "difference_high", "verdict",
    )  # fmt: skip
    rows: list[tuple[object, ...]] = []
    for group in comparison.groups:
        named = (group.name, group.method, group.target)
        rows += [(*named, *row) for row in _measured(group)]
    return csv_text(header, rows)


def _measured(group: Group) -> Iterator[tuple[object, ...]]:
    """Yield rows of a group: measure, unit, seeds, mean and ends, those of the difference, verdict."""
    for key, entry in group.measures.items():
        measure = BY_KEY[key]
        ends = (*_ends(entry.interval), *_ends(entry.difference))
        yield (measure.key, measure.unit, len(group.seeds), *ends, entry.verdict)
    if group.bootstrap is not None:
        yield ("accuracy_bootstrap", "%", group.bootstrap.count, *_NOTHING, *_ends(group.bootstrap), "")
    for key, speed in _speeds(group):
        yield (key, "x", len(speed.races), speed.ratio, speed.low, speed.high, *_NOTHING, speed.verdict)
    for name, layer in group.layers.items():
        yield (f"pruned_{name}", "%", layer.count, *_ends(layer), *_NOTHING, "")


def _speeds(group: Group) -> Iterator[tuple[str, Speed]]:
    yield from ((f"speedup_{share:g}", speed) for share, speed in group.speedups.items())
    if group.learning_speed is not None:
        yield "learning_speed", group.learning_speed


_NOTHING = (None, None, None)


def _ends(interval: Interval | None) -> tuple[float | None, ...]:
    return _NOTHING if interval is None else (interval.mean, interval.low, interval.high)


def cells(comparison: Comparison) -> str:
    """Return all numbers of all runs in CSV, one row for each run."""
    header = ("group", "method", "target", "seed", *BY_KEY)
    rows: list[tuple[object, ...]] = []
    for group in comparison.groups:
        for seed in group.seeds:
            there = group.measures
            numbers = (there[key].values[seed] if key in there else None for key in BY_KEY)
            rows.append((group.name, group.method, group.target, seed, *numbers))
    return csv_text(header, rows)


def as_json(comparison: Comparison) -> str:
    """Return the comparison in JSON."""
    units = {key: measure.unit for key, measure in BY_KEY.items()}
    shown = [asdict(table) for table in tables(comparison)]
    return json.dumps(asdict(comparison) | {"level": LEVEL, "units": units, "tables": shown}, indent=1) + "\n"
