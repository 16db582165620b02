"""The confusion matrix (rows: true class, columns: predicted)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from snnprune.report.picture import Missing, Picture, canvas
from snnprune.report.style import FAINT, HEAT, clipped

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from snnprune.runs.reading import Run

WRITTEN = 12
"""Most classes for which counts are written into the cells."""


def confusion(run: Run) -> Picture | Missing:
    """Return the picture."""
    if run.predictions is None:
        return Missing("Confusion matrix", "predictions.csv")
    labels, answers = run.predictions.labels, run.predictions.answers
    names = class_names(run, int(max(labels.max(), answers.max())) + 1)
    matrix = counts(labels, answers, len(names))
    hits = int(np.trace(matrix))
    wrong = matrix - np.diag(np.diag(matrix))
    worst = np.unravel_index(int(wrong.argmax()), wrong.shape)
    most = (
        f" The most frequent mistake: {wrong[worst]} of class {clipped(names[worst[0]])} predicted as "
        f"{clipped(names[worst[1]])}."
        if wrong.any()
        else " There is no mistake."
    )
    return Picture(
        "confusion",
        "Confusion matrix (rows: true class, columns: predicted)",
        "Test samples by their true class (rows) and the class that the trained network predicts (columns). "
        "Colour: share of the row.",
        f"Confusion matrix of {len(names)} by {len(names)} classes: {hits} of {len(labels)} test samples are "
        f"predicted correctly ({hits / len(labels):.2%}).{most}",
        lambda: _draw(matrix, names),
    )


def class_names(run: Run, least: int) -> list[str]:
    """Return the names of the classes, or numbers if the run has no names."""
    known = run.example.about.classes if run.example is not None else []
    return known if len(known) >= least else [str(i) for i in range(least)]


def counts(labels: NDArray[np.int64], answers: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Return how many samples of each class (rows) has each predicted class (columns)."""
    return np.bincount(labels * classes + answers, minlength=classes**2).reshape(classes, classes)


def _draw(matrix: NDArray[np.int64], names: list[str]) -> Figure:
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    figure = canvas(3.0)
    axes = figure.subplots()
    image = axes.imshow(share, cmap=HEAT, vmin=0, vmax=1)
    ticks, shown = range(len(names)), [clipped(name, 12) for name in names]
    turned = max(map(len, shown)) > 3
    axes.set_xticks(
        ticks, shown, rotation=60 if turned else 0, ha="right" if turned else "center", rotation_mode="anchor"
    )
    axes.set_yticks(ticks, shown)
    axes.set(xlabel="predicted", ylabel="true class")
    axes.tick_params(length=0)
    axes.spines[:].set_color(FAINT)
    if len(names) <= WRITTEN:
        for row, column in np.argwhere(matrix > 0):
            colour = "#000000" if share[row, column] > 0.55 else "#ffffff"
            axes.text(column, row, matrix[row, column], ha="center", va="center", color=colour, fontsize=6.5)
    bar = figure.colorbar(image, ax=axes, aspect=30, pad=0.02, shrink=0.85)
    bar.set_label("share of the true class")
    bar.outline.set_visible(False)
    return figure
