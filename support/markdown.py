"""Markdown tables, as benchmarks and tests of reliability print them for the documents."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def table(head: str, rows: Iterable[Iterable[object]]) -> str:
    """Return a Markdown table.

    Args:
        head: titles of the columns between bars; one that begins with a colon holds text, others numbers.
        rows: cells, as `str` shows them.
    """
    titles = [title.strip() for title in head.split("|")]
    rules = ["---" if title.startswith(":") else "---:" for title in titles]
    lines = [[title.removeprefix(":") for title in titles], rules, *rows]
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in lines)
