"""A class of recordings: its mean frame, its events over time, and a film strip of one of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.patches import Rectangle

from snnprune.common.console import lasting, legible
from snnprune.data.events.statistics import rates
from snnprune.report.picture import Picture, canvas
from snnprune.report.plots.recording import picture_of
from snnprune.report.style import FAINT, INK, PRUNED, WIDTH, clipped, short, tidy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from snnprune.data.events.inspection import Film
    from snnprune.data.events.statistics import Course

SHADES = 15
"""Steps of a pixel's opacity: fewer than eyes tell apart, and a page of many classes stays small."""

BRIGHT = 0.98
"""Share of the pixels with events that are not fully opaque."""

ACROSS = 6
"""Mean frames of classes in a row."""

LONGEST = 10
"""How many times the median span of a class its time course shows at most."""


@dataclass(frozen=True)
class Kind:
    """What is shown of a class.

    Attributes:
        number: its label.
        name: its name.
        spans: microseconds from the first event to the last, of each recording.
        courses: events over time, of each recording.
        mean: events a pixel of a mean recording, [2, h, w].
        film: one recording; None where it could not be read again.
    """

    number: int
    name: str
    spans: Sequence[int]
    courses: Sequence[Course]
    mean: NDArray[np.float64]
    film: Film | None


def events(kind: Kind) -> Picture:
    """Return the picture."""
    many = len(kind.courses)
    off, on = kind.mean.sum(axis=(1, 2))
    film = "" if kind.film is None else f" Below: {legible(kind.film.path.name)}."
    middle = lasting(float(np.median(kind.spans)))
    return Picture(
        f"class-{kind.number}",
        f"Class {clipped(kind.name, 40)}",
        f"{many:,} recording{'s' * (many != 1)}.{film}",
        f"Class {kind.name}: {many} recordings, median span {middle}, {on / (on + off):.0%} ON events.",
        lambda: _draw(kind),
    )


def means(kinds: Sequence[Kind]) -> Picture:
    """Return the picture of many classes at once."""
    frames = np.stack([kind.mean for kind in kinds])
    names = [clipped(kind.name, 12) for kind in kinds]
    tall = WIDTH / ACROSS * frames.shape[2] / frames.shape[3] + 0.14
    return Picture(
        "mean-frames",
        f"Mean frames of {len(kinds)} classes",
        "Blue: brighter, orange: darker; opacity on one scale for all classes.",
        f"Mean frames of the classes {', '.join(names)}.",
        lambda: _draw_means(frames, names, tall),
    )


def _draw_means(frames: NDArray[np.float64], names: Sequence[str], tall: float) -> Figure:
    figure = canvas(-(-len(frames) // ACROSS) * tall)
    _sheet(figure.subplots(), frames, names, ACROSS)
    return figure


def _draw(kind: Kind) -> Figure:
    height, width = kind.mean.shape[1:]
    across = 4 if height <= width * 1.2 else 8
    rows = 0 if kind.film is None else len(kind.film.frames) // across
    tall = WIDTH / across * min(height / width, 2.5) + 0.14
    heights = [1.2, max(rows * tall, 0.01)]
    figure = canvas(sum(heights) + 0.1)
    rows_of: Any = figure.subfigures(2, 1, height_ratios=heights)
    # In a part of its own, the frame is not made smaller by the labels of the axis beside it.
    halves: Any = rows_of[0].subfigures(1, 2, width_ratios=[1, 1.5])
    for part in (*rows_of, *halves):
        part.set_facecolor("none")
    _mean(halves[0].subplots(), kind.mean)
    _over_time(halves[1].subplots(), kind)
    if kind.film is not None:
        _strip(rows_of[1].subplots(), kind.film, across)
    return figure


def _mean(axes: Axes, mean: NDArray[np.float64]) -> None:
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color(FAINT)
    axes.imshow(_shaded(mean, _most(mean)), interpolation="nearest")


def _most(frames: NDArray[np.float64]) -> float:
    """Return the events a pixel that are fully opaque."""
    total = frames.sum(axis=-3)
    return float(np.quantile(total[total > 0], BRIGHT)) if total.any() else 1.0


def _shaded(frame: NDArray[np.float64], most: float) -> NDArray[np.floating[Any]]:
    """Return a frame [2, h, w] as RGBA in `SHADES` steps."""
    total = frame.sum(axis=0)
    steps = np.round(np.minimum(total / most, 1.0) * SHADES) / SHADES
    share = np.round(frame[1] / np.where(total > 0, total, 1.0) * SHADES) / SHADES
    return picture_of(np.stack([steps * (1 - share), steps * share]), 1.0, events=True)


def _over_time(axes: Axes, kind: Kind) -> None:
    longest = LONGEST * float(np.median(kind.spans))
    shown = [one for one, span in zip(kind.courses, kind.spans, strict=True) if span <= longest]
    found = rates(shown)
    long = found.times[-1] >= 1
    times = found.times if long else found.times * 1e3
    axes.fill_between(times, found.low, found.high, color=PRUNED, alpha=0.25, linewidth=0)
    axes.plot(times, found.mean, color=PRUNED)
    axes.set(xlim=(0, None), ylim=(0, None), xlabel="s" if long else "ms")
    axes.xaxis.label.set_fontsize(7)
    axes.set_title("events a second", loc="left", fontsize=6.5, pad=2)
    axes.locator_params(nbins=5)
    axes.yaxis.set_major_formatter(lambda number, _: short(number))
    tidy(axes)


def _strip(axes: Axes, film: Film, across: int) -> None:
    count = len(film.frames)
    begins = [lasting(n * film.span / count) if n else "0" for n in range(count)]
    _sheet(axes, film.frames, begins, across)


def _sheet(axes: Axes, frames: NDArray[np.float64], titles: Sequence[str], across: int) -> None:
    """Draw frames [n, 2, h, w] as one image, which is faster and smaller than one each."""
    count, _, height, width = frames.shape
    gap, text = max(1, width // 16), max(2, round(width * 0.16))
    sheet = np.zeros((-(-count // across) * (height + text), across * (width + gap) - gap, 4))
    most = _most(frames)
    for n, (frame, title) in enumerate(zip(frames, titles, strict=True)):
        top, left = n // across * (height + text) + text, n % across * (width + gap)
        sheet[top : top + height, left : left + width] = _shaded(frame, most)
        edge = Rectangle((left - 0.5, top - 0.5), width, height, fill=False, edgecolor=FAINT, linewidth=0.5)
        edge.set_clip_on(False)
        axes.add_patch(edge)
        axes.text(left - 0.5, top - 0.5 - 0.02 * width, title, fontsize=6, color=INK, va="bottom")
    axes.imshow(sheet, interpolation="nearest")
    axes.set_axis_off()
