"""Hold the claims of the DPAP paper against the runs of a bench, and print the table for docs/results/.

A claim holds where every interval of its figure lies on its side of the line, does not hold where every one
lies on the other, and cannot be said in between. Differences are paired by seed. Accuracies have two
intervals, as in `snnprune bench`: Student's over seeds, and a bootstrap over seeds and test samples.

    snnprune bench --config configs/bench/nmnist-small.yaml
    python -m benchmarks.papers.claims runs/bench-nmnist
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

import numpy as np

from benchmarks.harness import parser
from snnprune.bench.convergence import convergence
from snnprune.bench.results import read
from snnprune.bench.tables import NONE
from snnprune.common.errors import UserError
from snnprune.common.statistics import Interval, bootstrap_difference, mean_interval
from snnprune.report.plots.fan_in import fates
from snnprune.runs.reading import Run
from support.markdown import table
from support.reported import ABLATIONS, BEST, FAN_IN, GAIN_FROM, REPORTED, USUAL_SPEEDUP, Reported

HOLDS, FAILS, OPEN = "holds", "does not hold", "cannot be said"

Runs = Mapping[int, Run]
"""Of one method and target, by seed."""


@dataclass(frozen=True)
class Claim:
    """A claim, and what a bench says of it.

    Attributes:
        claim: in words.
        paper: what the paper reports.
        figure: ours, in words with its unit; `NONE` where it was not measured.
        seeds: interval over seeds, or why there is no figure.
        sampled: interval over seeds and test samples, or `NONE`.
        verdict: `HOLDS`, `FAILS` or `OPEN`.
    """

    claim: str
    paper: str
    figure: str
    seeds: str
    sampled: str
    verdict: str


def main(words: Sequence[str] | None = None) -> int:
    options = parser(__doc__)
    options.add_argument("bench", nargs="+", type=Path, help="folder of a bench of dense and dpap")
    for folder in options.parse_args(words).bench:
        try:
            print(markdown(folder))
        except UserError as error:
            print(f"claims: {error}", file=sys.stderr)
            return 2
    return 0


def markdown(folder: Path) -> str:
    """Return the table of a bench, with what it was measured on.

    Raises:
        UserError: there is nothing to compare, or runs that do not belong together.
    """
    runs = grouped(folder)
    first = next(iter(runs["dense", None].values()))
    about = (
        f"{first.summary.model} on {first.summary.dataset}, {first.summary.epochs} epochs, seeds "
        f"{', '.join(map(str, runs['dense', None]))}, {len(first.tested.labels):,} test samples:"
    )
    head = ":claim of the paper | reported | measured | 95 % over seeds | 95 % over seeds and samples | :"
    rows = ((c.claim, c.paper, c.figure, c.seeds, c.sampled, f"**{c.verdict}**") for c in claims(runs))
    return "\n\n".join([about, table(head, rows), NOTE]) + "\n"


NOTE = (
    "Runs with a target follow its schedule: it decides when weights, synapses and neurons go, so claims "
    "about that speak of the schedule, not of the paper's fixed epsilon. Energy is of the arithmetic alone."
)


def grouped(folder: Path) -> dict[tuple[str, float | None], dict[int, Run]]:
    """Return the finished runs of a bench by method and target, then by seed.

    Raises:
        UserError: it holds no finished runs of the two, or runs that do not belong together.
    """
    found: dict[tuple[str, float | None], dict[int, Run]] = {}
    for run in read(folder).results:
        found.setdefault((run.method, run.target), {})[run.seed] = run
    if ("dense", None) not in found or not any(method == "dpap" for method, _ in found):
        raise UserError(
            f"{folder} holds no finished runs of both dense and dpap: their claims are of the two"
        )
    return found


def claims(runs: Mapping[tuple[str, float | None], Runs]) -> list[Claim]:
    """Return every claim with what these runs say of it."""
    dense = runs["dense", None]
    dpap = {
        target if target is not None else fmean(run.summary.pruning_rate for run in found.values()): found
        for (method, target), found in runs.items()
        if method == "dpap"
    }
    summary = next(iter(dense.values())).summary
    paper = REPORTED.get((summary.dataset, summary.model))
    best = min(dpap, key=lambda target: (abs(target - BEST), target))
    return [
        *(gain_over_dense(dpap[target], dense, target, paper) for target in sorted(dpap)),
        *highest_at(dpap, best),
        lasting_gain(dpap[best], dense, best),
        *(convergence_speed(dpap[best], dense, best, share, paper) for share in (1.0, 0.99)),
        _flattening(dpap[best], best),
        SPINES,
        _order(dpap[best], best),
        _fan_in(dpap[best], best),
        energy_beside_weights(dpap[best], dense, best),
        *(ablated(dpap[best], runs, other, best) for other in ABLATIONS),
    ]


# --- verdicts


def verdict(*intervals: Interval | None, line: float = 0.0, above: bool = True) -> str:
    """Say what all ``intervals`` support of "it is above ``line``", or with ``above=False`` of "below"."""
    ends = [(i.low, i.high) for i in intervals if i is not None]
    if not ends or any(low is None or high is None for low, high in ends):
        return OPEN
    if all(low > line for low, _ in ends):  # type: ignore[operator]
        return HOLDS if above else FAILS
    if all(high < line for _, high in ends):  # type: ignore[operator]
        return FAILS if above else HOLDS
    return OPEN


def _paired(ours: Runs, others: Runs) -> tuple[Interval | None, Interval | None]:
    """Return the difference in accuracy, in points: over seeds, and over seeds and test samples."""
    shared = sorted(ours.keys() & others.keys())
    if not shared:
        return None, None
    points = [100 * (ours[s].summary.accuracy - others[s].summary.accuracy) for s in shared]
    hits = [np.stack([runs[s].tested.hits for s in shared]) for runs in (ours, others)]
    drawn = bootstrap_difference(hits[0], hits[1])
    assert drawn.low is not None
    assert drawn.high is not None
    return mean_interval(points), Interval(100 * drawn.mean, 100 * drawn.low, 100 * drawn.high, drawn.count)


def _ends(interval: Interval | None, digits: str) -> str:
    if interval is None or interval.low is None or interval.high is None:
        return NONE
    return f"[{interval.low:{digits}}, {interval.high:{digits}}]"


def _points(claim: str, paper: str, ours: Runs, others: Runs, line: float = 0.0) -> Claim:
    """Return the claim that one network is more than ``line`` points ahead of another."""
    seeds, sampled = _paired(ours, others)
    if seeds is None:
        return Claim(claim, paper, NONE, "no seed in common", NONE, OPEN)
    said = verdict(seeds, sampled, line=line)
    return Claim(
        claim, paper, f"{seeds.mean:+.2f} points", *(_ends(i, "+.2f") for i in (seeds, sampled)), said
    )


def _number(
    claim: str,
    paper: str,
    values: Sequence[float],
    form: str,
    *,
    without: str,
    line: float = 0.0,
    above: bool = True,
) -> Claim:
    """Return the claim that a number is above, or below, a line.

    Args:
        claim: in words.
        paper: what the paper reports.
        values: one a seed.
        form: of the number and its unit, such as "+.2f points".
        without: why there are no values, where there are none.
        line: that the number is to be held against.
        above: whether the claim is that it is above.
    """
    if not values:
        return Claim(claim, paper, NONE, without, NONE, OPEN)
    interval = mean_interval(list(values))
    digits, _, unit = form.partition(" ")
    figure = f"{interval.mean:{digits}} {unit}"
    return Claim(
        claim, paper, figure, _ends(interval, digits), NONE, verdict(interval, line=line, above=above)
    )


# --- the claims


SPINES = Claim(
    "spines go before synapses", "before", NONE, "equation 11 sums spines up; none dies by itself", NONE, OPEN
)
"""Its figures draw spines, and its equations have none that could be counted."""


def gain_over_dense(ours: Runs, dense: Runs, target: float, paper: Reported | None) -> Claim:
    """Accuracy against the unpruned network: no worse than the paper's loss where it reports one."""
    share, gain = (None, 0.0) if paper is None else paper.nearest(target)
    reported = NONE if share is None else f"{gain:+.2f} points at {share:.1f} %"
    if gain < 0:
        claim = f"{target:.0%} pruned: no more than {-gain:.2f} points below unpruned"
        return _points(claim, reported, ours, dense, line=gain)
    return _points(f"{target:.0%} pruned: more accurate than unpruned", reported, ours, dense)


