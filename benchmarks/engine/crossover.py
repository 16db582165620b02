"""Which way is the fastest when: rate x surviving synapses x batch, for a convolution and a linear layer.

    python -m benchmarks.engine.crossover [--out crossover.json] [--pictures docs/images] [--runs FOLDER]

Each of the engine's ways computes the layer and neurons behind it that never fire; torch computes the layer
alone, all time steps at once. All take turns, on one thread. With the folder of trained networks (see
`benchmarks.engine.table`) it also holds the engine's time for a recording against the recording's synaptic
operations, and the line through them against what this machine can add in its nearest cache.
"""

from __future__ import annotations

import itertools
import statistics
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks import harness
from benchmarks.engine.networks import TARGETS, TASKS, trained
from benchmarks.engine.sides import frames_of
from benchmarks.engine.table import recordings
from snnprune.common.compiling import compiled
from snnprune.engine.engine import WAYS, Engine
from snnprune.engine.plan import INPUT, Convolution, Linear, Neurons, Plan, Source
from snnprune.export.planning import plan
from snnprune.network import discover
from snnprune.network.synops import SpikeCounter
from snnprune.network.weights import synapses_of
from snnprune.report.picture import Picture, canvas, draw
from snnprune.report.style import DASHES, DENSE, FAINT, LINES, PRUNED, THIRD, WIDTH, legend_below, tidy
from support.markdown import table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    import numpy.typing as npt
    from matplotlib.figure import Figure

    from snnprune.engine.plan import Layer

    Array = npt.NDArray[Any]

RATES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
ALIVE = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0)
BATCHES = (1, 8, 64)
STEPS = 10

TORCH = "torch"
SIDES = (*WAYS, TORCH)

PER_NETWORK = 8
"""Recordings of each trained network."""


# --- one layer


@dataclass(frozen=True)
class One:
    """A layer that is measured alone.

    Attributes:
        name: for the reader.
        shape: of its input: channels, height, width.
        weights: the shape of its weights.
        out: the shape of its output.
    """

    name: str
    shape: tuple[int, int, int]
    weights: tuple[int, ...]
    out: tuple[int, int, int]

    def layer(self, alive: float) -> Layer:
        """Return the layer with this share of its synapses, drawn at random; others are 0."""
        dice = np.random.default_rng(0)
        weights = dice.standard_normal(self.weights, np.float32)
        weights[dice.random(self.weights) >= alive] = 0
        given: dict[str, Any] = {"name": "layer", "sources": (Source(INPUT),), "shape": self.out}
        if len(self.weights) == 4:
            return Convolution(**given, weights=weights, padding=(1, 1))
        return Linear(**given, weights=weights)

    def plan(self, alive: float) -> Plan:
        """Return the layer with neurons that integrate and never fire."""
        neurons = Neurons(
            name="neurons", sources=(Source(0),), shape=self.out, kind="if", reset=np.zeros(1, np.float32),
            threshold=np.full(1, 1e30, np.float32), leak=np.ones(1, np.float32),
        )  # fmt: skip
        return Plan(self.shape, (self.layer(alive), neurons), 1, np.dtype(np.float32))

    def frames(self, rate: float, batch: int) -> Array:
        """Return spikes [T, B, C, H, W]."""
        shape = (STEPS, batch, *self.shape)
        return (np.random.default_rng(1).random(shape, np.float32) < rate).astype(np.uint8)

    def torch(self, frames: Array, weights: Array) -> Callable[[], object]:
        """Return what computes the layer with torch, all steps and samples at once."""
        x, w = torch.from_numpy(frames).float().flatten(0, 1), torch.from_numpy(weights)
        if w.ndim == 4:
            return lambda: torch.nn.functional.conv2d(x, w, padding=1)
        rows = x.flatten(1)
        return lambda: torch.nn.functional.linear(rows, w)


LAYERS = (
    One("convolution 40 to 40, 3 x 3, on 17 x 17", (40, 17, 17), (40, 40, 3, 3), (40, 17, 17)),
    One("linear 1000 to 300", (1000, 1, 1), (300, 1000), (300, 1, 1)),
)


