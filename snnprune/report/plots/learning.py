"""Accuracy and pruning of a run: curves over epochs, beside the unpruned twin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snnprune.report.picture import Missing, Picture, canvas
from snnprune.report.style import (
    DASHES,
    DENSE,
    FAINT,
    HEAT,
    INK,
    LINES,
    PRUNED,
    THIRD,
    clipped,
    legend_below,
    short,
    tidy,
    whole_numbers,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from snnprune.runs.reading import Run


def accuracy(run: Run) -> Picture:
    """Return test accuracy and the share that is pruned, over epochs (the DPAP paper's Fig. 2D-F)."""
    first, last = run.rows[0], run.rows[-1]
    twin = run.twin.rows[-1] if run.twin is not None else None
    beside = f", the unpruned twin {twin.test_accuracy:.2%}" if twin is not None else ""
    pruned = (
        f" {last.pruned_synapses:.1%} of the synapses and {last.pruned_neurons:.1%} of the neurons and "
        "channels are pruned at the end."
        if run.prunes
        else " Nothing is pruned."
    )
    return Picture(
        "accuracy",
        "Accuracy and pruned share over epochs",
        "Accuracy of the network on the test set after each epoch."
        + (" Dashed: the unpruned twin with the same seed, data and epochs." if twin is not None else ""),
        f"Line plot over {len(run.rows)} epochs. Test accuracy goes from {first.test_accuracy:.2%} after "
        f"the first epoch to {last.test_accuracy:.2%} after the last{beside}.{pruned}",
        lambda: _accuracy(run),
    )


def _accuracy(run: Run) -> Figure:
    figure = canvas(3.3 if run.prunes else 2.2)
    upper, *lower = figure.subplots(2 if run.prunes else 1, 1, sharex=True, squeeze=False)[:, 0]
    if run.twin is not None:
        _line(upper, run.twin, "test_accuracy", label="unpruned twin", color=DENSE, linestyle="--")
    _line(upper, run, "test_accuracy", label=clipped(run.method), color=PRUNED)
    upper.set_ylabel("test accuracy (%)")
    if len(run.rows) == 1:  # a single point gets the whole range
        upper.set(xlim=(0.5, 1.5), ylim=(-3, 103))
    upper.legend(loc="lower right")
    tidy(upper, epochs=not lower)
    for axes in lower:
        _line(axes, run, "pruned_synapses", label="synapses", color=PRUNED)
        _line(axes, run, "pruned_neurons", label="neurons and channels", color=THIRD, linestyle=":")
        axes.set(ylabel="pruned (%)", ylim=(-3, 103))
        axes.legend(loc="upper left")
        tidy(axes, epochs=True)
    return figure


def by_rate(run: Run) -> Picture | None:
    """Return accuracy against the share that is pruned, epoch by epoch (Fig. 2G-I)."""
    if not run.prunes:
        return None
    highest = max(run.rows, key=lambda row: row.test_accuracy)
    twin = "" if run.twin is None else f" The unpruned twin ends at {run.twin.summary.accuracy:.2%}."
    return Picture(
        "accuracy-by-rate",
        "Accuracy against pruning rate",
        "One point for each epoch of this run, joined in the order of epochs. The curve shows learning and "
        "pruning together: accuracy at the left end is low because training has just begun. The page of a "
        "bench compares targets at the end of training.",
        f"Accuracy against pruned share of the weights, {len(run.rows)} epochs. It ends at "
        f"{run.rows[-1].test_accuracy:.2%} with {run.summary.pruning_rate:.1%} pruned; the highest is "
        f"{highest.test_accuracy:.2%} with {highest.pruned_synapses:.1%} pruned, in epoch "
        f"{highest.epoch:.0f}.{twin}",
        lambda: _by_rate(run),
    )


def _by_rate(run: Run) -> Figure:
    figure = canvas(2.5)
    axes = figure.subplots()
    x = [100 * rate for rate in run.column("pruned_synapses")]
    y = [100 * share for share in run.column("test_accuracy")]
    if run.twin is not None:
        level = 100 * run.twin.summary.accuracy
        axes.axhline(level, color=DENSE, linestyle="--", label="unpruned twin at its end", linewidth=1.1)
    axes.plot(x, y, color=FAINT, linewidth=0.7, zorder=2)
    points = axes.scatter(x, y, c=run.epochs, cmap=HEAT, s=18, zorder=3, edgecolors=INK, linewidths=0.3)
    bar = figure.colorbar(points, ax=axes, pad=0.02, aspect=30)
    bar.set_label("epoch")
    bar.outline.set_visible(False)
    whole_numbers(bar.ax.yaxis)
    axes.set(xlabel="pruned weights (%)", ylabel="test accuracy (%)")
    if run.twin is not None:
        axes.legend(loc="lower right")
    tidy(axes)
    return figure


def weights_left(run: Run) -> Picture | Missing | None:
    """Return the share of the weights that is left, layer by layer, over epochs (Fig. 4G)."""
    if not run.prunes:
        return None
    if run.dynamics is None:
        return Missing("Weights left over time", "dynamics.safetensors")
    end = ", ".join(
        f"{clipped(name)} {layer.left / layer.dense:.1%}" for name, layer in run.summary.layers.items()
    )
    left, dense = run.summary.weights_left, run.summary.weights_dense
    return Picture(
        "weights-left",
        "Weights left over time",
        "Share of each layer's weights that is left at the end of an epoch. The decision of an epoch is "
        "applied when the next epoch begins.",
        f"Line plot over epochs. At the end {short(left)} of {short(dense)} weights are left "
        f"({left / dense:.1%}): {end}.",
        lambda: _weights_left(run),
    )


def _weights_left(run: Run) -> Figure:
    assert run.dynamics is not None
    names = run.dynamics.about.layers
    figure = canvas(2.6)
    axes = figure.subplots()
    weights, epochs = run.dynamics.tensors["weights"], run.dynamics.epochs
    layers = run.summary.layers
    dense = [layers[name].dense if name in layers else weights[0, i] for i, name in enumerate(names)]
    for i, name in enumerate(names):
        axes.plot(
            epochs,
            100 * weights[:, i] / dense[i],
            label=clipped(name),
            color=LINES[i % len(LINES)],
            linestyle=DASHES[i % len(DASHES)],
            marker="o" if len(epochs) == 1 else "",
            markersize=3,
        )
    axes.plot(epochs, 100 * weights.sum(1) / sum(dense), label="all", color=INK, linewidth=2.2, alpha=0.75)
    axes.set(ylabel="weights left (%)", ylim=(-3, 103))
    tidy(axes, epochs=True)
    legend_below(figure, axes, handle=2.4)
    return figure


def _line(axes: Axes, run: Run, column: str, **style: Any) -> None:
    values: Sequence[float] = [100 * value for value in run.column(column)]
    axes.plot(run.epochs, values, marker="o" if len(values) == 1 else "", markersize=3, **style)