def highest_at(dpap: Mapping[float, Runs], best: float) -> list[Claim]:
    said = []
    for name, others in (("less", [t for t in dpap if t < best]), ("more", [t for t in dpap if t > best])):
        claim = f"accuracy peaks near {BEST:.0%} pruned: above {name}"
        if not others:
            said.append(Claim(claim, "peak at 61 %", NONE, "no such target in the bench", NONE, OPEN))
            continue
        other = min(others, key=lambda t: abs(t - best))
        claim = f"accuracy peaks near {BEST:.0%} pruned: {best:.0%} above {other:.0%}"
        said.append(_points(claim, "peak at 61 %", dpap[best], dpap[other]))
    return said


def lasting_gain(ours: Runs, dense: Runs, best: float) -> Claim:
    """Mean difference over all epochs from `GAIN_FROM` on: one epoch alone is noise."""
    values = []
    for seed in sorted(ours.keys() & dense.keys()):
        curves = (runs[seed].column("test_accuracy") for runs in (ours, dense))
        pairs = list(zip(*curves, strict=False))[GAIN_FROM - 1 :]
        values += [fmean(100 * (a - b) for a, b in pairs)] if pairs else []
    claim = (
        f"{best:.0%} pruned: ahead of unpruned after epoch 20 to 40 (mean of the epochs from {GAIN_FROM} on)"
    )
    return _number(claim, "yes", values, "+.2f points", without=f"runs end before epoch {GAIN_FROM}")


