"""The page of an inspection: what the recordings of a folder are like, and what is odd."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from snnprune.common.console import lasting, legible
from snnprune.data.events.statistics import pooled, spread
from snnprune.report.inspection_tables import by_class, name_of
from snnprune.report.page import Number, Page, Section, write
from snnprune.report.picture import draw_all
from snnprune.report.plots.events import Kind, events, means

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from snnprune.data.events.inspection import Inspection
    from snnprune.data.events.oddities import Odd
    from snnprune.report.page import Written

MOST_NAMED = 200
"""Most odd recordings that a page names."""

LEGEND = (
    "Of each class, left: the mean of its recordings, ON in blue and OFF in orange. Right: events over time, "
    "mean of the recordings, and from their tenth to their ninetieth percentile; one that has ended counts "
    "as silent. Below: the recording whose number of events is the median of the class, in equal spans of "
    "time, each with its beginning."
)

MOST_CARDS = 12
"""Most classes that are shown one by one: a picture of each takes up to a quarter of a megabyte."""

MOST_MEANS = 120
"""Most classes whose mean frames are shown."""

DETAIL = ((2, 128), (8, 64), (MOST_CARDS, 36))
"""Most pixels a side of a frame, by the number of classes: all pictures together stay below a page's size."""


def write_inspection(found: Inspection, odd: Sequence[Odd], title: str, path: Path) -> Written:
    """Write the page to ``path``.

    Args:
        found: what was found.
        odd: its odd recordings.
        title: the name of the folder or file.
        path: the page.

    Raises:
        UserError: it cannot be written.
    """
    unusable, remarked = ([one for one in odd if one.usable is usable] for usable in (False, True))
    sections = [Section("By class", tables=[by_class(found)])]
    sections += _named("Cannot be trained on", unusable, found)
    sections += _named("Odd, and can be trained on", remarked, found)
    return write(
        Page(
            kind="Inspection of recordings",
            title=legible(title),
            lead="What the recordings are like before anything is trained on them. Nothing was changed.",
            numbers=_numbers(found, unusable, remarked),
            sections=[*sections, *_classes(found)],
        ),
        path,
    )


def _numbers(found: Inspection, unusable: Sequence[Odd], remarked: Sequence[Odd]) -> list[Number]:
    read = found.numbers()
    middle = spread([one.events for one in read])
    span = spread([float(one.span) for one in read])
    classes = len(found.listing.classes)
    return [
        Number(
            "recordings",
            f"{len(found.looks):,}",
            "recordings",
            f"of {classes:,} class{'es' * (classes != 1)}",
        ),
        Number("unusable", f"{len(unusable):,}", "cannot be trained on"),
        Number("odd", f"{len(remarked):,}", "are odd, and can be trained on"),
        Number("events", f"{middle.median:,.0f}" if middle else "-", "events in the median recording"),
        Number(
            "span",
            lasting(span.median) if span else "-",
            "from the first event to the last, median",
            "sensor {} x {}".format(*found.sensor) if found.sensor else "",
        ),
    ]


def _named(title: str, odd: Sequence[Odd], found: Inspection) -> list[Section]:
    if not odd:
        return []
    left = len(odd) - MOST_NAMED
    text = [f"The first {MOST_NAMED} of {len(odd):,}; the terminal names all."] if left > 0 else []
    facts = [[name_of(one, found), "; ".join(one.said)] for one in odd[:MOST_NAMED]]
    return [Section(title, text, facts=facts)]


def _classes(found: Inspection) -> list[Section]:
    """Return the pictures: a card for each class; with many classes, for the first, and all mean frames."""
    many = len(found.means)
    detail = next((width for most, width in DETAIL if many <= most), DETAIL[-1][1])
    kinds = [_kind(found, label, detail) for label in found.means]
    drawn, missing, text = [], [], [LEGEND]
    if many > MOST_CARDS:
        text.append(f"The first {MOST_CARDS} of {many:,} classes are shown one by one.")
        made = draw_all((means,), kinds[:MOST_MEANS], None)
        drawn, missing = [*made[0]], [*made[1]]
    for kind in kinds[:MOST_CARDS]:
        made = draw_all((events,), kind, None)
        drawn += made[0]
        missing += made[1]
    return [Section("Class by class", text, drawn, missing=missing)] if drawn or missing else []


def _kind(found: Inspection, label: int, detail: int) -> Kind:
    read = [one for one in found.numbers(label) if one.sensor == found.sensor]
    film = found.films.get(label)
    return Kind(
        number=label,
        name=legible(found.listing.classes[label]),
        spans=[one.span for one in read],
        courses=[one.course for one in read],
        mean=pooled(found.means[label], detail),
        film=None if film is None else replace(film, frames=pooled(film.frames, detail)),
    )
