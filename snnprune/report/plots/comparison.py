"""Methods and targets side by side: accuracy, differences with their intervals, fronts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from snnprune.report.picture import Picture, canvas
from snnprune.report.style import DASHES, DENSE, FAINT, GRID, INK, LINES, clipped, evenly, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from snnprune.report.bench_files import Bench

    Group = dict[str, Any]

MARKERS = "osD^vP*"
UNPRUNED = "X"

APART = 0.012
"""Share of the width by which methods stand apart, so that intervals at one rate do not hide each other."""

VERDICTS = {"better": "better", "worse": "worse"}
"""What is said of an accuracy; anything else is "no difference shown"."""


def by_rate(bench: Bench) -> Picture | None:
    """Return accuracy against pruning rate at the end of training (the DPAP paper's Fig. 2G-I)."""
    if not bench.pruned:
        return None
    said = "; ".join(
        f"{clipped(g['name'], 30)} {_mean(g, 'accuracy'):.2f}% with {_mean(g, 'pruned'):.1f}% pruned"
        for g in bench.groups
    )
    return Picture(
        "accuracy-by-rate",
        "Accuracy against pruning rate",
        f"Mean over seeds at the end of training, with its {bench.comparison['level']:.0%} interval where "
        "there are several seeds. Dashed: the unpruned network. Methods at one rate stand a little apart; an "
        "interval that reaches beyond the picture is cut.",
        f"Points with intervals. {said}.",
        lambda: _by_rate(bench),
    )


def _by_rate(bench: Bench) -> Figure:
    figure = canvas(2.9)
    axes = figure.subplots()
    if bench.dense is not None:
        axes.axhline(_mean(bench.dense, "accuracy"), color=DENSE, linestyle="--", label="unpruned")
    rates = [_mean(g, "pruned") for g in bench.pruned]
    step = APART * max(max(rates) - min(rates), 1.0)
    for place, (method, (colour, marker)) in enumerate(_methods(bench).items()):
        groups = sorted(_of(bench, method), key=lambda g: _mean(g, "pruned"))
        aside = step * (place - (len(_methods(bench)) - 1) / 2)
        x = [_mean(g, "pruned") + aside for g in groups]
        y = [_mean(g, "accuracy") for g in groups]
        axes.plot(x, y, color=colour, marker=marker, markersize=4, linewidth=1, label=clipped(method))
        _bars(axes, x, [_ends(g["measures"]["accuracy"]["interval"]) for g in groups], colour)
    _limit(axes, [_mean(g, "accuracy") for g in bench.groups])
    axes.set(xlabel="pruned weights (%)", ylabel="test accuracy (%)")
    tidy(axes)
    figure.legend(loc="outside lower center", ncols=evenly(len(_methods(bench)) + 1))
    return figure


def differences(bench: Bench) -> Picture | None:
    """Return each group's difference in accuracy to the unpruned network, with both of its intervals."""
    groups = [g for g in bench.pruned if g["measures"]["accuracy"]["difference"] is not None]
    if not groups:
        return None
    said = []
    for g in groups:
        entry = g["measures"]["accuracy"]
        low, high = _ends(entry["difference"])
        ends = "" if low is None else f", {low:+.2f} to {high:+.2f}"
        said.append(
            f"{clipped(g['name'], 30)} {entry['difference']['mean']:+.2f} points{ends} ({entry['verdict']})"
        )
    return Picture(
        "differences",
        "Difference to the unpruned network",
        f"In points of test accuracy, paired by seed, with {bench.comparison['level']:.0%} intervals: thick "
        "over seeds (Student), thin over seeds and test samples (bootstrap). Filled: both exclude zero. "
        "Where neither or only one does, nothing is called better or worse.",
        f"Intervals around differences: {'; '.join(said)}.",
        lambda: _differences(bench, groups),
    )


def _differences(bench: Bench, groups: list[Group]) -> Figure:
    figure = canvas(0.8 + 0.27 * len(groups))
    axes = figure.subplots()
    axes.axvline(0, color=DENSE, linestyle="--", linewidth=1)
    methods = _methods(bench)
    for row, g in enumerate(groups):
        entry, (colour, marker) = g["measures"]["accuracy"], methods[g["method"]]
        for interval, place, width in ((g["bootstrap"], row + 0.14, 1.0), (entry["difference"], row, 2.6)):
            low, high = _ends(interval)
            if low is not None:
                axes.plot([low, high], [place, place], color=colour, linewidth=width, solid_capstyle="butt")
        fill = colour if entry["verdict"] in VERDICTS else "#fdfdfd"
        axes.plot(
            [entry["difference"]["mean"]],
            [row],
            marker=marker,
            color=colour,
            markerfacecolor=fill,
            markersize=5.5,
        )
    axes.set_yticks(range(len(groups)), [clipped(g["name"]) for g in groups])
    axes.set(xlabel="difference in test accuracy (points)", ylim=(len(groups) - 0.4, -0.6))
    axes.tick_params(axis="y", length=0)
    means = [g["measures"]["accuracy"]["difference"]["mean"] for g in groups]
    ends = [end for g in groups for end in _ends(g["bootstrap"]) if end is not None]
    reach = 1.3 * max(1e-6, *(abs(value) for value in [*means, *ends]))
    seen = max(
        (abs(end) for g in groups for end in _ends(g["measures"]["accuracy"]["difference"]) if end), default=0
    )
    axes.set_xlim(-min(max(reach, seen * 1.05), 3 * reach), min(max(reach, seen * 1.05), 3 * reach))
    tidy(axes)
    return figure


def pareto(bench: Bench) -> Picture:
    """Return accuracy against weights left and against operations, with the fronts."""
    fronts = bench.comparison["pareto"]
    said = "; ".join(
        f"over accuracy and {what}: {', '.join(clipped(name, 30) for name in names)}"
        for what, names in fronts.items()
    )
    return Picture(
        "pareto",
        "Pareto fronts",
        "Up and to the left is better. The line joins those that no other beats in both, by their means; "
        "numbers are the targets. That a point is on the front is no claim that it differs from its "
        "neighbours.",
        f"Two panels of points. On the fronts {said}.",
        lambda: _pareto(bench),
    )


def _pareto(bench: Bench) -> Figure:
    figure = canvas(4.6)
    upper, lower = figure.subplots(2, 1)
    spikes = any(_mean(g, "synops_masked") > 0 for g in bench.groups)  # else there are no synaptic operations
    operations = ("synops_masked", "SynOps") if spikes else ("macs", "MACs")
    for axes, cost, front, label in (
        (upper, "weights", "weights", "weights left (thousands)"),
        (lower, operations[0], "synops", f"{operations[1]} a sample at living synapses (millions)"),
    ):
        _front(axes, bench, cost, set(bench.comparison["pareto"].get(front, [])))
        axes.set(xlabel=label, ylabel="test accuracy (%)")
        tidy(axes)
    handles, labels = upper.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=evenly(len(labels)))
    return figure