def convergence_speed(ours: Runs, dense: Runs, best: float, share: float, paper: Reported | None) -> Claim:
    """Speed-up, a geometric mean. A run that never arrives counts as if it did one epoch after its last.

    That favours the pruned network, so with such runs the figure is an upper bound: it can speak against the
    claim, and not for it.
    """
    goal = r"A\*" if share == 1 else rf"{share:g} A\*"
    claim = f"{best:.0%} pruned: fewer epochs to {goal}, A\\* being the unpruned network's best accuracy"
    reported = NONE if share != 1 else f"{USUAL_SPEEDUP if paper is None else paper.speedup:.2f} times"
    logs, never = [], 0
    for seed in sorted(ours.keys() & dense.keys()):
        race = convergence(dense[seed].column("test_accuracy"), ours[seed].column("test_accuracy"), share)
        if race is not None and race.reference is not None:
            never += race.method is None
            logs.append(math.log(race.reference / (race.method or len(ours[seed].rows) + 1)))
    if not logs:
        return Claim(claim, reported, NONE, "no curves", NONE, OPEN)
    interval = mean_interval(logs)
    if len(set(logs)) == 1:  # epochs are whole numbers: seeds alike say nothing of how it spreads
        interval = replace(interval, low=None, high=None)
    said = verdict(interval)
    figure = f"{math.exp(interval.mean):.2f} times"
    if never:
        figure = f"at most {figure}: {never} of {len(logs)} never"
        said = OPEN if said == HOLDS else said
    ends = (math.exp(end) for end in (interval.low, interval.high) if end is not None)
    shown = f"[{', '.join(f'{end:.2f}' for end in ends)}]" if interval.low is not None else NONE
    return Claim(claim, reported, figure, shown, NONE, said)


