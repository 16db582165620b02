"""The network drawn as populations, with their dense sizes and what is left of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from matplotlib.patches import FancyBboxPatch

from snnprune.report.picture import Picture, canvas
from snnprune.report.style import FAINT, GONE, INK, PRUNED, clipped, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from snnprune.runs.reading import Run

HALF = 1.0
"""Half of the width of the widest population, in the picture's own units."""


def populations(run: Run) -> Picture:
    """Return the picture."""
    neurons, layers = run.summary.neurons_left, run.summary.layers
    said = ", ".join(f"{clipped(name)} {left} of {size} units" for name, (left, size) in neurons.items())
    weights = ", ".join(
        f"{clipped(name)} {short(layer.left)} of {short(layer.dense)} synapses"
        for name, layer in layers.items()
    )
    return Picture(
        "network",
        "The network as populations",
        "From the input (top) to the output. The width of a box is the square root of the number of neurons "
        "or channels; the coloured part is those left. The lines between boxes are the layers' synapses: a "
        "line is thicker if a larger share of them is left. The numbers are those left, of all.",
        f"Diagram of {len(layers)} layers with synapses. Populations: {said}. Synapses: {weights}.",
        lambda: _draw(run),
    )


def _draw(run: Run) -> Figure:
    neurons, layers = run.summary.neurons_left, run.summary.layers
    most = math.sqrt(max(size for _, size in neurons.values()))
    figure = canvas(0.25 + 0.56 * len(layers))
    axes = figure.subplots()
    axes.text(0, 0, "input", ha="center", va="center", color=FAINT)
    for row, (name, layer) in enumerate(layers.items(), 1):
        _synapses(axes, row, layer.left, layer.dense)
        if name in neurons:
            left, size = neurons[name]
            widths = (HALF * math.sqrt(size) / most, HALF * math.sqrt(left) / most)
            _box(axes, row, *widths)
            axes.text(-HALF - 0.08, row, clipped(name, 12), ha="right", va="center", color=INK)
            axes.text(HALF + 0.08, row, f"{left} of {size}", ha="left", va="center", color=INK)
        else:
            axes.text(0, row, f"joins {clipped(name, 24)}", ha="center", va="center", color=FAINT, fontsize=7)
    axes.set(xlim=(-1.75, 1.75), ylim=(len(layers) + 0.35, -0.3))
    axes.axis("off")
    return figure


def _box(axes: Axes, row: int, whole: float, alive: float) -> None:
    """Draw a population: its dense size and what is left, as half widths."""
    for half, colour, edge in ((whole, GONE, FAINT), (alive, PRUNED, PRUNED)):
        axes.add_patch(
            FancyBboxPatch(
                (-half, row - 0.13),
                2 * half,
                0.26,
                boxstyle="round,pad=0,rounding_size=0.04",
                facecolor=colour,
                edgecolor=edge,
                linewidth=0.6,
                linestyle="-" if colour == PRUNED else (0, (2, 1.5)),
            )
        )


def _synapses(axes: Axes, row: int, left: int, dense: int) -> None:
    share = left / dense
    axes.plot([0, 0], [row - 0.84, row - 0.16], color=FAINT, linewidth=0.5 + 4 * share, alpha=0.55, zorder=0)
    text = f"{short(left)} of {short(dense)} ({share:.1%})" if left < dense else short(dense)
    axes.text(0.08, row - 0.5, text, ha="left", va="center", color=FAINT, fontsize=7)
