"""Methods and targets side by side: accuracy, differences with their intervals, fronts."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from snnprune.report.picture import Picture, canvas
from snnprune.report.style import DASHES, DENSE, FAINT, GRID, INK, LINES, clipped, legend_below, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from snnprune.report.bench_files import Bench

    Group = dict[str, Any]

MARKERS = "osD^vP*"
UNPRUNED = "X"
COLOURS = [colour for colour in LINES if colour != DENSE]

APART, TOGETHER = 0.04, 0.15
"""Shares of the axis: between two methods at one rate, and for all methods at one rate together, at most."""

SPAN = 10.0
"""Points of pruning rate that an axis shows at least, also around a single rate."""

TICKS = 6
"""Most pruning rates that have a tick each. If there are more, the ticks are round numbers."""

NUMBERED = 12
"""Most points in a panel that are all marked with targets. If there are more, only the front is marked."""

VERDICTS = {"better": "better", "worse": "worse"}
"""Verdicts on an accuracy; any other is "no difference shown"."""


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
        "there are several seeds. Dashed: the unpruned network. Methods at the same rate are drawn a little "
        "apart. An interval that reaches beyond the picture ends in an arrow.",
        f"Points with intervals. {said}.",
        lambda: _by_rate(bench),
    )


def _by_rate(bench: Bench) -> Figure:
    figure = canvas(2.9)
    axes = figure.subplots()
    if bench.dense is not None:
        axes.axhline(_mean(bench.dense, "accuracy"), color=DENSE, linestyle="--", label="unpruned")
    methods = _methods(bench)
    wide = _rate_axis(axes, [_mean(g, "pruned") for g in bench.pruned])
    apart = wide * min(APART, TOGETHER / len(methods))
    intervals = [_ends(g["measures"]["accuracy"]["interval"]) for g in bench.pruned]
    bottom, top = _accuracy_limits([_mean(g, "accuracy") for g in bench.groups], intervals)
    axes.set_ylim(bottom, top)
    for place, (method, (colour, marker)) in enumerate(methods.items()):
        groups = sorted(_of(bench, method), key=lambda g: _mean(g, "pruned"))
        aside = apart * (place - (len(methods) - 1) / 2)
        x = [_mean(g, "pruned") + aside for g in groups]
        y = [_mean(g, "accuracy") for g in groups]
        axes.plot(x, y, color=colour, marker=marker, markersize=4, linewidth=1, label=_short(method))
        for at, g in zip(x, groups, strict=True):
            interval = g["measures"]["accuracy"]["interval"]
            _bar(axes, at, _ends(interval), (bottom, top), upright=True, color=colour, linewidth=0.9)
    axes.set(xlabel="pruned weights (%)", ylabel="test accuracy (%)")
    tidy(axes)
    legend_below(figure, axes)
    return figure


def _rate_axis(axes: Axes, rates: list[float]) -> float:
    """Set the axis of pruning rates to show ``rates`` with space on both sides, and return its width."""
    low, high = min(rates), max(rates)
    wide = max(high - low, SPAN) * 1.3
    left, right = (low + high - wide) / 2, (low + high + wide) / 2
    axes.set_xlim(left, right)
    own = sorted({round(rate, 1) for rate in rates})
    if 1 < len(own) <= TICKS and all(b - a > 0.08 * wide for a, b in pairwise(own)):
        axes.set_xticks(own)
    else:
        axes.set_xticks([tick for tick in axes.get_xticks() if left <= tick <= min(right, 100)])
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    return wide


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
        "over seeds (Student), thin over seeds and test samples (bootstrap). Filled: both intervals exclude "
        "zero. Otherwise the difference is not called better or worse. An interval that reaches beyond the "
        "picture ends in an arrow.",
        f"Intervals around differences: {'; '.join(said)}.",
        lambda: _differences(bench, groups),
    )


def _differences(bench: Bench, groups: list[Group]) -> Figure:
    figure = canvas(0.8 + 0.27 * len(groups))
    axes = figure.subplots()
    axes.axvline(0, color=DENSE, linestyle="--", linewidth=1)
    methods = _methods(bench)
    entries = [g["measures"]["accuracy"] for g in groups]
    values = [entry["difference"]["mean"] for entry in entries]
    values += [end for g in groups for end in _ends(g["bootstrap"]) if end is not None]
    reach = 1.3 * max(1e-6, *map(abs, values))
    student = [abs(end) for entry in entries for end in _ends(entry["difference"]) if end is not None]
    reach = min(max(reach, 1.05 * max(student, default=0.0)), 3 * reach)
    axes.set_xlim(-reach, reach)
    for row, (g, entry) in enumerate(zip(groups, entries, strict=True)):
        colour, marker = methods[g["method"]]
        for interval, place, width in ((g["bootstrap"], row + 0.14, 1.0), (entry["difference"], row, 2.6)):
            _bar(axes, place, _ends(interval), (-reach, reach), upright=False, color=colour, linewidth=width)
        axes.plot(
            [entry["difference"]["mean"]],
            [row],
            marker=marker,
            color=colour,
            markerfacecolor=colour if entry["verdict"] in VERDICTS else "#fdfdfd",
            markersize=5.5,
        )
    axes.set_yticks(range(len(groups)), [_label(g) for g in groups])
    axes.set(xlabel="difference in test accuracy (points)", ylim=(len(groups) - 0.4, -0.6))
    axes.tick_params(axis="y", length=0)
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
        "Up and to the left is better. The line joins the points that no other point dominates, by their "
        "means. Numbers are targets, if there are several. A point on the front need not differ "
        "significantly from its neighbours.",
        f"A panel of points for each cost. On the fronts {said}.",
        lambda: _pareto(bench),
    )


def _pareto(bench: Bench) -> Figure:
    panels = _costs(bench)
    figure = canvas(0.4 + 2.1 * len(panels))
    several = np.atleast_1d(figure.subplots(len(panels), 1))
    for axes, (front, (cost, label)) in zip(several, panels.items(), strict=True):
        _front(axes, bench, cost, set(bench.comparison["pareto"].get(front, [])))
        axes.set(xlabel=label, ylabel="test accuracy (%)")
        axes.locator_params(axis="x", nbins=5)  # small numbers have long labels
        tidy(axes)
    legend_below(figure, several[0])
    return figure


def _costs(bench: Bench) -> dict[str, tuple[str, str]]:
    """Return the measure and the label of each cost that the comparison has a front over."""
    spikes = any(_mean(g, "synops_masked") > 0 for g in bench.groups)  # else there are no synaptic operations
    operations = ("synops_masked", "SynOps") if spikes else ("macs", "MACs")
    known = {
        "weights": ("weights", "weights left (thousands)"),
        "synops": (operations[0], f"{operations[1]} a sample at unpruned synapses (millions)"),
        "energy": ("energy_masked", "energy of the arithmetic of a sample at unpruned synapses (uJ)"),
        "bytes": ("bytes_masked", "bytes of the alive weights (thousands)"),
        "latency": ("recording_event_driven", "time of one recording, event-driven (ms)"),
    }
    return {
        cost: known[cost]
        for cost in known
        if cost in bench.comparison["pareto"] and all(known[cost][0] in g["measures"] for g in bench.groups)
    }


def _front(axes: Axes, bench: Bench, cost: str, names: set[str]) -> None:
    points = {g["name"]: (_mean(g, cost), _mean(g, "accuracy")) for g in bench.groups}
    best = sorted(points[name] for name in names if name in points)
    axes.plot([x for x, _ in best], [y for _, y in best], color=GRID, linewidth=3, zorder=1)
    styles = _methods(bench) | {"dense": (DENSE, UNPRUNED)}
    marked = {g["name"] for g in bench.pruned if g.get("target") is not None}
    if len({g.get("target") for g in bench.pruned}) == 1:
        marked = set()
    elif len(marked) > NUMBERED:
        marked &= names
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
            label="unpruned" if method == "dense" else _short(method),
        )
        for g in groups:
            if g["name"] in marked:
                ahead = (
                    g["name"] in names
                )  # labels above the front, those of the others below, so that they seldom overlap
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
        "Mean over seeds of the accuracy on the test set after each epoch. Thick: the unpruned network.",
        f"Lines over {bench.comparison['epochs']} epochs. After the last epoch: {said}.",
        lambda: _curves(bench),
    )


def _curves(bench: Bench) -> Figure:
    figure = canvas(2.8)
    axes = figure.subplots()
    methods = _methods(bench)
    for g in bench.groups:
        found = bench.curves.get(g["name"])
        if not found:
            continue
        length = min(map(len, found))
        mean = 100 * np.mean([curve[:length] for curve in found], axis=0)
        dense = g["method"] == "dense"
        place = 0 if dense else _dashes(bench, g)
        axes.plot(
            range(1, length + 1),
            mean,
            color=DENSE if dense else methods[g["method"]][0],
            linestyle=DASHES[place % len(DASHES)],
            linewidth=2.4 if dense else 1.1,
            alpha=0.6 if dense else 1,
            marker="o" if length == 1 else "",
            label="unpruned" if dense else _label(g),
        )
    axes.set_ylabel("test accuracy (%)")
    tidy(axes, epochs=True)
    legend_below(figure, axes, most=3, handle=2.6)
    return figure


def _methods(bench: Bench) -> dict[str, tuple[str, str]]:
    """Return colour and marker of each method that prunes."""
    names = list(dict.fromkeys(g["method"] for g in bench.pruned))
    return {name: (COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]) for i, name in enumerate(names)}


def _dashes(bench: Bench, group: Group) -> int:
    """Return the index of a line's dashes: lines of one colour differ, as long as there are enough dashes."""
    names = [g["name"] for g in _of(bench, group["method"])]
    turn = list(_methods(bench)).index(group["method"]) // len(COLOURS)
    return names.index(group["name"]) + turn * len(names)


