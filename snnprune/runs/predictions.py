"""The predicted class of each test sample: predictions.csv."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from snnprune.runs.typed import csv_text, read_file, table_lines

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

COLUMNS = ("label", "answer")

CLASSES = 4096
"""The largest number of classes that is read: their confusion matrix takes 134 MB."""


@dataclass(frozen=True)
class Predictions:
    """True classes and predictions, in the order of the data set.

    Attributes:
        labels: true classes of the test samples, int64 [N].
        answers: classes that the network predicted for them, int64 [N].
    """

    labels: NDArray[np.int64]
    answers: NDArray[np.int64]

    @property
    def hits(self) -> NDArray[np.bool_]:
        """Which samples are predicted correctly, bool [N]."""
        return self.labels == self.answers

    def csv(self) -> str:
        """Return the text of predictions.csv."""
        return csv_text(COLUMNS, zip(self.labels.tolist(), self.answers.tolist(), strict=True))


def read_predictions(file: Path) -> Predictions:
    """Read a predictions.csv.

    Raises:
        UserError: it is not there, or damaged.
    """
    return read_file(file, _parse)


def _parse(text: str) -> Predictions:
    header, lines = table_lines(text, COLUMNS)
    if any(len(line) != len(header) for line in lines):
        raise ValueError("its lines are not of one length")
    labels, answers = (
        np.array([line[header.index(name)] for line in lines]).astype(np.int64) for name in COLUMNS
    )
    if not lines or min(labels.min(), answers.min()) < 0 or max(labels.max(), answers.max()) >= CLASSES:
        raise ValueError(f"it holds no samples, or classes that are not 0 to {CLASSES - 1}")
    return Predictions(labels, answers)
