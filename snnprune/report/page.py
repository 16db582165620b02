"""One self-contained HTML page: text, tables and pictures, with nothing to fetch."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING

from snnprune import __version__
from snnprune.common import atomic
from snnprune.common.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from snnprune.report.picture import Drawn, Missing

LARGEST = 3_000_000
"""Bytes of a page: what still opens at once on a phone, and goes through a mail."""


@dataclass(frozen=True)
class Number:
    """One of the numbers at the top of a page.

    Attributes:
        key: its id on the page.
        value: as it is shown.
        label: what it is.
        note: what it is to be compared with, or "".
    """

    key: str
    value: str
    label: str
    note: str = ""


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        title: above it.
        head: of its columns.
        rows: cells, the first of each the row's name.
        note: below it, or "".
    """

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True)
class Block:
    """Text that is shown as it is, such as a command or a file.

    Attributes:
        title: above it.
        text: its lines.
    """

    title: str
    text: str


@dataclass(frozen=True)
class Section:
    """A part of a page, with all that is in it, in this order.

    Attributes:
        title: its heading.
        text: paragraphs.
        pictures: drawn.
        tables: of numbers.
        facts: pairs of a name and a value.
        blocks: of verbatim text.
        missing: pictures that are not there, each with its reason.
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
        kind: what it is the report of.
        title: its heading.
        lead: what was done, in a sentence.
        numbers: the result.
        remarks: what has to be said beside the numbers.
        sections: the rest.
    """

    kind: str
    title: str
    lead: str
    numbers: Sequence[Number]
    remarks: Sequence[str] = ()
    sections: Sequence[Section] = field(default_factory=list)


def render(page: Page) -> str:
    """Return ``page`` as HTML; whatever names and files say stays text."""
    import jinja2  # noqa: PLC0415 - the command line answers without it

    here = resources.files("snnprune.report")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (here / name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    footer = f"Written by snnprune {__version__}. Nothing on this page is fetched."
    return environment.get_template("page.html.j2").render(**vars(page), footer=footer)


@dataclass(frozen=True)
class Written:
    """A page that was written.

    Attributes:
        path: of the page.
        failures: a sentence for each picture that could not be drawn, and that the page does without.
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
            f"the page would have {size / 1e6:.1f} MB, and must stay below {LARGEST / 1e6:.0f} MB: its "
            f"pictures are in {path.parent / 'figures'}, and can be looked at one by one"
        )
    atomic.write_text(path, html)
    missing = [each for section in page.sections for each in section.missing]
    return Written(path, [str(each) for each in missing if each.failure])
