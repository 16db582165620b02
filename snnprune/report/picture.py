"""Pictures: their descriptions, and how they are drawn and written to files."""

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
    """A picture before it is drawn.

    Attributes:
        name: the name of its files, without an ending.
        title: its title in a few words.
        caption: one to three sentences on what is shown and how it was measured.
        alt: a description with the numbers, for readers who cannot see the picture.
        draw: a function that returns the figure; it is called under `snnprune.report.style.SETTINGS`.
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
        title: the title of the picture.
        file: the missing file of the run that the picture needs, or "".
        failure: what went wrong while it was drawn, or "".
    """

    title: str
    file: str = ""
    failure: str = ""

    def __str__(self) -> str:
        """Return a sentence on why it is not there."""
        if self.file:
            return (
                f"{self.title}: not shown, because the run has no {self.file}. Training writes it; train "
                "again with this version of snnprune, or copy it back."
            )
        return f"{self.title}: not shown, because it could not be drawn ({self.failure})."


@dataclass(frozen=True)
class Drawn:
    """A picture in the form that a page needs.

    Attributes:
        picture: the picture.
        day: SVG as a data URI, for a light page.
        night: the same for a dark page.
    """

    picture: Picture
    day: str
    night: str


def canvas(height: float) -> Figure:
    """Return an empty figure, one column wide and ``height`` inches high."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - not pyplot: a script keeps its own state

    return Figure(figsize=(WIDTH, height), layout="constrained")


def draw_all(
    makers: Iterable[Callable[[Any], Picture | Missing | None]], subject: Any, folder: Path | None
) -> tuple[list[Drawn], list[Missing]]:
    """Draw the pictures that ``makers`` return for ``subject``. Return those drawn, and those missing.

    A picture that fails is missing on the page. It never fails the page or the run.

    Args:
        makers: functions that return a picture, a `Missing` if data are missing, or None if there is nothing
            to show.
        subject: a run or a bench.
        folder: the folder for the files; None for no files.

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


def draw(picture: Picture, folder: Path | None) -> Drawn:
    """Draw ``picture``, and write it into ``folder``, where one is given, as SVG and as PNG.

    Raises:
        UserError: the folder cannot be written.
    """
    from matplotlib import rc_context  # noqa: PLC0415 - slow to import
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415

    svg, png = io.BytesIO(), io.BytesIO()
    with rc_context({**SETTINGS, "svg.hashsalt": picture.name}):
        figure = picture.draw()
        FigureCanvasAgg(figure)
        # No date, so that the same picture gives the same file.
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
        if folder is not None:
            figure.set_layout_engine("none")  # the layout is done, and takes half of the time
            figure.savefig(png, format="png")
    if folder is not None:
        atomic.write(folder / f"{picture.name}.svg", lambda file: file.write(svg.getvalue()))
        atomic.write(folder / f"{picture.name}.png", lambda file: file.write(png.getvalue()))
    text = _lean(svg.getvalue().decode())
    return Drawn(picture, _data(text), _data(_recoloured(text)))


def _lean(svg: str) -> str:
    """Remove what a page does not need: comments, metadata, the document type."""
    svg = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<\?xml.*?\?>|<!DOCTYPE.*?>", "", svg, flags=re.DOTALL)
    return re.sub(r"\s*\n\s*", "\n", svg).strip()


def _recoloured(svg: str) -> str:
    """Return ``svg`` in the colours of a dark page."""
    return re.sub(r"#[0-9a-f]{6}", lambda found: NIGHT.get(found[0], found[0]), svg)


def _data(svg: str) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