def _front(axes: Axes, bench: Bench, cost: str, names: set[str]) -> None:
    points = {g["name"]: (_mean(g, cost), _mean(g, "accuracy")) for g in bench.groups}
    best = sorted(points[name] for name in names if name in points)
    axes.plot([x for x, _ in best], [y for _, y in best], color=GRID, linewidth=3, zorder=1)
    styles = _methods(bench) | {"dense": (DENSE, UNPRUNED)}
    for method in ("dense", *_methods(bench)):
        groups = _of(bench, method)
        if not groups:
            continue
        colour, marker = styles[method]
        axes.scatter(
            [points[g["name"]][0] for g in groups],
            [points[g["name"]][1] for g in groups],
            color=colour,
            marker=marker,
            s=24,
            zorder=3,
            label="unpruned" if method == "dense" else clipped(method),
        )
        for g in groups:
            if g.get("target") is not None:
                ahead = g["name"] in names  # above the front, the others below: neighbours seldom clash then
                axes.annotate(
                    f"{g['target']:g}",
                    points[g["name"]],
                    xytext=(4, 3) if ahead else (4, -3),
                    textcoords="offset points",
                    fontsize=6,
                    color=INK if ahead else FAINT,
                    verticalalignment="bottom" if ahead else "top",
                )
    axes.margins(0.12)


def curves(bench: Bench) -> Picture | None:
    """Return the mean accuracy of each group over epochs (Fig. 2D-F)."""
    if not bench.curves:
        return None
    ends = {name: [100 * curve[-1] for curve in found] for name, found in bench.curves.items()}
    said = ", ".join(f"{clipped(name, 30)} {np.mean(values):.2f}%" for name, values in ends.items())
    return Picture(
        "curves",
        "Accuracy over epochs",
        "Mean over seeds of the accuracy on the test set after each epoch; thick, the unpruned network.",
        f"Lines over {bench.comparison['epochs']} epochs. After the last epoch: {said}.",
        lambda: _curves(bench),
    )


def _curves(bench: Bench) -> Figure:
    figure = canvas(2.8 + 0.13 * (len(bench.curves) // 3))
    axes = figure.subplots()
    methods = _methods(bench)
    for g in bench.groups:
        found = bench.curves.get(g["name"])
        if not found:
            continue
        length = min(map(len, found))
        mean = 100 * np.mean([curve[:length] for curve in found], axis=0)
        dense = g["method"] == "dense"
        place = 0 if dense else [other["name"] for other in _of(bench, g["method"])].index(g["name"])
        axes.plot(
            range(1, length + 1),
            mean,
            color=DENSE if dense else methods[g["method"]][0],
            linestyle=DASHES[place % len(DASHES)],
            linewidth=2.4 if dense else 1.1,
            alpha=0.6 if dense else 1,
            marker="o" if length == 1 else "",
            label="unpruned" if dense else clipped(g["name"]),
        )
    axes.set_ylabel("test accuracy (%)")
    tidy(axes, epochs=True)
    figure.legend(loc="outside lower center", ncols=evenly(len(bench.curves), 3), handlelength=2.6)
    return figure


def _methods(bench: Bench) -> dict[str, tuple[str, str]]:
    """Return colour and marker of each method that prunes."""
    names = list(dict.fromkeys(g["method"] for g in bench.pruned))
    colours = [colour for colour in LINES if colour != DENSE]
    return {name: (colours[i % len(colours)], MARKERS[i % len(MARKERS)]) for i, name in enumerate(names)}


def _of(bench: Bench, method: str) -> list[Group]:
    return [g for g in bench.groups if g["method"] == method]


def _mean(group: Group, measure: str) -> float:
    return float(group["measures"][measure]["interval"]["mean"])


def _ends(interval: dict[str, Any] | None) -> tuple[Any, Any]:
    return (None, None) if interval is None else (interval["low"], interval["high"])


def _bars(axes: Axes, x: list[float], ends: list[tuple[Any, Any]], colour: str) -> None:
    for place, (low, high) in zip(x, ends, strict=True):
        if low is not None:
            axes.plot([place, place], [low, high], color=colour, linewidth=0.9, alpha=0.75)


def _limit(axes: Axes, means: list[float]) -> None:
    """Let an interval over few seeds, which may be wider than accuracy itself, not squeeze the means."""
    low, high = min(means), max(means)
    room = max(high - low, 1.0)
    bottom, top = axes.get_ylim()
    axes.set_ylim(max(bottom, low - 1.5 * room), min(top, high + 1.5 * room, 100 + 0.05 * room))
