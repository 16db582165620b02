"""What there is to choose from, as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from snnprune import data
from snnprune.config.names import DATASETS, METHODS, MODELS

if TYPE_CHECKING:
    from collections.abc import Iterable

TABLES = {"datasets": DATASETS, "models": MODELS, "methods": METHODS}

KINDS = tuple(TABLES)


def show(kinds: Iterable[str], root: str | None) -> None:
    """Print a table for each of ``kinds``.

    Args:
        kinds: of "datasets", "models", "methods".
        root: the folder to look for data sets in; without one, the folder that SNNPRUNE_DATA names.
    """
    console = Console()
    for kind in kinds:
        console.print(_table(kind, root))


def _table(kind: str, root: str | None) -> Table:
    table = Table(title=kind, title_justify="left", title_style="bold")
    table.add_column("name", no_wrap=True)
    table.add_column("what it is")
    table.add_column("source")
    if kind == "datasets":
        table.add_column("on disk", no_wrap=True)
    for name, entry in TABLES[kind].items():
        row = [name, entry.summary, entry.source]
        if kind == "datasets":
            row.append("yes" if data.where(name, root) else "no")
        table.add_row(*row)
    return table
