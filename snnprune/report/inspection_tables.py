"""Tables of an inspection, for the terminal and for the page."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from snnprune.common.console import lasting, legible
from snnprune.data.events.reading import format_of
from snnprune.data.events.statistics import FAR, FEWEST, spread
from snnprune.report.page import Table
from snnprune.report.style import short

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from snnprune.data.events.inspection import Inspection
    from snnprune.data.events.oddities import Odd

HEAD = ("class", "files", "events", "span", "events a second", "ON", "formats")

RULES = (
    "Median, and lowest to highest. The span is from the first event to the last. In a class of at least "
    f"{FEWEST} readable recordings, one is odd where its span or its events a second are more than {FAR} "
    f"times the median of the class, or less than 1/{FAR} of it."
)


def by_class(found: Inspection, form: str = "{} ({} to {})") -> Table:
    """Return the numbers of each class, and of all.

    Args:
        found: what was found.
        form: how a median, a lowest and a highest number are written.
    """
    rows = [_row(name, found, label, form) for label, name in enumerate(found.listing.classes)]
    if len(rows) > 1:
        rows.append(_row("all", found, None, form))
    return Table("Recordings by class", HEAD, rows, RULES)


def _row(name: str, found: Inspection, label: int | None, form: str) -> list[str]:
    looks = [look for look in found.looks if label in (None, look.recording.label)]
    read = found.numbers(label)
    rates = [one.rate for one in read if one.rate is not None]
    formats = Counter(format_name(look.recording.path) for look in looks)
    return [
        legible(name),
        f"{len(looks):,}" if len(read) == len(looks) else f"{len(looks):,}, {len(read):,} readable",
        _ranged([one.events for one in read], form, lambda n: f"{n:,.0f}"),
        _ranged([one.span for one in read], form, lasting),
        _ranged(rates, form, short),
        _ranged([one.share for one in read], form, lambda share: f"{share:.2f}"),
        ", ".join(f"{count:,} {form}" for form, count in sorted(formats.items())),
    ]


def _ranged(numbers: Sequence[float], form: str, said: Callable[[float], str]) -> str:
    found = spread(numbers)
    if found is None:
        return "-"
    middle, low, high = said(found.median), said(found.low), said(found.high)
    return middle if low == high else form.format(middle, low, high)


def format_name(path: Path) -> str:
    """Return the name of a file's format, or its ending where the format is not known."""
    known = format_of(path)
    return legible(path.suffix.lower()) or "without ending" if known is None else known.title


def name_of(odd: Odd, found: Inspection) -> str:
    """Return the file of a recording below the folder, and its interval where it is one."""
    one = odd.look.recording
    path = (
        one.path.relative_to(found.listing.folder)
        if one.path.is_relative_to(found.listing.folder)
        else one.path
    )
    if one.start is None and one.end is None:
        return legible(path)
    ends = ("the first event" if one.start is None else one.start, "the last" if one.end is None else one.end)
    return "{} from {} to {}".format(legible(path), *ends)