def sweep(layer: One, batch: int, given: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the microseconds of a sample and a step of each side, for all rates and shares."""
    found = []
    rates, shares = (RATES[::3], ALIVE[::3]) if given.quick else (RATES, ALIVE)
    for alive in shares:
        made = layer.plan(alive)
        engines = {way: Engine(made, ways={"layer": way}) for way in WAYS}
        for rate in rates:
            frames = layer.frames(rate, batch)
            turns: dict[str, Any] = {way: partial(engine, frames) for way, engine in engines.items()}
            turns[TORCH] = torch.inference_mode()(layer.torch(frames, layer.layer(alive).weights))
            took = harness.take_turns(turns, given.rounds)
            per_step = {side: 1e6 * each.median / (STEPS * batch) for side, each in took.items()}
            found.append({"rate": rate, "alive": alive, **per_step})
    return found


def sweep_table(points: list[dict[str, Any]]) -> str:
    """Return the fastest side at each point, its microseconds and its share of torch's time."""
    rates = sorted({point["rate"] for point in points})
    rows = []
    for alive in sorted({point["alive"] for point in points}):
        row = [f"{alive:.0%}"]
        for rate in rates:
            point = next(p for p in points if p["alive"] == alive and p["rate"] == rate)
            side = fastest(point)
            row.append(f"{side} {point[side]:.1f} ({point[side] / point[TORCH]:.2f})")
        rows.append(row)
    return table(":synapses alive | " + " | ".join(f"{rate:.0%} fire" for rate in rates), rows)


def fastest(point: dict[str, Any]) -> str:
    """Return the side that took the least time."""
    return min(SIDES, key=lambda side: float(point[side]))


# --- its picture


COLOURS = dict(zip(SIDES, (PRUNED, THIRD, LINES[4], DENSE), strict=True))
BORDERS = (("rows", "synapses"), ("rows", "product"), ("synapses", "product"))


def maps(points: dict[str, list[dict[str, Any]]]) -> Figure:
    """Draw a panel for each layer and batch: who is fastest, and where two ways take the same time."""
    figure = canvas(1.9 * len(LAYERS) + 0.6)
    figure.set_figwidth(2 * WIDTH)
    panels = figure.subplots(len(LAYERS), len(BATCHES), sharex=True, sharey=True, squeeze=False)
    for (row, layer), (column, batch) in itertools.product(enumerate(LAYERS), enumerate(BATCHES)):
        axes, found = panels[row, column], points[f"{layer.name}, batch {batch}"]
        for side in SIDES:
            own = [point for point in found if fastest(point) == side]
            x, y = ([100 * p[key] for p in own] for key in ("rate", "alive"))
            axes.loglog(
                x, y, "o", markersize=4, clip_on=False, in_layout=False,
                color=COLOURS[side], label=f"{side} fastest" if row == column == 0 else None,
            )  # fmt: skip
        for dashes, (one, other) in zip(DASHES, BORDERS, strict=False):
            _border(axes, found, lambda p, one=one, other=other: p[one] / p[other], dashes)
        _border(axes, found, lambda p: min(p[way] for way in WAYS) / p[TORCH], DASHES[3], DENSE)
        axes.set_title(f"{layer.name.split()[0]}, batch {batch}")
        tidy(axes)
        _percents(axes.xaxis, RATES)
        _percents(axes.yaxis, ALIVE)
    for axes in panels[-1]:
        axes.set_xlabel("% of inputs that fire")
    for axes in panels[:, 0]:
        axes.set_ylabel("% of synapses alive")
    for dashes, (one, other) in zip(DASHES, BORDERS, strict=False):
        panels[0, 0].plot([], [], color=FAINT, linestyle=dashes, label=f"{one} = {other}")
    panels[0, 0].plot([], [], color=DENSE, linestyle=DASHES[3], label="engine = torch")
    legend_below(figure, panels[0, 0])
    return figure


def _percents(axis: Any, shares: Sequence[float]) -> None:
    axis.set_ticks([100 * share for share in shares], [f"{100 * share:g}" for share in shares])
    axis.set_ticks([], minor=True)


def _border(axes: Any, points: list[dict[str, Any]], of: Any, dashes: Any, colour: str = FAINT) -> None:
    """Draw where a ratio is 1, interpolated between the points in logarithms."""
    rates, shares = (sorted({p[key] for p in points}) for key in ("rate", "alive"))
    height = {(p["alive"], p["rate"]): np.log(of(p)) for p in points}
    level = np.array([[height[alive, rate] for rate in rates] for alive in shares])
    if level.min() < 0 < level.max() and min(level.shape) > 1:
        axes.contour(
            100 * np.array(rates), 100 * np.array(shares), level, [0.0], colors=colour, linestyles=[dashes],
            linewidths=1.0,
        )  # fmt: skip


# --- real runs


def operations(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Return synaptic operations and seconds (the fewest of all rounds) of recordings of each conv-snn."""
    task = TASKS["nmnist"].quick() if given.quick else TASKS["nmnist"]
    wanted: list[tuple[Any, float]] = [("dense", 0.0), *itertools.product(("dpap", "magnitude"), TARGETS)]
    found = []
    for method, target in wanted[:2] if given.quick else wanted:
        network = trained(task, given.runs, method, target)
        frames, _ = recordings(network, 2 if given.quick else PER_NETWORK)
        model: Any = network.subject.model
        engine = Engine(plan(model, frames[:, :1]))
        topology = discover(model, network.subject.example())
        alive = {name: synapses_of(model.get_submodule(name)) for name in topology.projections}
        for i in range(frames.shape[1]):
            with SpikeCounter(model, topology) as counter:
                with torch.no_grad():
                    network.subject.outputs(frames[:, i : i + 1])
                synops = counter.operations(1, alive).synops
            turn = partial(engine, frames_of(frames[:, i : i + 1]))
            took = harness.take_turns({"engine": turn}, 3 * given.rounds)
            found.append({"network": network.name, "synops": synops, "seconds": min(took["engine"].times)})
    return found


@compiled
def add_rows(rows: Array, sums: Array, times: int) -> None:
    """Add rows to sums, all of them so many times: one load of a row, one addition and no more."""
    for _ in range(times):
        for i in range(rows.shape[0]):
            for j in range(rows.shape[1]):
                sums[j] += rows[i, j]


def roofline(rounds: int, *, quick: bool = False) -> dict[str, float]:
    """Return additions a second of rows that lie in the nearest cache, and bytes a second from memory."""
    near, far = np.ones((16, 256), np.float32), np.ones((1 << (10 if quick else 17), 256), np.float32)
    sums, times = np.zeros(256, np.float32), 2000
    turns = {
        "near": lambda: add_rows(near, sums, times),
        "far": lambda: add_rows(far, sums, 1),
    }
    took = harness.take_turns(turns, rounds)
    return {
        "adds": near.size * times / min(took["near"].times),
        "bytes": far.nbytes / min(took["far"].times),
    }


def line(points: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return slope (seconds an operation), offset (seconds) and R^2 of the line through seconds."""
    x, y = (np.array([point[key] for point in points]) for key in ("synops", "seconds"))
    slope, offset = np.polyfit(x, y, 1)
    left = y - (slope * x + offset)
    spread = ((y - y.mean()) ** 2).sum()
    return {"slope": slope, "offset": offset, "r2": 1 - (left**2).sum() / spread if spread else 1.0}


def kinds(points: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the recordings of all networks, and those by how their network was pruned."""
    found = {"all": list(points)}
    for point in points:
        found.setdefault(point["network"].split(",")[0], []).append(point)
    return found


def operations_said(points: list[dict[str, Any]], roof: dict[str, float]) -> str:
    """Return a row for each network, the line through all recordings, and the roofline."""
    rows = []
    for name in dict.fromkeys(point["network"] for point in points):
        own = [point for point in points if point["network"] == name]
        synops, seconds = (statistics.mean(point[key] for point in own) for key in ("synops", "seconds"))
        share = synops / seconds / roof["adds"]
        rows.append(
            (name, f"{synops:,.0f}", f"{1e6 * seconds:.0f}", f"{1e9 * seconds / synops:.2f}", f"{share:.3f}")
        )
    lines = [
        f"- Line through {len(own)} recordings of {name} networks: {1e9 * fit['slope']:.3f} ns an operation "
        f"({fit['slope'] * roof['adds']:.1f} times the addition alone), {1e6 * fit['offset']:.0f} us for a "
        f"recording, R^2 {fit['r2']:.3f}."
        for name, own in kinds(points).items()
        for fit in [line(own)]
    ]
    said = "\n".join([
        *lines,
        f"- This machine adds {roof['adds'] / 1e9:.1f} billion float32 a second in its nearest cache and "
        f"reads {roof['bytes'] / 1e9:.1f} GB/s from memory, on one thread.",
    ])  # fmt: skip
    head = ":network | operations | us | ns an operation | of the machine's additions"
    return table(head, rows) + "\n\n" + said


def scattered(points: list[dict[str, Any]]) -> Figure:
    """Draw the time of recordings against their operations, and the line."""
    figure = canvas(2.6)
    axes = figure.subplots()
    found = kinds(points)
    del found["all"]
    for (name, own), colour, marker in zip(found.items(), LINES, "osv^", strict=False):
        axes.plot(
            [p["synops"] / 1e3 for p in own], [1e6 * p["seconds"] for p in own], marker, markersize=3,
            color=colour, label=name,
        )  # fmt: skip
    fit, most = line(points), max(point["synops"] for point in points)
    ends = np.array([0.0, most])
    axes.plot(
        ends / 1e3, 1e6 * (fit["offset"] + fit["slope"] * ends), color=FAINT, linestyle="--", label="line"
    )
    axes.set_xlabel("synaptic operations of a recording (thousands)")
    axes.set_ylabel("time of a recording (us)")
    axes.set_ylim(bottom=0)
    tidy(axes)
    legend_below(figure, axes)
    return figure


# --- all of it


def measure(given: argparse.Namespace) -> dict[str, Any]:
    batches = BATCHES[:2] if given.quick else BATCHES
    found: dict[str, Any] = {"machine": {**harness.machine(), "clock": given.clock}}
    for layer, batch in itertools.product(LAYERS, batches):
        found.setdefault("sweep", {})[f"{layer.name}, batch {batch}"] = sweep(layer, batch, given)
    found["roofline"] = roofline(given.rounds, quick=given.quick)
    if given.runs:
        found["operations"] = operations(given)
    return found


def pictures(found: dict[str, Any], folder: Path) -> None:
    """Draw what was found into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = f"{LAYERS[-1].name}, batch {BATCHES[-1]}" in found["sweep"]
    drawings: dict[str, Callable[[], Figure]] = {}
    if whole:
        drawings["engine-crossover"] = lambda: maps(found["sweep"])
    if "operations" in found:
        drawings["engine-operations"] = lambda: scattered(found["operations"])
    for name, drawing in drawings.items():
        draw(Picture(name, "", "", "", drawing), folder)
        (folder / f"{name}.png").unlink()


def main() -> None:
    options = harness.parser(__doc__)
    options.add_argument("--rounds", type=int, default=harness.ROUNDS, help=f"{harness.WARM_UP} more warm up")
    options.add_argument("--out", type=Path, help="a file for the figures, which are measured once")
    options.add_argument("--runs", type=Path, help="folder of the networks of benchmarks.engine.table")
    options.add_argument("--pictures", type=Path, help="a folder for pictures")
    harness.add_clock(options)
    options.add_argument("--quick", action="store_true", help="few points: does it run at all?")
    given = options.parse_args()
    torch.set_num_threads(1)
    harness.set_clock(given.clock)
    found = measure(given) if given.out is None else harness.once(given.out, lambda: measure(given))
    for name, points in found["sweep"].items():
        print(f"\n{name}: fastest side, microseconds of a step and sample, share of torch's\n")
        print(sweep_table(points))
    if "operations" in found:
        print("\n" + operations_said(found["operations"], found["roofline"]))
    if given.pictures:
        pictures(found, given.pictures)
    print("\n" + ", ".join(f"{name} {value}" for name, value in found["machine"].items()))


if __name__ == "__main__":
    main()
