"""The table and the picture of the BDNN-sp paper: how large a network each task needs.

    python -m benchmarks.papers.shrinking run FOLDER       # what is there already is not done again
    python -m benchmarks.papers.shrinking table FOLDER
    python -m benchmarks.papers.shrinking picture FOLDER FILE.png

784-1000-K with sigmoid units, lr 1 without momentum, as in the paper, whose batch, numbers of epochs and
patience are not printed: here batches of 100, 30 epochs before the first removal and 5 between two, a
patience of 3 (the method's default) and of 10 removals, and a mean weight E over the connections left or, as
the paper prints it, over inputs and outputs. A loop of its own: its axes are samples, classes and readings of
the paper, of which a bench has none.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import torch

from benchmarks.harness import accuracy, cells, once, parser, spread
from benchmarks.papers.regularisers import Cell, learn, network, read
from snnprune.methods.bdnn_sp import BDNNsp, Divisor
from snnprune.pruning import Pruner
from snnprune.report.style import DASHES, LINES, SETTINGS
from support.markdown import table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SAMPLES = (600, 1200, 2400, 4800)
CLASSES = ("0,1,2,3,4", "0,1,2,3,4,5,6,7,8,9")
HIDDEN, BATCH, RATE = 1000, 100, 1.0
BEFORE, BETWEEN, LONGEST = 30, 5, 600
READINGS: tuple[tuple[int, Divisor], ...] = ((3, "connections"), (10, "connections"), (10, "units"))
"""Patience, and what E is divided by."""

CURVES = {"accuracy": "accuracy", "stability": "stability", "mean_weight": "mean |w|", "total": "fitness"}
"""What is drawn of a removal, and what it is called."""

DRAWN = READINGS[1]
"""The reading whose curves go on past their peak."""


def tasks(seeds: Sequence[int]) -> Iterator[tuple[int, tuple[int, Divisor], int, str]]:
    """Yield seed, reading, samples and classes of every run, all those of the first seed first."""
    yield from itertools.product(seeds, READINGS, SAMPLES, reversed(CLASSES))


def train(seed: int, samples: int, classes: str, patience: int, divisor: Divisor) -> dict[str, Any]:
    """Train, prune until the fitness has peaked, and return what it came to."""
    began = time.perf_counter()
    splits, images, validation, test = read("mnist", samples=samples, classes=classes)
    cell = Cell("mnist", HIDDEN, "bdnn-sp", BATCH, seed)
    model = network(cell, splits)
    optimizer = torch.optim.SGD(model.parameters(), RATE)
    method = BDNNsp(patience=patience, train_epochs=BEFORE, retrain_epochs=BETWEEN, divisor=divisor)
    dense, curve = 0.0, []
    with Pruner(model, images.pixels[:1], method, epochs=LONGEST, seed=seed, compact_every=1) as pruner:
        for epoch in range(LONGEST):
            learn(model, images, optimizer, pruner, cell)
            due = epoch + 1 >= BEFORE and (epoch + 1 - BEFORE) % BETWEEN == 0
            if epoch + 1 == BEFORE:
                dense = accuracy(model, test.batches())
            pruner.end_epoch({"val_accuracy": accuracy(model, validation.batches())} if due else None)
            if len(method.curve) > len(curve):
                fitness = method.curve[-1]
                curve.append(asdict(fitness) | {"total": fitness.total})
            if pruner.finished:
                break
        left = int(pruner.masks.units["fc1"].sum())
    return {
        "seed": seed,
        "samples": samples,
        "patience": patience,
        "divisor": divisor,
        "classes": classes.count(",") + 1,
        "accuracy_dense": dense,
        "accuracy": accuracy(model, test.batches()),
        "hidden": left,
        "curve": curve,
        "finished": pruner.finished,
        "seconds": round(time.perf_counter() - began, 1),
    }


def run(folder: Path, seeds: Sequence[int]) -> None:
    """Train what is not there yet."""
    torch.set_num_threads(1)
    for seed, (patience, divisor), samples, classes in tasks(seeds):
        task = f"n{samples}-k{classes.count(',') + 1}-p{patience}-{divisor}-s{seed}"
        given = (seed, samples, classes, patience, divisor)
        done = once(folder / f"shrinking-{task}.json", lambda given=given: train(*given))
        print(f"{task}: {done['hidden']} left, {done['seconds']:.0f} s", flush=True)


def load(folder: Path, **wanted: Any) -> list[dict[str, Any]]:
    """Return all finished runs of what is wanted."""
    return [done for done in cells(folder, "shrinking-*.json") if wanted.items() <= done.items()]


def shown(folder: Path) -> str:
    """Return a row for each number of samples and classes, as Markdown."""
    rows = []
    for (patience, divisor), samples, classes in itertools.product(READINGS, SAMPLES, CLASSES):
        kinds = classes.count(",") + 1
        own = load(folder, patience=patience, divisor=divisor, samples=samples, classes=kinds)
        if own:
            rows.append((
                patience,
                divisor,
                f"{samples:,}",
                kinds,
                len(own),
                spread([r["hidden"] for r in own], "{:.0f}"),
                spread([100 * r["accuracy_dense"] for r in own]),
                spread([100 * r["accuracy"] for r in own]),
            ))  # fmt: skip
    head = (
        "patience | :E over | samples | classes | seeds | hidden neurons left of 1,000 "
        "| accuracy before pruning (%) | at the end (%)"
    )
    return table(head, rows)


def picture(folder: Path, file: Path) -> None:
    """Draw accuracy, stability, mean weight and fitness against the neurons left (the paper's Fig. 3)."""
    patience, divisor = DRAWN
    own = load(folder, seed=0, classes=CLASSES[1].count(",") + 1, patience=patience, divisor=divisor)
    with plt.rc_context(SETTINGS):
        figure, axes = plt.subplots(
            1,
            len(own),
            figsize=(2.1 * len(own), 2.6),
            sharey=True,
            squeeze=False,
            layout="constrained",
        )
        for axis, done in zip(axes[0], sorted(own, key=lambda r: r["samples"]), strict=True):
            neurons = [point["neurons"] for point in done["curve"]]
            for number, (name, label) in enumerate(CURVES.items()):
                values = [point[name] for point in done["curve"]]
                axis.plot(neurons, values, label=label, color=LINES[number], linestyle=DASHES[number])
            axis.axvline(done["hidden"], color="grey", linewidth=0.8)
            axis.set(
                xscale="log",
                title=f"{done['samples']:,} samples",
                xlabel="hidden neurons left",
                xlim=(HIDDEN, 1),
            )
            axis.xaxis.set_major_formatter("{x:g}")
        figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=len(CURVES))
        figure.savefig(file, dpi=200)
        plt.close(figure)


def main() -> None:
    """Run, or show what is there."""
    options = parser(__doc__)
    options.add_argument("what", choices=["run", "table", "picture"])
    options.add_argument("folder", type=Path)
    options.add_argument("file", type=Path, nargs="?", default=Path("shrinking.png"))
    options.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    given = options.parse_args()
    if given.what == "run":
        run(given.folder, given.seeds)
    elif given.what == "table":
        print(shown(given.folder))
    else:
        picture(given.folder, given.file)


if __name__ == "__main__":
    main()
