"""Number of incoming synapses of pruned and of surviving neurons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from snnprune.report.picture import Missing, Picture, canvas
from snnprune.report.style import DENSE, FAINT, PRUNED, clipped, tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from snnprune.runs.reading import Run

MOST = 3
"""Most populations shown. If there are more, those with the most pruned units are shown."""


@dataclass(frozen=True)
class Fates:
    """Fan-in of a population's sample, for pruned and for surviving units.

    Attributes:
        epochs: numbers of the epochs, [E].
        pruned: mean over units that are pruned later, [E]; NaN where there is none.
        kept: mean over units that survive the run, [E].
        at_death: mean over pruned units, each in its last epoch before it was pruned.
        kept_then: mean over the surviving units in the same epochs, with the same weights.
        count: number of pruned units of the sample.
    """

    epochs: NDArray[np.int64]
    pruned: NDArray[np.floating]
    kept: NDArray[np.floating]
    at_death: float
    kept_then: float
    count: int


def fates(epochs: NDArray[np.int64], fan_in: NDArray[np.integer]) -> Fates | None:
    """Return the fan-in of pruned and surviving units of ``fan_in``, [E, units] with -1 for pruned units.

    None if no unit was pruned, if none survives, or if all have the same number, such as the channels of a
    convolution whose single synapses are not pruned.
    """
    alive = fan_in >= 0
    died, kept = alive[0] & ~alive[-1], alive[-1]
    same = np.where(alive, fan_in, fan_in.max(1, keepdims=True)).min(1) == fan_in.max(1)
    if not died.any() or not kept.any() or same.all():
        return None
    counts = np.where(alive, fan_in, np.nan).astype(np.float64)
    of_kept = counts[:, kept].mean(1)
    last = np.array([np.flatnonzero(alive[:, unit])[-1] for unit in np.flatnonzero(died)])
    at_death = counts[last, np.flatnonzero(died)]
    living = alive[:, died].any(1)
    of_pruned = np.full(len(epochs), np.nan)
    of_pruned[living] = np.nanmean(counts[living][:, died], axis=1)
    return Fates(
        epochs, of_pruned, of_kept, float(at_death.mean()), float(of_kept[last].mean()), int(died.sum())
    )


def fan_in(run: Run) -> Picture | Missing | None:
    """Return the picture; None where no population lost a unit."""
    if not run.prunes:
        return None
    if run.dynamics is None:
        return Missing("Fan-in of pruned and surviving neurons", "dynamics.safetensors")
    followed = {
        name: fates(run.dynamics.epochs, counts) for name, counts in run.dynamics.under("fan_in/").items()
    }
    found = {name: each for name, each in followed.items() if each is not None}
    if not found:
        return None
    order = list(run.dynamics.about.populations)
    chosen = sorted(found, key=lambda name: -found[name].count)[:MOST]
    found = {name: found[name] for name in order if name in chosen}
    said = "; ".join(
        f"in {clipped(name)} {each.count} pruned units had {each.at_death:.1f} synapses in their last epoch, "
        f"and the surviving units {each.kept_then:.1f} in the same epochs"
        for name, each in found.items()
    )
    return Picture(
        "fan-in",
        "Fan-in of pruned and surviving neurons",
        "Average number of unpruned incoming synapses of a unit: of units that were pruned, until then, and "
        "of surviving units. Channels of a convolution that is pruned by whole channels only have equal "
        "numbers, and are left out. In the DPAP paper pruned neurons had fewer (272 against 298).",
        f"Line plots over epochs. {said[0].upper()}{said[1:]}.",
        lambda: _draw(found),
    )


def _draw(found: dict[str, Fates]) -> Figure:
    figure = canvas(0.6 + 1.35 * len(found))
    panels = figure.subplots(len(found), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (name, each) in zip(panels, found.items(), strict=True):
        axes.plot(each.epochs, each.kept, color=PRUNED, label="surviving")
        axes.plot(
            each.epochs, each.pruned, color=DENSE, linestyle="--", marker="o", markersize=3, label="pruned"
        )
        axes.set_title(
            f"{clipped(name)}: {each.at_death:.1f} when pruned, surviving {each.kept_then:.1f}",
            loc="left",
            fontsize=7,
        )
        axes.set_ylabel("synapses")
        tidy(axes, epochs=axes is panels[-1])
    panels[0].legend(loc="best")
    panels[-1].tick_params(colors=FAINT)
    return figure
