"""How fast training is beside SpikingJelly, unpruned and half removed; how much memory it takes.

    python -m benchmarks.speed.step [--only mnist ...] [--rounds 9] [--whole 40] [--grow] [--out speed.json]

Every figure is a ratio to the same network of SpikingJelly's own neurons, multi-step and unpruned, in the
same process. Each network is measured in a process of its own, once with malloc as it comes, once with malloc
told to keep what it has; all contenders of a process share that setting. Memory is measured in a process per
contender.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.harness import ALLOCATORS, IMAGES, child, environment, parser, ratio
from benchmarks.speed.measure import INFER, SWEEPS, TRAIN
from benchmarks.workloads import BARE, DPAP, FUSED_SURROGATES, LIMIT, PLAIN, REMOVED, WORKLOADS
from support.markdown import table as markdown

if TYPE_CHECKING:
    import argparse

PEAKED, PEAKS = (PLAIN, DPAP, REMOVED), 3  # malloc does not fill its holes alike in every process

Measured = dict[str, Any]
"""Of one workload: {"seconds": {contender: {"train": [...], "infer": [...]}}, "peak": {contender: bytes}}."""

Value = Callable[[Measured], "float | None"]


# --- what is measured


class Figures:
    """What has been measured, by allocator and name; with a file it is kept there, and not measured again."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        there = path is not None and path.exists()
        self.found: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8")) if there else {}

    def once(self, allocator: str, name: str, measure: Callable[[], Any]) -> Any:
        """Return the figure of ``name``, measured now unless it is known."""
        known = self.found.setdefault(allocator, {})
        if name not in known:
            known[name] = measure()
            if self.path is not None:
                self.path.write_text(json.dumps(self.found, indent=1) + "\n", encoding="utf-8")
        return known[name]


def collect(given: argparse.Namespace, allocator: str, figures: Figures) -> None:
    """Measure all that is asked for under one allocator's setting."""

    def measured(module: str, *words: str) -> Any:
        print(f"{', '.join(words)}; {allocator} allocator ...", file=sys.stderr)
        options = ["--device", given.device, "--rounds", str(given.rounds)]
        options += ["--threads", str(given.threads)] * (given.threads is not None) + ["--quick"] * given.quick
        return child(f"benchmarks.{module}", [*words, *options], allocator)

    def peak(name: str, contender: str) -> float | None:
        times = 1 if given.quick or given.device == "cuda" else PEAKS
        found = [measured("memory.peak", name, contender) for _ in range(times)]
        return None if None in found else statistics.median(found)

    def network(name: str) -> Measured:
        turns: Measured = measured("speed.measure", "turns", name)
        return turns | {"peak": {one: peak(name, one) for one in PEAKED}}

    for name in given.only:
        figures.once(allocator, name, lambda name=name: network(name))
        figures.once(allocator, f"limit {name}", lambda name=name: measured("speed.measure", "limit", name))
    if given.whole is not None:
        print(f"whole training; {allocator} allocator ...", file=sys.stderr)
        figures.once(allocator, "whole", lambda: whole(given.whole, given.repeats, environment(allocator)))
    if given.grow is not None:
        sweeps = figures.once(
            allocator, "growth", lambda: {axis: measured("speed.measure", "growth", axis) for axis in SWEEPS}
        )
        draw(given.grow / f"growth-{given.device}-{allocator}.png", sweeps)
    figures.once(allocator, "bandwidth", lambda: measured("speed.measure", "bandwidth"))


DENSE, PRUNED = "SpikingJelly, dense", "fused, DPAP, live compaction"
OPTIONS = {
    DENSE: ("--method.name", "dense", "--model.accelerate", "false"),
    PRUNED: ("--method.name", "dpap", "--method.target", "0.6", "--method.structured", "0.6"),
}
KEPT = ("seconds", "accuracy", "pruning_rate", "weights_left", "epochs", "dataset")


def whole(epochs: int, repeats: int, variables: dict[str, str]) -> dict[str, list[dict[str, Any]]]:
    """Train each of `OPTIONS` on N-MNIST ``repeats`` times, data and measurements included.

    Returns:
        By name, what each training took and reached; each time the other one is first.
    """
    given = ["--data.name", "nmnist", "--train.epochs", str(epochs), "--train.twin", "false"]
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in OPTIONS}
    for number in range(repeats):
        for name in reversed(OPTIONS) if number % 2 else OPTIONS:
            with TemporaryDirectory() as folder:
                out = Path(folder) / "run"
                command = [
                    sys.executable,
                    "-m",
                    "snnprune",
                    "train",
                    *given,
                    *OPTIONS[name],
                    "--out",
                    str(out),
                ]
                begun = time.perf_counter()
                subprocess.run(command, env=variables, check=True, stdout=subprocess.DEVNULL)
                wall = time.perf_counter() - begun
                summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
                runs[name].append({"wall": wall, **{key: summary[key] for key in KEPT}})
    return runs


