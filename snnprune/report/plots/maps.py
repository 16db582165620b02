"""Surviving neurons and synapses with their importance, before pruning and after (DPAP paper, Fig. 4A-D)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import Rectangle
from scipy.stats import rankdata

from snnprune.report.picture import Missing, Picture, canvas
from snnprune.report.style import GONE, HEAT, clipped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage
    from numpy.typing import NDArray

    from snnprune.runs.reading import Run
    from snnprune.runs.tensors import Dynamics

    Before = NDArray[np.floating]
    Pair = tuple[Before, Before]

RANKS = LinearSegmentedColormap.from_list("ranks", colormaps[HEAT](np.linspace(0.18, 1, 64)))
"""The colour map without its darkest part, which would look like the blank of pruned units on a dark page."""

MOST = 6
"""Most populations shown. If there are more, the largest are shown."""


def neurons(run: Run) -> Picture | Missing | None:
    """Return importance of neurons and channels, before and after."""
    if not run.prunes:
        return None
    if run.dynamics is None:
        return Missing("Importance of neurons, before and after", "dynamics.safetensors")
    pairs = _pairs(run.dynamics, "neurons/")
    if not pairs:
        return None
    if len(pairs) > MOST:
        largest = sorted(pairs, key=lambda name: -pairs[name][0].size)[:MOST]
        pairs = {name: pair for name, pair in pairs.items() if name in largest}
    epochs = run.dynamics.epochs
    said = ", ".join(
        f"{clipped(name)} {_alive(after)} of {before.size} alive" for name, (before, after) in pairs.items()
    )
    return Picture(
        "importance-neurons",
        "Importance of neurons, before and after",
        f"Each square is a neuron or channel, in its place in the layer; left after epoch {epochs[0]}, right "
        f"after epoch {epochs[-1]}. Colour: its rank among the surviving units of its layer in that epoch. "
        "Blank: pruned. " + _sampled(run.dynamics),
        f"Maps of importance after the first and the last epoch. Of those shown: {said}.",
        lambda: _neurons(pairs, int(epochs[0]), int(epochs[-1])),
    )


def synapses(run: Run) -> Picture | Missing | None:
    """Return importance of the synapses of the largest layer whose synapses are pruned, before and after."""
    if not run.prunes:
        return None
    title = "Importance of synapses, before and after"
    if run.dynamics is None:
        return Missing(title, "dynamics.safetensors")
    about = run.dynamics.about
    pairs = _pairs(run.dynamics, "synapses/")
    if not pairs:
        return None
    scored = [name for name in pairs if f"synapses/{name}" in about.scored]
    shapes = {layer: about.shapes.get(layer, before.shape) for layer, (before, _) in pairs.items()}
    name = max(scored or pairs, key=lambda layer: math.prod(shapes[layer]))
    before, after = pairs[name]
    rows, columns = shapes[name][:2]
    layer = run.summary.layers.get(name)
    alive = layer.left / layer.dense if layer is not None else _alive(after) / after.size
    what = "the method's score" if name in scored else "the magnitude of its weight"
    return Picture(
        "importance-synapses",
        title,
        f"Synapses of {name}: {before.shape[0]} of its {rows} neurons (rows) by {before.shape[1]} of its "
        f"{columns} inputs (columns), evenly spaced. Colour: the rank of {what} among the unpruned synapses "
        "shown. Blank: pruned. A blank row is a pruned neuron, a blank column a pruned input.",
        f"Two maps of synapses of {clipped(name)}. After the last epoch {alive:.1%} of the layer's synapses "
        f"are alive; of the sample shown {_alive(before) / before.size:.1%} before and "
        f"{_alive(after) / after.size:.1%} after.",
        lambda: _synapses(clipped(name), (before, after), run.dynamics.epochs),  # type: ignore[union-attr]
    )


def _pairs(dynamics: Dynamics, prefix: str) -> dict[str, Pair]:
    first, last = dynamics.under(f"first/{prefix}"), dynamics.under(f"last/{prefix}")
    return {name: (first[name], last[name]) for name in first if name in last}


def _alive(values: Before) -> int:
    return int((~np.isnan(values)).sum())


def _sampled(dynamics: Dynamics) -> str:
    sizes = {name: entry.size for name, entry in dynamics.about.populations.items()}
    shown = {name: values.size for name, values in dynamics.under("first/neurons/").items()}
    parts = [
        f"{shown[name]} of the {sizes[name]} of {name}" for name in shown if shown[name] < sizes.get(name, 0)
    ]
    return f"Shown are, evenly spaced, {', '.join(parts)}." if parts else ""


def ranked(values: Before) -> Before:
    """Return each value's rank in [0, 1] among those that are not NaN; ties get their mean rank."""
    ranks: Before = rankdata(values, nan_policy="omit", axis=None).reshape(values.shape)
    count = _alive(values)
    return (ranks - 1) / max(count - 1, 1)


