"""What `regularisers` has trained, as tables and pictures."""

from __future__ import annotations

import itertools
import statistics
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np

from benchmarks.harness import cells, spread
from snnprune.bench.convergence import learning_speed
from snnprune.report.style import DASHES, LINES, SETTINGS
from support.markdown import table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

TITLES = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST", "cifar10": "CIFAR-10"}
DSD_BATCH = 600

FEW: dict[tuple[str, int], dict[str, str]] = {
    ("mnist", 10): {
        "plain": "81.38",
        "dropout": "78.97 (L 2.49)",
        "l2": "81.33 (L 4.98)",
        "bdnn-dsd": "83.76 (L 7.21)",
    },
    ("mnist", 100): {
        "plain": "85.01",
        "dropout": "87.74 (L 2.22)",
        "l2": "88.65 (L 2.82)",
        "bdnn-dsd": "89.56 (L 9.01)",
    },
    ("fashion-mnist", 10): {
        "plain": "76.03",
        "dropout": "73.63 (L 0.75)",
        "l2": "75.93 (L 1.13)",
        "bdnn-dsd": "78.54 (L 3.33)",
    },
    ("fashion-mnist", 100): {
        "plain": "78.12",
        "dropout": "79.89 (L 1.32)",
        "l2": "80.49 (L 2.01)",
        "bdnn-dsd": "80.77 (L 3.2)",
    },
}
"""Accuracy (%) with L of 1,200 samples, as the BDNN-dsd paper prints them; no row for 500 hidden units."""

ALL: dict[tuple[str, int], dict[str, str]] = {
    ("mnist", 100): {
        "plain": "95.27",
        "dropout": "95.29 (L 0.73)",
        "l2": "96.43 (L 1.38)",
        "bdnn-dsd": "96.94 (L 6.41)",
    },
    ("fashion-mnist", 100): {
        "plain": "86.37",
        "dropout": "87.68 (L 0.69)",
        "l2": "87.64 (L 0.88)",
        "bdnn-dsd": "88.64 (L 3.2)",
    },
    ("cifar10", 100): {
        "plain": "47.77",
        "dropout": "49.21 (L 2.79)",
        "l2": "49.78 (L 2.87)",
        "bdnn-dsd": "50.98 (L 2.31)",
    },
}
"""The same of all samples."""

BSP = {("mnist", 500): "90.31 % pruned", ("fashion-mnist", 10): "81.74 % pruned, 0.7 points lost"}
"""What the BSP paper prints of 1,200 samples; of all settings, 59 to 90 % pruned and L above 1."""

Run = dict[str, Any]
Key = tuple[str, int, str, int, bool]
"""Data set, hidden units, row, batch, and whether all samples were trained on."""


def load(folder: Path) -> dict[Key, dict[int, Run]]:
    """Return all finished cells, by what they are and by seed."""
    found: dict[Key, dict[int, Run]] = defaultdict(dict)
    for done in cells(folder, "*-s[0-9]*.json"):
        cell = done["cell"]
        key = (cell["dataset"], cell["hidden"], cell["name"], cell["batch"], cell["samples"] is None)
        found[key][cell["seed"]] = done
    return found


# --- tables


def tables(folder: Path) -> list[str]:
    """Return the tables of all that is there, as Markdown."""
    runs = load(folder)
    swept = {key for key in runs if "=" in key[2]}
    initial = {key for key in runs if "@" in key[2]}
    few = [key for key in runs if not key[4] and key not in swept | initial]
    parts = [
        ("1,200 training samples", _table(runs, few)),
        ("All training samples", _table(runs, [k for k in runs if k[4]])),
        ("Constants of BDNN-dsd", _sweeps(runs, swept)),
        ("Initial weights", _initial(runs, initial)),
    ]
    return [line for title, shown in parts if shown for line in (f"### {title}", "", shown, "")] + [NOTE]


NOTE = (
    "Mean ± standard deviation over the seeds; L against the plain network of the same batch size and seed, "
    "and of BSP, whose paper compares with both, also against the one with dropout. "
    "A dash in the last column: the papers print no such row."
)