# --- the table


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
        figure: what it is.
        workload: of what.
        of: the figure of what was measured there, None where that cannot be measured.
        reach: at most this much, with the default and with the tuned allocator; None is only reported.
    """

    figure: str
    workload: str
    of: Value
    reach: tuple[float, float] | None = None

    def value(self, measured: Measured | None) -> float | None:
        """Return the figure, None where its workload was not measured."""
        return None if measured is None else self.of(measured)

    def cells(self, measured: Measured | None, setting: int) -> tuple[str, str]:
        """Return the figure, and what it was to reach with an allocator's setting."""
        value, reach = self.value(measured), None if self.reach is None else self.reach[setting]
        missed = value is not None and reach is not None and value > reach
        shown = "-" if value is None else f"{value:.3f}{' (missed)' if missed else ''}"
        return shown, "-" if reach is None else f"{reach:.2f}"


def time_of(name: str, what: str = TRAIN) -> Value:
    """A contender's time in units of SpikingJelly's."""
    return lambda measured: ratio(measured["seconds"][name][what], measured["seconds"][PLAIN][what])


def _pruner(measured: Measured) -> float | None:
    """What the pruner adds to a step, as a share of the step with it."""
    return 1 - ratio(measured["seconds"][BARE][TRAIN], measured["seconds"][DPAP][TRAIN])


def _fastest(measured: Measured) -> float | None:
    """The step in units of SpikingJelly's fastest fused surrogate, which is another than the paper's."""
    others = [measured["seconds"][name][TRAIN] for name in FUSED_SURROGATES if name in measured["seconds"]]
    return max(ratio(measured["seconds"][DPAP][TRAIN], other) for other in others) if others else None


def _memory(measured: Measured) -> float | None:
    peaks = measured["peak"]
    return peaks[DPAP] / peaks[PLAIN] if peaks[DPAP] and peaks[PLAIN] else None


def _whole(measured: Measured) -> float | None:
    own, other = ([run["seconds"] for run in measured[name]] for name in (PRUNED, DENSE))
    return statistics.median(own) / statistics.median(other)


def _limit(measured: Measured) -> float | None:
    return ratio(measured[LIMIT], measured[PLAIN])


FLOOR = "convolutions and matrix products alone, without neurons"
UNPRUNED, GONE = "training step, DPAP on, nothing pruned yet", "training step, half of all units removed"
SHARE, LOOK = "the pruner's share of its own step", "inference, half of all units removed"
FASTEST = "training step, beside SpikingJelly's fastest fused surrogate"
PEAK, WHOLE = (
    "peak memory above the model, nothing pruned yet",
    "whole training, data and validation included",
)

ROWS = (
    Row(UNPRUNED, "mnist", time_of(DPAP), (0.32, 0.40)),
    Row(UNPRUNED, "nmnist", time_of(DPAP), (0.32, 0.40)),
    Row(UNPRUNED, "mnist-direct", time_of(DPAP), (0.28, 0.36)),
    Row(UNPRUNED, "cifar10", time_of(DPAP), (0.80, 0.80)),
    Row(UNPRUNED, "sew", time_of(DPAP)),
    Row(UNPRUNED, "gesture", time_of(DPAP)),
    *(Row(FLOOR, f"limit {name}", _limit) for name in WORKLOADS),
    *(Row(FASTEST, name, _fastest) for name in WORKLOADS),
    Row(GONE, "mnist", time_of(REMOVED), (0.15, 0.20)),
    Row(GONE, "nmnist", time_of(REMOVED), (0.15, 0.20)),
    Row(GONE, "cifar10", time_of(REMOVED), (0.30, 0.30)),
    Row(GONE, "sew", time_of(REMOVED)),
    Row(GONE, "gesture", time_of(REMOVED)),
    Row(SHARE, "mnist", _pruner, (0.03, 0.03)),
    Row(SHARE, "nmnist", _pruner, (0.03, 0.03)),
    Row(LOOK, "mnist", time_of(REMOVED, INFER), (0.19, 0.25)),
    Row(LOOK, "nmnist", time_of(REMOVED, INFER), (0.19, 0.25)),
    *(Row(PEAK, name, _memory, (0.5, 0.5)) for name in ("mnist", "nmnist", "cifar10", "sew", "gesture")),
    Row(WHOLE, "whole", _whole, (0.30, 0.40)),
)


