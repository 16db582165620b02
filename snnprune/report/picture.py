"""A picture: what it shows, and the files and the data it becomes."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from snnprune.common import atomic
from snnprune.common.errors import UserError, in_one_line
from snnprune.report.style import NIGHT, SETTINGS, WIDTH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Picture:
    """A picture that is yet to be drawn.

    Attributes:
        name: of its files, without an ending.
        title: in a few words.
        caption: what to look for, and what was measured on what; a sentence or three.
        alt: what the picture shows, with its numbers, for who cannot see it.
        draw: returns the figure, drawn under `snnprune.report.style.SETTINGS`.
    """

    name: str
    title: str
    caption: str
    alt: str
    draw: Callable[[], Figure]


@dataclass(frozen=True)
class Missing:
    """A picture that is not on the page.

    Attributes:
        title: of the picture.
        file: of the run's folder, which the picture is made of and which is not there; else "".
        failure: what went wrong while it was drawn; "" where nothing did.
    """

    title: str
    file: str = ""
    failure: str = ""

    def __str__(self) -> str:
        """Say in a sentence why it is not there."""
        if self.file:
            return (
                f"{self.title}: not shown, because the run has no {self.file}. Training writes it; train "
                "again with this version of snnprune, or copy it back."
            )
        return f"{self.title}: not shown, because it could not be drawn ({self.failure})."


@dataclass(frozen=True)
class Drawn:
    """A picture in the form that a page takes.

    Attributes:
        picture: what was drawn.
        day: SVG as a data URI, for a light page.
        night: the same for a dark one.
    """

    picture: Picture
    day: str
    night: str


def canvas(height: float) -> Figure:
    """Return an empty figure, one column wide and ``height`` inches high."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - not pyplot: a script keeps its own state

    return Figure(figsize=(WIDTH, height), layout="constrained")


def draw_all(
    makers: Iterable[Callable[[Any], Picture | Missing | None]], subject: Any, folder: Path
) -> tuple[list[Drawn], list[Missing]]:
    """Draw what each of ``makers`` shows of ``subject``; return the pictures, and those that are not there.

    A picture that fails costs itself alone: never the page, and never the run behind it.

    Args:
        makers: each returns a picture, one that has no data, or None where there is nothing to show.
        subject: a run or a bench.
        folder: for the files.

    Raises:
        UserError: the folder cannot be written.
        MemoryError: there is no memory left.
    """
    drawn, missing = [], []
    for maker in makers:
        title = maker.__name__.replace("_", " ").capitalize()
        try:
            made = maker(subject)
            if isinstance(made, Missing):
                missing.append(made)
            elif made is not None:
                title = made.title
                drawn.append(draw(made, folder))
        except (UserError, MemoryError):
            raise
        except Exception as error:
            missing.append(Missing(title, failure=f"{type(error).__name__}: {in_one_line(error)}"))
    return drawn, missing


def draw(picture: Picture, folder: Path) -> Drawn:
    """Draw ``picture``, and write it into ``folder`` as SVG and as PNG.

    Raises:
        UserError: the folder cannot be written.
    """
    from matplotlib import rc_context  # noqa: PLC0415 - slow to import
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415

    svg, png = io.BytesIO(), io.BytesIO()
    with rc_context({**SETTINGS, "svg.hashsalt": picture.name}):
        figure = picture.draw()
        FigureCanvasAgg(figure)
        # No date: when a picture was drawn is no part of it.
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
        figure.set_layout_engine("none")  # it is laid out: once takes half of the time of all
        figure.savefig(png, format="png")
    atomic.write(folder / f"{picture.name}.svg", lambda file: file.write(svg.getvalue()))
    atomic.write(folder / f"{picture.name}.png", lambda file: file.write(png.getvalue()))
    text = _lean(svg.getvalue().decode())
    return Drawn(picture, _data(text), _data(_recoloured(text)))


def _lean(svg: str) -> str:
    """Leave out what a page has no use for: comments, metadata, the document type."""
    svg = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<\?xml.*?\?>|<!DOCTYPE.*?>", "", svg, flags=re.DOTALL)
    return re.sub(r"\s*\n\s*", "\n", svg).strip()


def _recoloured(svg: str) -> str:
    """Return ``svg`` for a dark page."""
    return re.sub(r"#[0-9a-f]{6}", lambda found: NIGHT.get(found[0], found[0]), svg)


def _data(svg: str) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
