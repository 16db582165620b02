"""The firing rate of each layer over epochs, beside that of the unpruned twin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snnprune.report.picture import Missing, Picture, canvas
from snnprune.report.style import DASHES, LINES, clipped, legend_below, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from snnprune.runs.reading import Run


def firing(run: Run) -> Picture | Missing | None:
    """Return the picture; None for a network whose units are always active, such as sigmoid units."""
    if run.dynamics is None:
        return Missing("Firing rate per layer", "dynamics.safetensors")
    names, rates = run.dynamics.about.neurons, run.dynamics.tensors["firing"]
    if not names:
        return None
    twin = run.twin.dynamics if run.twin is not None else None
    said = []
    for i, name in enumerate(names):
        beside = ""
        if twin is not None and name in twin.about.neurons:
            value = twin.tensors["firing"][-1, twin.about.neurons.index(name)]
            beside = f" (twin {value:.1%})"
        said.append(f"{clipped(name)} {rates[-1, i]:.1%}{beside}")
    return Picture(
        "firing",
        "Firing rate per layer",
        f"Share of a layer's outputs, over neurons, time steps and the samples of {run.fired}, that are "
        "not zero. Pruned neurons that were removed from the network are not counted."
        + (" Thin: the unpruned twin." if twin is not None else ""),
        f"Line plot over epochs. At the end: {', '.join(said)}.",
        lambda: _draw(run),
    )


def _draw(run: Run) -> Figure:
    assert run.dynamics is not None
    names = run.dynamics.about.neurons
    figure = canvas(2.6)
    axes = figure.subplots()
    for each, width in ((run.twin, 0.6), (run, 1.5)):
        if each is None or each.dynamics is None:
            continue
        for i, name in enumerate(names):
            if name not in each.dynamics.about.neurons:
                continue
            column = each.dynamics.tensors["firing"][:, each.dynamics.about.neurons.index(name)]
            axes.plot(
                each.dynamics.epochs,
                100 * column,
                color=LINES[i % len(LINES)],
                linestyle=DASHES[i % len(DASHES)],
                linewidth=width,
                label=clipped(name) if each is run else None,
                marker="o" if len(column) == 1 else "",
                markersize=3,
            )
    axes.set_ylabel("active outputs (%)")
    axes.set_ylim(bottom=0)
    tidy(axes, epochs=True)
    legend_below(figure, axes, handle=2.4)
    return figure