def report(results: dict[str, dict[str, Measured]]) -> str:
    """Return all that was measured as text with Markdown tables.

    Args:
        results: what was measured, by allocator setting ("default", "tuned") and workload.
    """
    settings = [name for name in ALLOCATORS if name in results]
    parts = [table(results, settings)]
    for name in settings:
        found = results[name]
        parts.append(f"Medians of a training step in seconds, {name} allocator:\n\n{seconds(found)}")
        memory = found["bandwidth"]
        parts.append(
            f"Fused LIF layer, forward and backward, {name} allocator: {memory['layer'] / 1e9:.1f} of "
            f"{memory['copy'] / 1e9:.1f} GB/s that a copy reaches ({memory['share']:.0%})"
        )
        for run, took in (found.get("whole") or {}).items():
            accuracy = ", ".join(f"{one['accuracy']:.2%}" for one in took)
            spans = ", ".join(f"{one['seconds']:.0f} s" for one in took)
            parts.append(f"Whole training, {name} allocator, {run}: {spans}; test accuracy {accuracy}")
    machines = {str(r["machine"]) for found in results.values() for r in found.values() if "machine" in r}
    return "\n\n".join([*parts, *machines])


def table(results: dict[str, dict[str, Measured]], settings: list[str]) -> str:
    """Return the figures, and what they were to reach."""
    rows = []
    for row in ROWS:
        found = {name: results[name].get(row.workload) for name in settings}
        if any(row.value(measured) is not None for measured in found.values()):
            name = row.workload.removeprefix("limit ")
            title = WORKLOADS[name].what if name in WORKLOADS else WORKLOADS["nmnist"].what
            places = list(ALLOCATORS)
            cells = (cell for name, of in found.items() for cell in row.cells(of, places.index(name)))
            rows.append((row.figure, title, *cells))
    return markdown(" | ".join([":figure", ":network", *(f"{name} | reach" for name in settings)]), rows)


def seconds(found: dict[str, Measured]) -> str:
    """Return the median seconds of every contender's training step."""
    measured = {name: of["seconds"] for name, of in found.items() if name in WORKLOADS}
    contenders = list(dict.fromkeys(one for of in measured.values() for one in of))
    return markdown(
        " | ".join([":network", *contenders]),
        (
            (WORKLOADS[name].what, *(f"{statistics.median(of[one][TRAIN]):.4f}" for one in contenders))
            for name, of in measured.items()
        ),
    )


# --- the picture

LABELS = {"steps": "time steps T", "batch": "batch size B", "width": "width, x 15C-40C-300FC"}
# Okabe and Ito's palette: told apart with every common kind of colour blindness. Markers differ as well.
STYLES = {PLAIN: ("#D55E00", "s"), DPAP: ("#0072B2", "o"), REMOVED: ("#009E73", "^")}


def draw(path: Path, sweeps: dict[str, list[dict[str, Any]]]) -> None:
    """Write the picture of how a step grows along all of `SWEEPS`."""
    figure = Figure(figsize=(9.0, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(sweeps), sharey=True)
    for axes, (name, points) in zip(panels, sweeps.items(), strict=True):
        values = [point[name] for point in points]
        for contender, (colour, marker) in STYLES.items():
            took = [point["seconds"][contender] for point in points]
            axes.loglog(values, took, color=colour, marker=marker, label=contender)
        axes.set_xlabel(LABELS[name])
        axes.set_xticks(values, [f"{value:g}" for value in values], minor=False)
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("training step (s)")
    figure.axes[0].legend(frameon=False, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def main() -> None:
    options = parser(__doc__, rounds=9)
    options.add_argument("--only", nargs="*", choices=WORKLOADS, default=list(WORKLOADS))
    options.add_argument(
        "--allocators", nargs="+", choices=ALLOCATORS, help="default: both; on a GPU the first"
    )
    options.add_argument("--whole", type=int, metavar="EPOCHS", help="also train N-MNIST to the end: minutes")
    options.add_argument("--repeats", type=int, default=1, help="of the whole training")
    options.add_argument(
        "--grow", type=Path, nargs="?", const=IMAGES, metavar="FOLDER",
        help="draw how the step grows with T, batch and width (default folder: docs/images)",
    )  # fmt: skip
    options.add_argument("--out", type=Path, help="keep what is measured there, as JSON, and go on from it")
    options.add_argument("--quick", action="store_true", help="tiny shapes: does it run at all?")
    given = options.parse_args()
    # malloc is the CPU's: the tensors of a GPU never meet it.
    settings = given.allocators or (list(ALLOCATORS) if given.device == "cpu" else ["default"])
    figures = Figures(given.out)
    for allocator in settings:
        collect(given, allocator, figures)
    print(report(figures.found))


if __name__ == "__main__":
    main()