def _flattening(ours: Runs, best: float) -> Claim:
    """Of all that was pruned, how much had gone in the first half of the epochs in which something was."""
    early = [gone_early(run.column("pruned_synapses")) for run in ours.values()]
    return _number(
        f"{best:.0%} pruned: weights fall steeply, then flatten (gone in the first half of the pruning)",
        "most",
        [100 * share for share in early if share is not None],
        ".0f %",
        without="all went in one epoch",
        line=50.0,
    )


def gone_early(pruned: Sequence[float]) -> float | None:
    """Return that share from the share pruned after each epoch; None where all went in one epoch."""
    path = np.array([0.0, *pruned])
    first, last = int(np.argmax(path > 0)) - 1, int(np.argmax(path >= path[-1]))
    if path[-1] == 0 or last - first < 2:
        return None
    return float(np.interp((first + last) / 2, np.arange(len(path)), path) / path[-1])


def _order(ours: Runs, best: float) -> Claim:
    """Epochs by which half of the neurons' deaths come after half of the synapses'."""
    values = []
    for run in ours.values():
        neurons, synapses = (
            epoch_of_half(run.column(name)) for name in ("pruned_neurons", "pruned_synapses")
        )
        if neurons is not None and synapses is not None:
            values.append(neurons - synapses)
    claim = f"{best:.0%} pruned: synapses go before neurons (half of them, in epochs)"
    return _number(claim, "before", values, "+.2f later", without="no neuron was pruned")


def epoch_of_half(pruned: Sequence[float]) -> float | None:
    """Return the epoch, interpolated, in which half of what dies is dead; None where nothing dies."""
    path = np.array([0.0, *pruned])
    if path[-1] == 0:
        return None
    after = int(np.argmax(path >= path[-1] / 2))
    return float(after - 1 + (path[-1] / 2 - path[after - 1]) / (path[after] - path[after - 1]))


def _fan_in(ours: Runs, best: float) -> Claim:
    """Living synapses of units in the epoch before they died, against the kept ones' in the same epochs."""
    values = []
    for run in ours.values():
        dynamics = run.dynamics
        counts = {} if dynamics is None else dynamics.under("fan_in/")
        followed = [fates(dynamics.epochs, each) for each in counts.values()] if dynamics is not None else []
        known = [each for each in followed if each is not None]
        if known:
            dead, kept = (sum(f.at_death * f.count for f in known), sum(f.kept_then * f.count for f in known))
            values.append(100 * (dead / kept - 1))
    pruned, left = FAN_IN
    return _number(
        f"{best:.0%} pruned: pruned neurons had fewer synapses than kept ones",
        f"{100 * (pruned / left - 1):+.1f} % ({pruned} : {left})",
        values,
        "+.1f %",
        without="no neuron was pruned",
        above=False,
    )


def energy_beside_weights(ours: Runs, dense: Runs, best: float) -> Claim:
    """Energy of the arithmetic as a share of the unpruned network's, less the share of weights left."""
    values = []
    for seed in sorted(ours.keys() & dense.keys()):
        spent, whole = (runs[seed].summary.synops.energy_pj for runs in (ours, dense))
        values.append(100 * (spent.masked / whole.dense - 1 + ours[seed].summary.pruning_rate))
    claim = f"{best:.0%} pruned: energy falls as weights do (energy left less weights left)"
    found = _number(claim, "+0, by definition", values, "+.1f points", without="no seed in common")
    # Above the line or below, they differ; and no interval can show that they do not.
    return replace(found, verdict=OPEN if found.verdict == OPEN else FAILS)


def ablated(ours: Runs, runs: Mapping[tuple[str, float | None], Runs], other: str, best: float) -> Claim:
    claim = f"{best:.0%} pruned: BCM measures importance better than {ABLATIONS[other]}"
    theirs = runs.get((other, best))
    if theirs is None:
        return Claim(claim, "ahead", NONE, f"not in the bench: --methods dpap,{other}", NONE, OPEN)
    return _points(claim, "ahead", ours, theirs)


if __name__ == "__main__":
    sys.exit(main())
