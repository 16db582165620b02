"""The comparison of a bench: means with intervals, and differences to the unpruned network.

Differences are paired by seed. A difference is called "better" or "worse" only if its interval excludes zero.
For accuracy, the bootstrap interval over seeds and test samples must exclude zero too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from snnprune.bench.convergence import SHARES, Race, convergence, learning_speed
from snnprune.bench.grid import DENSE
from snnprune.bench.results import cell_of
from snnprune.common.statistics import (
    OPEN,
    Interval,
    bootstrap_difference,
    mean_interval,
    paired_difference,
    pareto_front,
    verdict,
)
from snnprune.runs.summary import SIDES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from snnprune.bench.results import Found
    from snnprune.runs.reading import Run

SAME_COST = 1e-3
"""Share by which costs may differ and still count as equal: methods round the same target differently."""


@dataclass(frozen=True)
class Measure:
    """One number of a run.

    Attributes:
        key: its name in files.
        title: its name in tables.
        unit: its unit.
        read: returns it for a run, in that unit; None for a run of a version that did not count it.
        digits: decimal places.
        good: 1 if more is better, -1 if less is better, 0 if neither is.
    """

    key: str
    title: str
    unit: str
    read: Callable[[Run], float | None]
    digits: int
    good: int


def _synops(kind: str) -> Callable[[Run], float]:
    return lambda r: float(r.summary.synops[kind]) / 1e6


def _by_events(kind: str) -> Callable[[Run], float | None]:
    def read(run: Run) -> float | None:
        counted = run.summary.synops.by_events
        return None if counted is None else float(counted[kind]) / 1e6

    return read


def _compact(what: str, unit: float) -> Callable[[Run], float]:
    return lambda r: float(r.summary.compact[what]) / unit


def _macs(kind: str) -> Callable[[Run], float]:
    return lambda r: float(r.summary.synops.macs[kind]) / 1e6


def _energy(kind: str) -> Callable[[Run], float]:
    return lambda r: float(r.summary.synops.energy_pj[kind]) / 1e6


def _stored(kind: str) -> Callable[[Run], float | None]:
    return lambda r: None if r.summary.bytes is None else r.summary.bytes[kind] / 1e3


def _inference(kind: str) -> Callable[[Run], float]:
    return lambda r: 1e3 * float(r.summary.machine.inference_seconds[kind])


def _recording(kind: str) -> Callable[[Run], float | None]:
    return lambda r: (r.summary.machine.recording_ms or {}).get(kind)


MEASURES = (
    Measure("accuracy", "test accuracy", "%", lambda r: 100 * r.summary.accuracy, 2, 1),
    Measure(
        "accuracy_at_best",
        "test accuracy, best epoch on validation",
        "%",
        lambda r: 100 * r.summary.accuracy_at_best,
        2,
        1,
    ),
    Measure("pruned", "weights pruned", "%", lambda r: 100 * r.summary.pruning_rate, 2, 0),
    Measure("weights_dense", "weights, dense network", "k", lambda r: r.summary.weights_dense / 1e3, 1, 0),
    Measure("weights", "weights left", "k", lambda r: r.summary.weights_left / 1e3, 1, -1),
    Measure("weights_compact", "weights, compact network", "k", _compact("weights", 1e3), 1, -1),
    Measure("macs_dense", "MACs, dense network", "M", lambda r: r.summary.macs_dense / 1e6, 2, 0),
    Measure("macs", "MACs of the weights left", "M", lambda r: r.summary.macs_left / 1e6, 2, -1),
    Measure("macs_compact", "MACs, compact network", "M", _compact("macs", 1e6), 2, -1),
    Measure("synops_dense", "SynOps, all synapses", "M", _synops("dense"), 3, -1),
    Measure("synops_masked", "SynOps, alive synapses", "M", _synops("masked"), 3, -1),
    Measure("synops_compact", "SynOps, compact network", "M", _synops("compact"), 3, -1),
    Measure("synops_by_events_dense", "SynOps by events, all synapses", "M", _by_events("dense"), 3, -1),
    Measure("synops_by_events_masked", "SynOps by events, alive", "M", _by_events("masked"), 3, -1),
    Measure("synops_by_events_compact", "SynOps by events, compact", "M", _by_events("compact"), 3, -1),
    Measure("analogue_dense", "MACs of analogue layers, all synapses", "M", _macs("dense"), 3, -1),
    Measure("analogue_masked", "MACs of analogue layers, alive", "M", _macs("masked"), 3, -1),
    Measure("analogue_compact", "MACs of analogue layers, compact", "M", _macs("compact"), 3, -1),
    Measure("energy_dense", "energy, all synapses", "uJ", _energy("dense"), 3, -1),
    Measure("energy_masked", "energy, alive synapses", "uJ", _energy("masked"), 3, -1),
    Measure("energy_compact", "energy, compact network", "uJ", _energy("compact"), 3, -1),
    Measure("bytes_dense", "bytes of weights, dense network", "kB", _stored("dense"), 1, 0),
    Measure("bytes_masked", "bytes of weights, alive", "kB", _stored("masked"), 1, -1),
    Measure("bytes_compact", "bytes of weights, compact network", "kB", _stored("compact"), 1, -1),
    Measure("training", "training time", "s", lambda r: r.summary.seconds, 1, -1),
    Measure("inference_dense", "inference of a batch, dense", "ms", _inference("dense"), 2, 0),
    Measure("inference_compact", "inference of a batch, compact", "ms", _inference("compact"), 2, -1),
    *(
        Measure(
            f"recording_{kind}",
            f"one recording, {title}",
            "ms",
            _recording(kind),
            3,
            -1 if kind != "dense" else 0,
        )
        for kind, title in SIDES.items()
    ),
    Measure("memory", "peak memory", "MB", lambda r: r.summary.machine.peak_memory_mb, 0, -1),
)
"""The measures, in the order of the tables. Numbers of operations are for one test sample."""

BY_KEY = {measure.key: measure for measure in MEASURES}


@dataclass(frozen=True)
class Entry:
    """One measure of one group of runs.

    Attributes:
        values: values by seed.
        interval: mean over the seeds, with its interval.
        difference: difference to the unpruned runs of the same seeds; None if there are none.
        verdict: `BETTER`, `WORSE` or `OPEN`; `MORE`, `LESS` or `OPEN` if neither direction is better; ""
            without a difference.
    """

    values: dict[int, float]
    interval: Interval
    difference: Interval | None
    verdict: str


@dataclass(frozen=True)
class Speed:
    """How much sooner a group reaches an accuracy than the unpruned runs of the same seeds.

    Attributes:
        races: races by seed; None for a curve that cannot be compared.
        ratio: median over the seeds. A seed that does not reach the accuracy counts as slower than any other.
            None if the median is such a seed.
        low: lower end of the interval of the geometric mean. None if a seed does not reach the accuracy, if
            there is only one seed, or if all seeds have the same ratio.
        high: upper end; None as ``low`` is.
        verdict: "faster", "slower", `OPEN`, or how many runs do not reach the accuracy.
    """

    races: dict[int, Race | None]
    ratio: float | None
    low: float | None
    high: float | None
    verdict: str


@dataclass(frozen=True)
class Group:
    """Runs that differ in the seed alone.

    Attributes:
        name: a name such as "dpap-0.6".
        method: the name of the method.
        target: the share to prune.
        seeds: seeds of its finished runs.
        measures: entries by `Measure.key`, without those that a run of the group does not have.
        bootstrap: difference in accuracy to the unpruned runs, in points, over seeds and test samples.
        speedups: convergence, by share of the unpruned network's best accuracy.
        learning_speed: the learning speed L.
        layers: pruned share of each layer, in per cent.
        measure: what the target is a share of.
        reached: mean of the pruned shares of that measure; None without a target, and where it is not known.
    """

    name: str
    method: str
    target: float | None
    seeds: tuple[int, ...]
    measures: dict[str, Entry]
    bootstrap: Interval | None
    speedups: dict[float, Speed]
    learning_speed: Speed | None
    layers: dict[str, Interval]
    measure: str
    reached: float | None


@dataclass(frozen=True)
class Comparison:
    """All groups of a bench.

    Attributes:
        dataset: the name of the data set.
        model: the name of the model.
        epochs: epochs of the longest run; a method may stop earlier.
        test_samples: number of samples that the accuracy is measured on.
        groups: the groups, the unpruned network first.
        pareto: names of the groups on the Pareto front of accuracy and cost, by the cost (`costs`).
        unfinished: runs that are left out because they have not ended.
        left_out: runs that are left out although they have ended, each with its reason.
    """

    dataset: str
    model: str
    epochs: int
    test_samples: int
    groups: tuple[Group, ...]
    pareto: dict[str, list[str]]
    unfinished: tuple[str, ...]
    left_out: dict[str, str]


def compare(found: Found) -> Comparison:
    """Compare the runs of a bench with its unpruned runs."""
    first = found.results[0]
    together = [list(runs) for _, runs in groupby(found.results, key=lambda run: cell_of(run).group)]
    dense = {run.seed: run for run in found.results if run.method == DENSE}
    groups = tuple(_group(runs, dense) for runs in together)
    return Comparison(
        dataset=first.summary.dataset,
        model=first.summary.model,
        epochs=max(len(run.rows) for run in found.results),
        test_samples=len(first.tested.labels),
        groups=groups,
        pareto={cost: _front(groups, measure) for cost, measure in costs(groups).items()},
        unfinished=tuple(found.unfinished),
        left_out=found.left_out,
    )


def _group(runs: list[Run], dense: dict[int, Run]) -> Group:
    first = runs[0]
    pruned = first.method != DENSE
    pairs = [(run, dense[run.seed]) for run in runs if run.seed in dense] if pruned else []
    bootstrap = _bootstrap(pairs)
    return Group(
        name=cell_of(first).group,
        method=first.method,
        target=first.aim[1],
        seeds=tuple(run.seed for run in runs),
        measures={
            m.key: _entry(m, runs, pairs, bootstrap) for m in MEASURES if len(_values(m, runs)) == len(runs)
        },
        bootstrap=bootstrap,
        speedups={
            share: _speed({a.seed: convergence(_curve(d), _curve(a), share) for a, d in pairs})
            for share in (SHARES if pairs else ())
        },
        learning_speed=(
            _speed({a.seed: learning_speed(_curve(d), _curve(a)) for a, d in pairs}) if pairs else None
        ),
        layers={
            name: mean_interval([100 * run.summary.layers[name].pruned for run in runs])
            for name in first.summary.layers
        },
        measure=first.aim[0],
        reached=_mean_of([run.reached for run in runs]),
    )


def _mean_of(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known and len(known) == len(values) else None


def _curve(run: Run) -> list[float]:
    return run.column("test_accuracy")


def _bootstrap(pairs: Sequence[tuple[Run, Run]]) -> Interval | None:
    if not pairs:
        return None
    ours, dense = (np.stack([run.tested.hits for run in side]) for side in zip(*pairs, strict=True))
    found = bootstrap_difference(ours, dense)
    assert found.low is not None
    assert found.high is not None
    return Interval(100 * found.mean, 100 * found.low, 100 * found.high, found.count)


def _entry(
    measure: Measure,
    runs: Sequence[Run],
    pairs: Sequence[tuple[Run, Run]],
    bootstrap: Interval | None,
) -> Entry:
    values, reference = _values(measure, runs), _values(measure, [dense for _, dense in pairs])
    difference = paired_difference(values, reference)
    # Predictions are those of the last epoch, so the best epoch on validation has no second interval.
    second = bootstrap if measure.key == "accuracy" else None
    return Entry(
        values,
        mean_interval(list(values.values())),
        difference,
        "" if difference is None else verdict(difference, second, measure.good),
    )


def _values(measure: Measure, runs: Sequence[Run]) -> dict[int, float]:
    """Return a measure by seed, of the runs that have it."""
    found = {run.seed: measure.read(run) for run in runs}
    return {seed: value for seed, value in found.items() if value is not None}


def _speed(races: dict[int, Race | None]) -> Speed:
    run = [race for race in races.values() if race is not None]
    ratios = [race.ratio for race in run if race.ratio is not None]
    missing = len(races) - len(ratios)
    ranked = sorted([*ratios, *[-math.inf] * missing])
    median = float(np.median(ranked)) if ranked else -math.inf
    if missing:
        verdict = f"not reached in {missing} of {len(races)} runs"
        return Speed(races, median if math.isfinite(median) else None, None, None, verdict)
    logs = mean_interval([math.log(ratio) for ratio in ratios])
    # Epochs are whole numbers: equal ratios of a few seeds do not show their spread.
    if logs.low is None or logs.high is None or len(set(ratios)) == 1:
        return Speed(races, median, None, None, OPEN)
    verdict = ("faster" if logs.mean > 0 else "slower") if logs.excludes_zero else OPEN
    return Speed(races, median, math.exp(logs.low), math.exp(logs.high), verdict)


def _front(groups: Sequence[Group], cost: str) -> list[str]:
    points = [
        (group.measures[cost].interval.mean, group.measures["accuracy"].interval.mean) for group in groups
    ]
    return [groups[i].name for i in pareto_front(points, SAME_COST)]


def costs(groups: Sequence[Group]) -> dict[str, str]:
    """Return the costs that fronts are drawn over, and the measure of each.

    "weights" left; "synops", or what stands in for them (`operations`); "energy" of the arithmetic; "bytes"
    of alive weights; and "latency", the time of one recording in the event-driven network. The last three
    are left out where not all groups have them, or all have 0.
    """
    found = {"weights": "weights", "synops": operations(groups)}
    for cost, measure in FURTHER_COSTS.items():
        means = [group.measures[measure].interval.mean for group in groups if measure in group.measures]
        if len(means) == len(groups) and any(means):
            found[cost] = measure
    return found


FURTHER_COSTS = {"energy": "energy_masked", "bytes": "bytes_masked", "latency": "recording_event_driven"}
"""Measures of costs that not every bench has."""


def operations(groups: Sequence[Group]) -> str:
    """Return the measure of a network's operations: SynOps, or MACs for a network without spikes."""
    spikes = any(group.measures["synops_masked"].interval.mean > 0 for group in groups)
    return "synops_masked" if spikes else "macs"
