"""Synaptic operations layer by layer: dense, masked, compact."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from snnprune.report.picture import Picture, canvas
from snnprune.report.style import DENSE, GRID, PRUNED, THIRD, clipped, short, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from snnprune.runs.reading import Run
    from snnprune.runs.summary import Synops

COLUMNS = {"dense": (DENSE, "o"), "masked": (THIRD, "s"), "compact": (PRUNED, "D")}

MEANING = (
    "Operations of one test sample over all its time steps, on average, by the spikes of the trained "
    "network. Dense: at all synapses of the unpruned network. Masked: at the synapses that are not pruned, "
    "as on hardware that skips zeros. Compact: in the network without its dead neurons, which still has the "
    "pruned synapses between surviving neurons."
)


def operations(run: Run) -> Picture:
    """Return the picture."""
    rows = by_layer(run.summary.synops)
    said = "; ".join(
        f"{clipped(name)} {short(row['dense'])}, {short(row['masked'])} and {short(row['compact'])}"
        for name, row in rows.items()
    )
    return Picture(
        "synops",
        "Synaptic operations per layer",
        MEANING + " A cell of a recording with several events counts once. The axis is logarithmic.",
        f"Dot plot of operations for each layer, dense, masked and compact: {said}.",
        lambda: _draw(rows),
    )


def by_layer(counted: Synops) -> dict[str, dict[str, float]]:
    """Return operations by layer and column, with the multiply-accumulates of analogue layers."""
    return {
        name: {column: layer[column] + layer.macs[column] for column in COLUMNS}
        for name, layer in counted.layers.items()
    }


def _draw(rows: dict[str, dict[str, float]]) -> Figure:
    figure = canvas(0.9 + 0.3 * len(rows))
    axes = figure.subplots()
    for place, row in enumerate(rows.values()):
        span = [value for value in row.values() if value > 0]
        if span:
            axes.plot([min(span), max(span)], [place, place], color=GRID, linewidth=2.5, zorder=1)
    for shift, (column, (colour, marker)) in zip((-0.16, 0, 0.16), COLUMNS.items(), strict=True):
        seen = [(row[column], place + shift) for place, row in enumerate(rows.values()) if row[column] > 0]
        axes.scatter(
            [value for value, _ in seen],
            [place for _, place in seen],
            color=colour,
            marker=marker,
            s=22,
            label=column,
            zorder=3,
        )
    if any(value > 0 for row in rows.values() for value in row.values()):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(numticks=6))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_yticks(range(len(rows)), [clipped(name) for name in rows])
    axes.set(xlabel="operations a sample", ylim=(len(rows) - 0.5, -0.5))
    axes.tick_params(axis="y", length=0)
    tidy(axes)
    figure.legend(loc="outside lower center", ncols=3, handletextpad=0.3)
    return figure
