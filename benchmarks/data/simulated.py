"""The simulated event camera beside the real one: the same digits, filmed and computed.

    python -m benchmarks.data.simulated --data.root FOLDER [--out docs/images/simulated-events.png]

FOLDER (or the folder that SNNPRUNE_DATA names) holds N-MNIST and MNIST. Recording number n of N-MNIST's
training set shows MNIST's training image n - 1, so every real recording has a simulated twin.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torchvision import datasets

from benchmarks import harness
from snnprune.data.digits import DIGITS_EVENTS
from snnprune.data.folders import held, root_given
from snnprune.data.neuromorphic import NMNIST
from snnprune.data.saccade import Camera, record
from snnprune.data.static import MNIST
from support import markdown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

COLOURS = {
    "N-MNIST (real)": "#222222",
    "same digits, simulated": "#0072b2",
    "digits-events (simulated)": "#d55e00",
}
MOMENTS = (45, 150, 255)  # milliseconds: the middle of each saccade
SIDE = 34


def recordings(root: str | None) -> dict[str, list[np.ndarray]]:
    """Return real recordings, their simulated twins, and the embedded data set."""
    folder = root_given(root)
    real, still = held(NMNIST, folder, ["train"]), held(MNIST, folder)
    listed = NMNIST.list(real, "train")
    images = datasets.MNIST(still.parent, train=True).data.numpy()
    read = NMNIST.reader()
    twins = images[[int(recording.path.stem) - 1 for recording in listed]]
    digits, _ = DIGITS_EVENTS.images()
    found = [read(recording) for recording in listed], list(record(twins)), list(record(digits))
    return dict(zip(COLOURS, found, strict=True))


def binned(events: np.ndarray, milliseconds: int = 15) -> np.ndarray:
    """Return counts in equal spans counted from 0, [spans, 2, 34, 34]."""
    spans = 315 // milliseconds
    span = np.minimum(events["t"] // (1000 * milliseconds), spans - 1)
    place = ((span * 2 + events["p"]) * SIDE + events["y"]) * SIDE + events["x"]
    return np.bincount(place, minlength=spans * 2 * SIDE * SIDE).reshape(spans, 2, SIDE, SIDE)


def rate(recorded: Sequence[np.ndarray]) -> np.ndarray:
    """Return the mean number of events per recording and millisecond in spans of 5 ms."""
    time = np.concatenate([events["t"] for events in recorded]) // 5000
    return np.bincount(np.minimum(time, 62), minlength=63) / len(recorded) / 5


def table(sets: dict[str, list[np.ndarray]]) -> str:
    counts = [np.array([len(events) for events in some]) for some in sets.values()]
    spread = [np.percentile(count, [10, 50, 90]) for count in counts]
    thirds = [
        np.mean([np.bincount(np.digitize(e["t"], [102_000, 207_000]), minlength=3) / len(e) for e in some], 0)
        for some in sets.values()
    ]
    on = [np.mean([events["p"].mean() for events in some]) for some in sets.values()]
    touched = [np.mean([(binned(e).sum((0, 1)) > 0).sum() for e in some]) for some in sets.values()]
    lines = {
        "recordings": [f"{len(count):,}" for count in counts],
        "events in a recording, mean": [f"{count.mean():,.0f}" for count in counts],
        "10 %, 50 %, 90 % have at most": [", ".join(f"{value:,.0f}" for value in some) for some in spread],
        "share of ON events": [f"{value:.3f}" for value in on],
        "share in the three saccades": [", ".join(f"{value:.2f}" for value in some) for some in thirds],
        "pixels that fire at all, of 1,156": [f"{value:.0f}" for value in touched],
    }
    return markdown.table(" | ".join([":", *sets]), ((name, *cells) for name, cells in lines.items()))


def agreement(sets: dict[str, list[np.ndarray]]) -> str:
    real, twins, _ = sets.values()
    pixels = [
        np.corrcoef(binned(a).ravel(), binned(b).ravel())[0, 1] for a, b in zip(real, twins, strict=True)
    ]
    others = [
        np.corrcoef(binned(a).ravel(), binned(b).ravel())[0, 1] for a, b in zip(real, twins[1:], strict=False)
    ]
    counts = np.corrcoef([len(a) for a in real], [len(b) for b in twins])[0, 1]
    return (
        f"A recording and its twin, counts per pixel, polarity and 15 ms: correlation {np.mean(pixels):.2f} "
        f"(with the next recording's twin, mostly of the same class: {np.mean(others):.2f}). "
        f"Number of events in a recording and its twin: correlation {counts:.2f}."
    )


def show(axes: Axes, events: np.ndarray, moment: int) -> None:
    """Draw 15 ms: ON blue, OFF red, on white."""
    on, off = binned(events)[moment // 15][::-1]
    axes.imshow(on.astype(int) - off, cmap="RdBu", vmin=-4, vmax=4, interpolation="nearest")
    axes.set(xticks=[], yticks=[])


def figure(sets: dict[str, list[np.ndarray]]) -> Figure:
    drawn = Figure(figsize=(9, 6.6), layout="constrained")
    FigureCanvasAgg(drawn)
    above, below = drawn.subfigures(2, 1, height_ratios=[1.25, 1])
    real, twins, digits = sets.values()
    picked: dict[str, Any] = {"real": real, "simulated": twins}
    grid = above.subplots(3, 9)
    for column, which in enumerate((130, 250, 540)):
        for row, (name, some) in enumerate(picked.items()):
            for part, moment in enumerate(MOMENTS):
                show(grid[row, 3 * column + part], some[which], moment)
                grid[0, 3 * column + part].set_title(f"{moment} ms", fontsize=8)
            grid[row, 0].set_ylabel(f"N-MNIST,\n{name}", fontsize=8)
        for part, moment in enumerate(MOMENTS):
            show(grid[2, 3 * column + part], digits[(2, 14, 9)[column]], moment)
    grid[2, 0].set_ylabel("digits-events,\nsimulated", fontsize=8)
    left, right = below.subplots(1, 2)
    for (name, some), colour in zip(sets.items(), COLOURS.values(), strict=True):
        counts = [len(events) for events in some]
        look: Any = {"histtype": "step", "color": colour, "label": name, "linewidth": 1.5}
        left.hist(counts, np.arange(0, 8001, 250), density=True, **look)
        right.plot(np.arange(63) * 5 + 2.5, rate(some), color=colour, linewidth=1.5)
    left.set(xlabel="events in a recording", yticks=[])
    left.set_ylabel("share of recordings")
    left.legend(fontsize=8, frameon=False, loc="upper left")
    left.set_ylim(0, left.get_ylim()[1] * 1.35)
    right.set(xlabel="time (ms)", ylabel="events per ms")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    return drawn


def main() -> None:
    parser = harness.parser(__doc__)
    parser.add_argument("--data.root", dest="root", help="folder with N-MNIST and MNIST; else SNNPRUNE_DATA")
    parser.add_argument("--out", type=Path, default=Path("docs/images/simulated-events.png"))
    given = parser.parse_args()
    sets = recordings(given.root)
    print(table(sets))
    print()
    print(agreement(sets))
    print()
    print(Camera())
    given.out.parent.mkdir(parents=True, exist_ok=True)
    figure(sets).savefig(given.out, dpi=110)
    print(f"figure: {given.out}")


if __name__ == "__main__":
    main()