def _table(runs: dict[Key, dict[int, Run]], keys: Sequence[Key]) -> str:
    if not keys:
        return ""
    rows, names, order = [], ("plain", "dropout", "l2", "bsp", "bdnn-dsd"), list(TITLES)
    for key in sorted(keys, key=lambda k: (order.index(k[0]), k[1], k[3], names.index(k[2]))):
        dataset, hidden, row, batch, whole = key
        own = runs[key]
        plain, dropout = (
            runs.get((dataset, hidden, name, batch, whole), {}) for name in ("plain", "dropout")
        )
        epochs = {len(done["accuracy"]) for done in own.values()}
        rows.append((
            f"{TITLES[dataset]}, {hidden}",
            row,
            batch,
            " / ".join(map(str, sorted(epochs))),
            len(own),
            _last(own.values(), "accuracy"),
            _best(own.values()),
            _speed(plain, own) if row != "plain" else "-",
            _speed(dropout, own) if row == "bsp" else "-",
            _last(own.values(), "pruned") if row == "bsp" else "-",
            _printed(dataset, hidden, row, batch, whole),
        ))  # fmt: skip
    head = (
        ":data, hidden units | :row | batch | epochs | seeds | accuracy, last epoch (%) | best epoch (%) | L "
        "| L to dropout | pruned (%) | :the paper's"
    )
    return table(head, rows)


def _last(own: Iterable[Run], what: str) -> str:
    """Return what was there after the last epoch, in per cent."""
    return spread([100 * done[what][-1] for done in own])


def _best(own: Iterable[Run]) -> str:
    """Return the accuracy of the best epoch, in per cent."""
    return spread([100 * max(done["accuracy"]) for done in own])


def _speed(reference: dict[int, Run], own: dict[int, Run]) -> str:
    """Return the learning speed against runs of the same seeds, and how often it was not reached."""
    races = [learning_speed(reference[s]["accuracy"], own[s]["accuracy"]) for s in own if s in reference]
    ratios = [race.ratio for race in races if race is not None and race.ratio is not None]
    missing = len(races) - len(ratios)
    never = f"{missing} never" if missing else ""
    return ", ".join(filter(None, (spread(ratios) if ratios else "", never))) or "-"


def _printed(dataset: str, hidden: int, row: str, batch: int, whole: bool) -> str:
    if row == "bsp":
        return "-" if whole else BSP.get((dataset, hidden), "-")
    paper = ALL if whole else FEW
    return paper.get((dataset, hidden), {}).get(row, "-") if batch == DSD_BATCH else "-"


def _sweeps(runs: dict[Key, dict[int, Run]], keys: set[Key]) -> str:
    rows = [
        (constant, f"{value:g}", len(own), _last(own, "accuracy"), _best(own), _last(own, "zeros"))
        for constant, value, own in _values(runs, keys)
    ]
    head = ":constant | value | seeds | accuracy, last epoch (%) | best epoch (%) | weights at zero (%)"
    return table(head, rows) if rows else ""


def _initial(runs: dict[Key, dict[int, Run]], keys: set[Key]) -> str:
    rows = []
    for hidden, size in sorted({(hidden, float(name.split("@")[1])) for _, hidden, name, _, _ in keys}):
        plain, own = (
            runs.get(("mnist", hidden, f"{name}@{size:g}", DSD_BATCH, False), {})
            for name in ("plain", "bdnn-dsd")
        )
        last = [_last(of.values(), "accuracy") if of else "-" for of in (plain, own)]
        rows.append((hidden, f"N(0, {size:g}²)", len(own), *last, _speed(plain, own)))
    head = "hidden units | :initial weights | seeds | plain: last epoch (%) | BDNN-dsd: last epoch (%) | L"
    return table(head, rows) if rows else ""


def _values(runs: dict[Key, dict[int, Run]], keys: set[Key]) -> Iterator[tuple[str, float, list[Run]]]:
    named = [(*key[2].split("="), key) for key in keys]
    for constant, value, key in sorted(named, key=lambda item: (item[0], float(item[1]))):
        yield constant, float(value), list(runs[key].values())


# --- pictures


def draw(folder: Path, pictures: Path) -> None:
    """Draw the papers' pictures from the first seed's runs, and the sweeps from all."""
    runs = load(folder)
    pictures.mkdir(parents=True, exist_ok=True)
    with plt.rc_context(SETTINGS):
        for name, picture in (
            ("papers-weights", _histograms),
            ("papers-sweeps", _sweep_pictures),
            ("papers-bounds", _bounds),
        ):
            figure = picture(runs)
            figure.savefig(pictures / f"{name}.png", dpi=200)
            plt.close(figure)


