"""Accuracy and share pruned over the epochs of a run, beside the dense network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snnprune.common import atomic

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from snnprune.runs.epochs import Epoch

# Okabe and Ito's palette: told apart with every common kind of colour blindness. Styles differ as well.
_PRUNED, _DENSE, _NEURONS = "#0072B2", "#D55E00", "#009E73"


def draw(
    path: Path,
    rows: Sequence[Epoch],
    *,
    method: str,
    dense: Sequence[Epoch] | None = None,
    title: str = "",
) -> None:
    """Write a picture of a run, a PNG file, to ``path``; the rest is as `picture` takes it.

    Raises:
        UserError: the folder cannot be written.
    """
    figure = picture(rows, method=method, dense=dense, title=title)
    atomic.write(path, lambda file: figure.savefig(file, dpi=150, format="png"))


def picture(
    rows: Sequence[Epoch],
    *,
    method: str,
    dense: Sequence[Epoch] | None = None,
    title: str = "",
) -> Figure:
    """Return a picture of a run.

    Args:
        rows: of the run's metrics; shares in [0, 1].
        method: name of the run's method.
        dense: rows of the dense twin.
        title: of the picture.
    """
    # Figure, not pyplot: a script that draws its own pictures keeps its state and its backend.
    from matplotlib import rc_context  # noqa: PLC0415 - matplotlib is slow to import
    from matplotlib.figure import Figure  # noqa: PLC0415

    with rc_context({"text.parse_math": False}):  # a name with dollar signs in it is a name
        return _drawn(Figure(figsize=(8.0, 3.2), layout="constrained"), rows, method, dense, title)


def _drawn(
    figure: Figure,
    rows: Sequence[Epoch],
    method: str,
    dense: Sequence[Epoch] | None,
    title: str,
) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - matplotlib is slow to import

    FigureCanvasAgg(figure)
    accuracy, pruned = figure.subplots(1, 2)
    if dense:
        _line(accuracy, dense, "test_accuracy", label="dense", color=_DENSE, linestyle="--")
    colour = _DENSE if method == "dense" else _PRUNED
    _line(accuracy, rows, "test_accuracy", label=method, color=colour)
    accuracy.set(xlabel="epoch", ylabel="test accuracy (%)")
    accuracy.legend(frameon=False, loc="lower right")
    _line(pruned, rows, "pruned_synapses", label="synapses", color=_PRUNED)
    _line(pruned, rows, "pruned_neurons", label="neurons and channels", color=_NEURONS, linestyle=":")
    pruned.set(xlabel="epoch", ylabel="pruned (%)", ylim=(-2, 102))
    pruned.legend(frameon=False, loc="upper left")
    for axes in (accuracy, pruned):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.get_major_locator().set_params(integer=True)
        if len(rows) == 1:  # around a single point matplotlib would zoom in on fractions of an epoch
            axes.set(xlim=(0, 2), xticks=[1], ylim=(-2, 102))
    if title:
        figure.suptitle(title)
    return figure


def _line(axes: Axes, rows: Sequence[Epoch], column: str, **style: Any) -> None:
    marker = "o" if len(rows) == 1 else ""  # one epoch makes no line
    axes.plot([row.epoch for row in rows], [100 * row[column] for row in rows], marker=marker, **style)