def _neurons(pairs: dict[str, Pair], first: int, last: int) -> Figure:
    wide = {name: _width(before.size) for name, (before, _) in pairs.items()}
    high = {name: math.ceil(pair[0].size / wide[name]) for name, pair in pairs.items()}
    heights = [max(0.32, 1.45 * high[name] / wide[name]) for name in pairs]
    figure = canvas(sum(heights) + 0.22 * len(pairs) + 0.75)
    grid = figure.subplots(len(pairs), 2, squeeze=False, height_ratios=heights)
    for axes, (name, pair) in zip(grid, pairs.items(), strict=True):
        for side, values, epoch in zip(axes, pair, (first, last), strict=True):
            padded = np.full(high[name] * wide[name], np.nan)
            padded[: values.size] = ranked(values)
            image = _show(side, padded.reshape(high[name], wide[name]), values.size)
            side.set_title(f"{clipped(name, 12)}, epoch {epoch}: {_alive(values)}", loc="left", fontsize=7)
    _bar(figure, image, grid)
    return figure


def _width(size: int) -> int:
    return min(size, max(8, math.ceil(math.sqrt(3 * size))))


def _synapses(name: str, pair: Pair, epochs: NDArray[np.integer]) -> Figure:
    figure = canvas(2.45)
    sides = figure.subplots(1, 2)
    for axes, values, epoch in zip(sides, pair, (epochs[0], epochs[-1]), strict=True):
        image = _show(axes, ranked(values), None)
        axes.set_title(f"epoch {epoch}: {_alive(values) / values.size:.0%} alive", loc="left", fontsize=7)
        axes.set_xlabel(f"inputs of {name}")
    sides[0].set_ylabel(f"neurons of {name}")
    _bar(figure, image, sides)
    return figure


def _show(axes: Axes, values: Before, cells: int | None) -> AxesImage:
    """Show ``values``. Of a padded map, only the first ``cells`` belong to it."""
    rows, columns = values.shape
    image = axes.imshow(
        values,
        cmap=RANKS,
        vmin=0,
        vmax=1,
        interpolation="nearest",
        aspect="auto" if cells is None else "equal",
    )
    if cells is None:
        axes.set_facecolor(GONE)
    else:
        whole, rest = divmod(cells, columns)
        axes.add_patch(Rectangle((-0.5, -0.5), columns, whole, color=GONE, linewidth=0, zorder=-1))
        axes.add_patch(Rectangle((-0.5, whole - 0.5), rest, rows - whole, color=GONE, linewidth=0, zorder=-1))
    axes.spines[:].set_visible(False)
    axes.set(xticks=[], yticks=[])
    return image


def _bar(figure: Figure, image: AxesImage, axes: NDArray[np.object_]) -> None:
    bar = figure.colorbar(image, ax=axes, location="bottom", aspect=40, pad=0.03, shrink=0.8)
    bar.set_label("rank of importance among the unpruned, 1 = highest")
    bar.outline.set_visible(False)