def _histograms(runs: dict[Key, dict[int, Run]]) -> Any:
    """Draw the weights at the end: plain beside BSP (its Fig. 4), plain beside BDNN-dsd (its Fig. 3)."""
    drawn = {"plain", "bsp", "bdnn-dsd"}
    sizes = sorted({key[1] for key in runs if key[0] == "mnist" and key[2] in drawn and not key[4]})
    figure, axes = plt.subplots(2, len(sizes), figsize=(2.3 * len(sizes), 3.8), squeeze=False)
    for (across, (row, batch)), (column, hidden) in itertools.product(
        enumerate((("bsp", 20), ("bdnn-dsd", DSD_BATCH))), enumerate(sizes)
    ):
        axis = axes[across][column]
        for number, name in enumerate(("plain", row)):
            done = runs.get(("mnist", hidden, name, batch, False), {}).get(0)
            if done is not None:
                _histogram(axis, done, name, number)
        axis.set(yscale="log", ylim=(0.7, None), title=f"{hidden} hidden units")
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        if across:
            axis.set_xlabel("weight")
        if not column:
            axis.set_ylabel(f"weights, batches of {batch}")
            axis.legend(loc="upper left", handlelength=1.2)
    figure.tight_layout()
    return figure


def _histogram(axis: Axes, done: Run, name: str, number: int) -> None:
    counts = np.array(done["histogram"])
    edges = np.linspace(-done["edge"], done["edge"], len(counts) + 1)
    axis.stairs(counts, edges, label=name, color=LINES[number], linestyle=DASHES[number])


def _sweep_pictures(runs: dict[Key, dict[int, Run]]) -> Any:
    """Draw accuracy over each constant of BDNN-dsd: mean of the seeds, and their range (its Fig. 4)."""
    values: dict[str, list[tuple[float, list[Run]]]] = defaultdict(list)
    for constant, value, own in _values(runs, {key for key in runs if "=" in key[2]}):
        values[constant].append((value, own))
    plain = runs.get(("mnist", 100, "plain", DSD_BATCH, False), {}).values()
    figure, axes = plt.subplots(1, len(values), figsize=(7.0, 2.3), sharey=True, squeeze=False)
    for axis, (constant, found) in zip(axes[0], values.items(), strict=True):
        x = [value for value, _ in found]
        last = [[100 * done["accuracy"][-1] for done in own] for _, own in found]
        axis.plot(
            x, [statistics.mean(v) for v in last], marker="o", markersize=3, color=LINES[0], label="BDNN-dsd"
        )
        axis.fill_between(x, [min(v) for v in last], [max(v) for v in last], color=LINES[0], alpha=0.2, lw=0)
        if plain:
            level = statistics.mean(100 * done["accuracy"][-1] for done in plain)
            axis.axhline(level, color=LINES[1], linestyle=DASHES[1], label="plain")
        axis.set(xscale="log", xlabel=constant, xticks=x, xticklabels=[f"{value:g}" for value in x])
        axis.minorticks_off()
    axes[0][0].set_ylabel("test accuracy (%)")
    axes[0][0].legend()
    figure.tight_layout()
    return figure


def _bounds(runs: dict[Key, dict[int, Run]]) -> Any:
    """Draw the mean bound, and the share of weights at zero, over the epochs (its Fig. 5)."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.0, 2.3))
    watched = [key for key in runs if key[2] == "bdnn-dsd" and not key[4] and key[0] == "mnist"]
    for number, key in enumerate(sorted(watched, key=lambda k: k[1])):
        done = runs[key][min(runs[key])]
        epochs = range(1, len(done["bound"]) + 1)
        look: Any = {"color": LINES[number], "linestyle": DASHES[number], "label": f"{key[1]} hidden units"}
        left.plot(epochs, done["bound"], **look)
        right.plot(epochs, [100 * share for share in done["zeros"]], **look)
    left.set(xlabel="epoch", ylabel="mean bound of a weight")
    right.set(xlabel="epoch", ylabel="weights at zero (%)")
    right.legend()
    figure.tight_layout()
    return figure