def _short(method: str) -> str:
    """Return the name of a method for a legend: the last part of `package.module:Name`."""
    return clipped(method.rpartition(":")[2])


def _label(group: Group) -> str:
    """Return the name of a group for an axis: a long method is clipped, its target is not."""
    target = str(group["name"]).removeprefix(str(group["method"]))
    return clipped(str(group["method"]).rpartition(":")[2], 18 - len(target)) + target


def _of(bench: Bench, method: str) -> list[Group]:
    return [g for g in bench.groups if g["method"] == method]


def _mean(group: Group, measure: str) -> float:
    return float(group["measures"][measure]["interval"]["mean"])


def _ends(interval: dict[str, Any] | None) -> tuple[Any, Any]:
    return (None, None) if interval is None else (interval["low"], interval["high"])


def _accuracy_limits(means: list[float], intervals: list[tuple[Any, Any]]) -> tuple[float, float]:
    """Return the ends of an axis of accuracies. It shows all intervals unless the means would get too close.

    With few seeds, an interval may be much wider than the differences, and may reach below 0 or above 100.
    """
    ends = [end for interval in intervals for end in interval if end is not None]
    low, high = min(means), max(means)
    room = 3.5 * max(high - low, 1.0)
    bottom, top = max(min([low, *ends]), low - room, 0.0), min(max([high, *ends]), high + room, 100.0)
    margin = 0.06 * max(top - bottom, 1.0)
    return bottom - margin, top + margin


def _bar(
    axes: Axes,
    place: float,
    ends: tuple[Any, Any],
    limits: tuple[float, float],
    *,
    upright: bool,
    **style: Any,
) -> None:
    """Draw an interval within ``limits`` of its axis. If it reaches beyond them, it ends in an arrow."""
    if ends[0] is None:
        return
    margin = 0.02 * (limits[1] - limits[0])
    inner = (limits[0] + margin, limits[1] - margin)
    span = [min(max(end, inner[0]), inner[1]) for end in ends]
    points = ([place, place], span) if upright else (span, [place, place])
    axes.plot(*points, solid_capstyle="butt", **style)
    cut = (ends[0] < inner[0], ends[1] > inner[1])
    for end, beyond, arrow in zip(span, cut, ("v", "^") if upright else ("<", ">"), strict=True):
        if beyond:
            at = ([place], [end]) if upright else ([end], [place])
            axes.plot(*at, marker=arrow, color=style["color"], markersize=3.5)
