"""Look at recordings before anything is trained on them: print what was found, and write a page."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from snnprune.common.console import legible, say
from snnprune.common.errors import UserError
from snnprune.data.events.inspection import inspected
from snnprune.data.events.oddities import oddities
from snnprune.data.events.sources import found
from snnprune.report.inspection_page import write_inspection
from snnprune.report.inspection_tables import by_class, name_of

if TYPE_CHECKING:
    from snnprune.config.schema import DataConfig
    from snnprune.data.events.inspection import Inspection
    from snnprune.data.events.oddities import Odd
    from snnprune.data.events.sources import Found

WIDE = 150
"""Columns of a terminal in which a median and its range stand side by side."""

MOST_ALIKE = 5
"""Odd recordings that the same is said of, before they are only counted."""


def inspect(path: Path, config: DataConfig, out: Path | None) -> bool:
    """Look at every recording at ``path``, print a table and what is odd, and write a page.

    Args:
        path: a folder of recordings, or one recording.
        config: how files are read.
        out: the page; by default in the current folder, named after ``path``.

    Returns:
        Whether all recordings can be trained on.

    Raises:
        UserError: there are no recordings, or the page cannot be written, or not there.
    """
    page = page_of(path) if out is None else out
    _check_place(page, path)
    source = found(path, config)
    looked = _with_bar(source)
    odd = oddities(looked)
    _print(looked, odd, source.title)
    written = write_inspection(looked, odd, path.resolve().name, page)
    for sentence in written.failures:
        sys.stderr.write(f"snnprune: warning: {sentence}\n")
    sys.stdout.write(f"{legible(written.path)}\n")
    return all(one.usable for one in odd)


def page_of(path: Path) -> Path:
    """Return where the page of a folder or a file is written, unless the user says where."""
    return Path(f"{path.resolve().name or 'root'}-inspection.html")


def _check_place(page: Path, path: Path) -> None:
    """Check that the page is not among the recordings, where it would later be taken for one."""
    folder = path if path.is_dir() else path.parent
    if page.resolve().is_relative_to(folder.resolve()):
        raise UserError(
            f"the page would be written to {page.absolute()}, among the recordings, and later be taken for "
            "one of them: give --out FILE in another folder"
        )
    if page.is_dir():
        raise UserError(f"--out must be the file of the page, such as page.html, and {page} is a folder")


def _with_bar(source: Found) -> Inspection:
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    with bar:
        task = bar.add_task("recordings", total=len(source.listing.recordings))
        return inspected(source.listing, source.read, lambda: bar.advance(task))


def _print(looked: Inspection, odd: list[Odd], title: str) -> None:
    console = Console()
    if title:
        say(console, f"read as {title}")
    wide = console.width >= WIDE
    numbers = by_class(looked, *(() if wide else ("{}\n{} to\n{}",)))
    table = Table(title=numbers.title, title_justify="left", title_style="bold", box=SIMPLE)
    for place, head in enumerate(numbers.head):
        justify: Literal["left", "right"] = "right" if 0 < place < len(numbers.head) - 1 else "left"
        table.add_column(head, justify=justify, overflow="fold")
    for row in numbers.rows:
        table.add_row(*map(Text, row))
    console.print(table)
    say(console, numbers.note)
    alike: Counter[str] = Counter()
    for one in odd:
        line = "; ".join(one.said)
        kind = line.replace(str(one.look.recording.path), "")
        alike[kind] += 1
        if alike[kind] <= MOST_ALIKE:
            say(console, f"{name_of(one, looked)} {line}" if one.look.numbers else line)
    for kind, many in alike.items():
        if many > MOST_ALIKE:
            say(console, f"... and {many - MOST_ALIKE:,} more, of which the same is said:{kind}")
    many, bad = len(looked.looks), sum(not one.usable for one in odd)
    say(
        console,
        f"{many:,} recording{'s' * (many != 1)}: {many - bad:,} can be trained on, {bad:,} cannot; "
        f"{len(odd) - bad:,} odd",
    )
