"""How a training step grows with time steps, batch and width: conv-snn on N-MNIST frames, as a picture."""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import contest
from workloads import DPAP, PLAIN, REMOVED, WORKLOADS

if TYPE_CHECKING:
    from pathlib import Path

START = replace(WORKLOADS["nmnist"], rounds=1)
SWEEPS: dict[str, tuple[float, ...]] = {
    "steps": (2, 5, 10, 20, 40),
    "batch": (5, 15, 50, 150),
    "width": (0.5, 1, 2, 4),
}
LABELS = {"steps": "time steps T", "batch": "batch size B", "width": "width, x 15C-40C-300FC"}
# Okabe and Ito's palette: told apart with every common kind of colour blindness. Markers differ as well.
STYLES = {PLAIN: ("#D55E00", "s"), DPAP: ("#0072B2", "o"), REMOVED: ("#009E73", "^")}


def sweep(name: str, rounds: int, device: str, *, quick: bool = False) -> list[dict[str, Any]]:
    """Measure along one axis, the others as they are for N-MNIST: values, and median seconds a contender."""
    found = []
    for value in SWEEPS[name][: 2 if quick else None]:
        workload = replace(START.tiny() if quick else START, **{name: value})
        x, y = workload.inputs(device)
        contenders = [workload.contender(one, x, y) for one in STYLES]
        contest.compete(contenders, rounds, (contest.TRAIN,))
        seconds = {c.name: statistics.median(c.seconds[contest.TRAIN]) for c in contenders}
        found.append({name: value, "seconds": seconds})
    return found


def draw(path: Path, sweeps: dict[str, list[dict[str, Any]]]) -> None:
    """Write the picture of `sweep` over all of `SWEEPS`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (name, points) in zip(
        figure.subplots(1, len(sweeps), sharey=True), sweeps.items(), strict=True
    ):
        for contender, (colour, marker) in STYLES.items():
            seconds = [point["seconds"][contender] for point in points]
            values = [point[name] for point in points]
            axes.loglog(values, seconds, color=colour, marker=marker, label=contender)
        axes.set_xlabel(LABELS[name])
        axes.set_xticks(
            [point[name] for point in points], [f"{point[name]:g}" for point in points], minor=False
        )
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("training step (s)")
    figure.axes[0].legend(frameon=False, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
