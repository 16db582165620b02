"""Survival functions of pruned units and synapses, over their last epochs (DPAP paper, Fig. 4E, F)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from snnprune.report.picture import Missing, Picture, canvas
from snnprune.report.style import FAINT, INK, PRUNED, THIRD, tidy, whole_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from snnprune.runs.reading import Dynamics, Run

    Lives = list[NDArray[np.floating]]

LONGEST = 30
"""Most decisions before the end that are shown."""

SHOWN = 60
"""Most lines drawn of a kind; more could not be distinguished."""

KINDS = {"neurons": "neurons and channels", "synapses": "synapses"}


def survival(run: Run) -> Picture | Missing | None:
    """Return the picture; None for a method without survival functions."""
    if not run.prunes:
        return None
    if run.dynamics is None:
        return Missing("Survival functions", "dynamics.safetensors")
    if not run.dynamics.under("survival/"):
        return None
    lives = {kind: last_epochs(run.dynamics, kind) for kind in KINDS}
    return Picture(
        "survival",
        "Survival functions of what was pruned",
        "F of pruned units and synapses over their last decisions, before each decision. One is pruned when "
        "its F falls below 0, and its line ends there. Thick: the median. If a target spreads pruning over "
        "epochs, F may stay at 0 for a while.",
        "Two panels of falling lines that end at zero. " + " ".join(_said(k, lives[k]) for k in KINDS),
        lambda: _draw(lives),
    )


def last_epochs(dynamics: Dynamics, kind: str) -> Lives:
    """Return F of each pruned unit of the sample, from its first known value to the last before pruning."""
    found: Lives = []
    for values in dynamics.under(f"survival/{kind}/").values():
        alive = ~np.isnan(values)
        for unit in np.flatnonzero(alive[0] & ~alive[-1]):
            end = int(np.flatnonzero(alive[:, unit])[-1]) + 1
            found.append(values[:end, unit].astype(np.float64))
    return found


def _said(kind: str, lives: Lives) -> str:
    if not lives:
        return f"No {KINDS[kind]} of the sample were pruned."
    before = float(np.median([life[-1] for life in lives]))
    return (
        f"{len(lives)} pruned {KINDS[kind]} of the sample; the median F before their last decision was "
        f"{before:.2g}, from {float(np.median([life[0] for life in lives])):.2g} at first."
    )


def _draw(lives: dict[str, Lives]) -> Figure:
    figure = canvas(3.6)
    for axes, kind, colour in zip(figure.subplots(2, 1), KINDS, (PRUNED, THIRD), strict=True):
        _panel(axes, lives[kind], colour)
        axes.set_title(f"{KINDS[kind]} ({len(lives[kind])} pruned of the sample)", loc="left")
        axes.set(ylabel="survival F", xlabel="decisions before pruning")
    return figure


def _panel(axes: Axes, lives: Lives, colour: str) -> None:
    axes.axhline(0, color=FAINT, linewidth=0.8)
    if not lives:
        axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center", color=FAINT)
        axes.set_yticks([])
    step = max(1, len(lives) // SHOWN)
    for life in lives[::step]:
        shown = np.append(life[-LONGEST:], 0.0)
        axes.plot(np.arange(1 - len(shown), 1), shown, color=colour, linewidth=0.6, alpha=0.45)
    if lives:
        longest = min(LONGEST, max(len(life) for life in lives))
        middle = [
            float(np.median([life[-back] for life in lives if len(life) >= back]))
            for back in range(longest, 0, -1)
        ]
        axes.plot(range(-longest, 1), [*middle, 0.0], color=INK, linewidth=1.8)
    whole_numbers(axes.xaxis)
    tidy(axes)
