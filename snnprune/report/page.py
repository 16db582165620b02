"""One self-contained HTML page: text, tables and pictures. It loads nothing from the network."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING

from snnprune.common import atomic
from snnprune.common.errors import UserError
from snnprune.common.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from snnprune.report.picture import Drawn, Missing

LARGEST = 3_000_000
"""Most bytes of a page: it still opens at once on a phone, and fits into an e-mail."""


@dataclass(frozen=True)
class Number:
    """One of the numbers at the top of a page.

    Attributes:
        key: its id on the page.
        value: its text.
        label: what it measures.
        note: a value to compare it with, or "".
    """

    key: str
    value: str
    label: str
    note: str = ""


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        title: the line above it.
        head: headers of its columns.
        rows: rows of cells; the first cell is the row's name.
        note: the text below it, or "".
    """

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True)
class Block:
    """Text that is shown verbatim, such as a command or a file.

    Attributes:
        title: the line above it.
        text: its lines.
    """

    title: str
    text: str


@dataclass(frozen=True)
class Section:
    """A part of a page, with its content in this order.

    Attributes:
        title: its heading.
        text: paragraphs.
        pictures: pictures that were drawn.
        tables: tables of numbers.
        facts: pairs of a name and a value.
        blocks: blocks of verbatim text.
        missing: pictures that are not on the page, each with its reason.
    """

    title: str
    text: Sequence[str] = ()
    pictures: Sequence[Drawn] = ()
    tables: Sequence[Table] = ()
    facts: Sequence[Sequence[str]] = ()
    blocks: Sequence[Block] = ()
    missing: Sequence[Missing] = ()


@dataclass(frozen=True)
class Page:
    """A page before it is written.

    Attributes:
        kind: the line above the heading, such as "Report of a run".
        title: its heading.
        lead: one sentence on what was done.
        numbers: the results.
        remarks: remarks on the numbers.
        sections: the sections below.
    """

    kind: str
    title: str
    lead: str
    numbers: Sequence[Number]
    remarks: Sequence[str] = ()
    sections: Sequence[Section] = field(default_factory=list)


def render(page: Page) -> str:
    """Return ``page`` as HTML. Markup in names and files is escaped."""
    import jinja2  # noqa: PLC0415 - the command line answers without it

    here = resources.files("snnprune.report")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (here / name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    footer = f"Written by snnprune {__version__}. This page loads nothing from the network."
    return environment.get_template("page.html.j2").render(**vars(page), footer=footer)


@dataclass(frozen=True)
class Written:
    """A page that was written.

    Attributes:
        path: the path of the page.
        failures: a sentence for each picture that could not be drawn and is not on the page.
    """

    path: Path
    failures: list[str]


def write(page: Page, path: Path) -> Written:
    """Write ``page`` to ``path``, whole or not at all.

    Raises:
        UserError: the folder cannot be written, or the page is larger than `LARGEST`.
    """
    html = render(page)
    size = len(html.encode())
    if size > LARGEST:
        raise UserError(
            f"the page must stay below {LARGEST / 1e6:.0f} MB, and would have {size / 1e6:.1f} MB: look at "
            f"its pictures one by one in {path.parent / 'figures'}"
        )
    atomic.write_text(path, html)
    missing = [each for section in page.sections for each in section.missing]
    return Written(path, [str(each) for each in missing if each.failure])
