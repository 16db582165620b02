"""The table and the picture of the BDNN-sp paper: how large a network each task needs.

    python benchmarks/shrinking.py run FOLDER       # what is there already is not done again
    python benchmarks/shrinking.py table FOLDER
    python benchmarks/shrinking.py picture FOLDER FILE.png

784-1000-K with sigmoid units, lr 1 without momentum, as in the paper, whose batch, numbers of epochs and
patience are not printed: here batches of 100, 30 epochs before the first removal and 5 between two, a
patience of 3 (the method's default) and of 10 removals, and a mean weight E over the connections left or, as
the paper prints it, over inputs and outputs.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import torch
from papers import Cell, accuracy, learn, network, read
from spread import spread

from snnprune.common import atomic
from snnprune.methods.bdnn_sp import BDNNsp, Divisor
from snnprune.pruning import Pruner
from snnprune.report.style import DASHES, LINES, SETTINGS

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
                dense = accuracy(model, test)
            pruner.end_epoch({"val_accuracy": accuracy(model, validation)} if due else None)
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
        "accuracy": accuracy(model, test),
        "hidden": left,
        "curve": curve,
        "finished": pruner.finished,
        "seconds": round(time.perf_counter() - began, 1),
    }


def run(folder: Path, seeds: Sequence[int]) -> None:
    """Train what is not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    for seed, (patience, divisor), samples, classes in tasks(seeds):
        task = f"n{samples}-k{classes.count(',') + 1}-p{patience}-{divisor}-s{seed}"
        file = folder / f"shrinking-{task}.json"
        if not file.exists():
            done = train(seed, samples, classes, patience, divisor)
            atomic.write_text(file, json.dumps(done))
            print(f"{file.stem}: {done['hidden']} left, {done['seconds']:.0f} s", flush=True)


def load(folder: Path) -> list[dict[str, Any]]:
    """Return all finished runs."""
    files = sorted(folder.glob("shrinking-*.json"))
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def table(folder: Path) -> list[str]:
    """Return a row for each number of samples and classes, as Markdown."""
    lines = [
        "| patience | E over | samples | classes | seeds | hidden neurons left of 1,000 "
        "| accuracy before pruning (%) | at the end (%) |",
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    runs = load(folder)
    for (patience, divisor), samples, classes in itertools.product(READINGS, SAMPLES, CLASSES):
        kinds = classes.count(",") + 1
        wanted = {"patience": patience, "divisor": divisor, "samples": samples, "classes": kinds}
        own = [done for done in runs if wanted.items() <= done.items()]
        if own:
            cells = (
                str(patience),
                divisor,
                f"{samples:,}",
                str(kinds),
                str(len(own)),
                spread([r["hidden"] for r in own], "{:.0f}"),
                spread([100 * r["accuracy_dense"] for r in own]),
                spread([100 * r["accuracy"] for r in own]),
            )
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def picture(folder: Path, file: Path) -> None:
    """Draw accuracy, stability, mean weight and fitness against the neurons left (the paper's Fig. 3)."""
    patience, divisor = DRAWN
    wanted = {"seed": 0, "classes": CLASSES[1].count(",") + 1, "patience": patience, "divisor": divisor}
    own = [r for r in load(folder) if wanted.items() <= r.items()]
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


def main() -> int:
    """Run, or show what is there."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["run", "table", "picture"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("file", type=Path, nargs="?", default=Path("shrinking.png"))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    given = parser.parse_args()
    if given.what == "run":
        run(given.folder, given.seeds)
    elif given.what == "table":
        print("\n".join(table(given.folder)))
    else:
        picture(given.folder, given.file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
