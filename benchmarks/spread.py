"""Several runs of one thing in one cell of a table."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def spread(values: Sequence[float], form: str = "{:.2f}") -> str:
    """Return the mean and, of several values, their standard deviation."""
    mean = form.format(statistics.mean(values))
    return mean if len(values) < 2 else f"{mean} ± {form.format(statistics.stdev(values))}"
