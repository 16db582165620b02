"""What a loop of the user's own has measured after each epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snnprune.report.picture import Picture, canvas
from snnprune.report.style import PRUNED, clipped, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from snnprune.report.subject import Subject

    Points = list[tuple[int, float]]

MOST = 4
"""Most numbers that are drawn, a panel each; the first ones are taken."""


def metrics(subject: Subject) -> Picture | None:
    """Return the picture; None where `Pruner.end_epoch` was given nothing."""
    shown = dict(list(subject.metrics.items())[:MOST])
    if not shown:
        return None
    said = "; ".join(f"{clipped(name)} ends at {points[-1][1]:.4g}" for name, points in shown.items())
    return Picture(
        "metrics",
        "What was measured after each epoch",
        "The numbers that the loop gave to end_epoch, of the network that was trained in the epoch.",
        f"Line plots over epochs: {said}.",
        lambda: _draw(shown),
    )


def _draw(shown: dict[str, Points]) -> Figure:
    figure = canvas(0.6 + 1.3 * len(shown))
    panels = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (name, points) in zip(panels, shown.items(), strict=True):
        epochs, values = zip(*points, strict=True)
        axes.plot(epochs, values, color=PRUNED, marker="o" if len(points) == 1 else "", markersize=3)
        axes.set_ylabel(clipped(name))
        tidy(axes, epochs=axes is panels[-1])
    return figure
