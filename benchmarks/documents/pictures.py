"""Draw the pictures of docs/dpap.md: DPAP's equations by the code that computes them, and what a run did.

snnprune train --out runs/pictures                          # the demo, a minute or two
python -m benchmarks.documents.pictures runs/pictures       # without a run: the equations alone
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from benchmarks import harness
from snnprune.methods.dpap import BCM, SurvivalFunction, spiking_trace
from snnprune.methods.dpap.survival import ETA, Constants
from snnprune.pruning import Activity, Candidates, Clock
from snnprune.pruning.normalisation import percentile
from snnprune.report.picture import Picture, canvas, draw
from snnprune.report.plots import fan_in, learning, maps
from snnprune.report.style import DASHES, DENSE, FAINT, GONE, LINES, PRUNED, THIRD, tidy
from snnprune.runs.reading import read_run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.figure import Figure
    from torch import Tensor

IMAGES = harness.IMAGES / "dpap"

STEPS = 20
EPOCHS = 300
SCORES = (0.0, 0.05, 0.1, 0.3, 0.5)
TARGETS = (0.4, 0.6, 0.8)

OF_A_RUN = (learning.weights_left, fan_in.fan_in, maps.synapses)
"""Pictures of a run's page that the document shows, too."""


def main(words: Sequence[str] | None = None) -> int:
    parser = harness.parser(__doc__)
    parser.add_argument("run", nargs="?", type=Path, help="folder of a run of dpap")
    parser.add_argument("--out", type=Path, default=IMAGES)
    given = parser.parse_args(words)
    pictures = [Picture(name, "", "", "", drawing) for name, drawing in OF_EQUATIONS.items()]
    if given.run is not None:
        made = [maker(read_run(given.run)) for maker in OF_A_RUN]
        pictures += [each for each in made if isinstance(each, Picture)]
    given.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for picture in pictures:
            draw(picture, Path(folder))
            shutil.copyfile(Path(folder) / f"{picture.name}.svg", given.out / f"{picture.name}.svg")
            print(given.out / f"{picture.name}.svg")
            if picture.alt:
                print(f"  {picture.alt}")
    return 0


# --- what the pictures show


def trains() -> Tensor:
    """Spikes of three neurons, [T, 3]: one that fires early, one late, one seldom."""
    spikes = torch.zeros(STEPS, 3)
    for neuron, times in enumerate(((1, 2, 3, 4, 6, 8), (9, 12, 14, 16, 17, 18), (5, 13))):
        spikes[list(times), neuron] = 1.0
    return spikes


def traces(spikes: Tensor) -> Tensor:
    """The trace after each step, [T, neurons]."""
    return torch.stack([spiking_trace(spikes[: step + 1]) for step in range(len(spikes))])


def threshold(batches: int = 200, samples: int = 50) -> tuple[Tensor, Tensor]:
    """Mean trace of each batch and the threshold behind it, [batches] each, of a neuron that wakes up."""
    dice = torch.Generator().manual_seed(0)
    statistics = {"sum": torch.zeros(1, 1), "activity": torch.zeros(1), "theta": torch.zeros(1)}
    rule, means, thetas = BCM(), [], []
    for number in range(batches):
        rate = 0.5 if number < batches // 4 else 1.2
        post = torch.poisson(torch.full((samples, 1), rate), generator=dice)
        rule.plasticity(statistics, Activity(pre=torch.ones(samples, 1), post=post), number + 1)
        means.append(float(post.mean()))
        thetas.append(float(statistics["theta"]))
    return torch.tensor(means), torch.tensor(thetas)


def fates(scores: Sequence[float], epochs: int = EPOCHS) -> Tensor:
    """Survival F after each epoch of units whose normalised scores stay as they are, [epochs, units]."""
    rule = SurvivalFunction(0.65, constants=Constants(eta=ETA))
    rule.normalise = lambda score, _: score  # they are u already
    alive, seen = torch.ones(len(scores), dtype=torch.bool), []
    for epoch in range(epochs):
        units = candidates(torch.tensor(scores), alive)
        alive = rule.decide(units, Clock(epochs, epoch))
        seen.append(rule.survival(units, rule.constants.schedule(epochs)).clone())
    return torch.stack(seen)


def candidates(score: Tensor, alive: Tensor, to_go: int | None = None) -> Candidates:
    """The synapses of a fully connected layer."""
    return Candidates("synapses/fc", "synapse", "linear", score, alive, torch.ones_like(score), to_go)


def steered(target: float, epochs: int = 60, synapses: int = 4000) -> Tensor:
    """Share dead after each epoch, [epochs], where scores are as in a trained layer: half of them 0."""
    dice = torch.Generator().manual_seed(0)
    score = torch.rand(synapses, generator=dice).sub(0.5).clamp_min(0.0).pow(3)
    rule, alive, dead = SurvivalFunction(), torch.ones(synapses, dtype=torch.bool), []
    for epoch in range(epochs):
        noisy = score * torch.rand(synapses, generator=dice)  # no epoch scores as the last one did
        to_go = round(target * synapses) - int((~alive).sum())
        alive = rule.decide(candidates(noisy, alive, to_go), Clock(epochs, epoch))
        dead.append(float((~alive).float().mean()))
    return torch.tensor(dead)


# --- the pictures


def _trace() -> Figure:
    spikes = trains()
    curves, figure = traces(spikes), canvas(2.5)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(1, 2))
    for neuron, name in enumerate(("early", "late", "seldom")):
        style = {"color": LINES[neuron], "linestyle": DASHES[neuron]}
        top.eventplot(
            spikes[:, neuron].nonzero()[:, 0], lineoffsets=-neuron, linelengths=0.7, color=LINES[neuron]
        )
        bottom.plot(range(STEPS), curves[:, neuron], label=name, **style)
        bottom.plot(STEPS - 1, curves[-1, neuron], "o", color=LINES[neuron], markersize=4, clip_on=False)
    top.set(yticks=[0, -1, -2], yticklabels=["early", "late", "seldom"])
    top.set_title("spikes", loc="left")
    bottom.set_title("trace S, of which the last value (dot) is kept", loc="left")
    bottom.set(
        xlabel="time step", ylabel="S", ylim=(0, 2.1), xlim=(-0.5, STEPS - 0.5), xticks=range(0, STEPS, 3)
    )
    for axes in (top, bottom):
        tidy(axes, grid=axes is bottom)
    return figure


def _bcm() -> Figure:
    figure = canvas(2.9)
    left, right = figure.subplots(1, 2)
    post = torch.linspace(0, 2, 101)
    for theta, colour, dash in zip((0.4, 0.9, 1.4), LINES, DASHES, strict=False):
        left.plot(post, post * (post - theta), color=colour, linestyle=dash, label=f"θ = {theta:g}")
    left.axhline(0, color=FAINT, linewidth=0.6)
    left.set(xlabel="S of the post neuron", ylabel="S (S - θ)", ylim=(-0.6, 2))
    left.legend(loc="upper left")
    means, thetas = threshold()
    right.plot(means, color=FAINT, linewidth=0.5, label="mean S of a batch")
    right.plot(thetas, color=PRUNED, label="θ")
    right.set(xlabel="batch", ylim=(0, 1.7))
    right.legend(loc="lower right", handlelength=1)
    for axes in (left, right):
        tidy(axes)
    return figure


def _normalised() -> Figure:
    figure = canvas(2.3)
    axes = figure.subplots()
    dice = torch.Generator().manual_seed(0)
    score = torch.cat([torch.zeros(500), 4 * torch.rand(500, generator=dice).pow(3)]).sort().values
    u = percentile(score, torch.ones(len(score), dtype=torch.bool))
    assert u is not None
    share = torch.full_like(score, 1 / len(score))
    axes.hist(score.numpy(), bins=40, weights=share.numpy(), color=GONE, label="share of the synapses")
    axes.plot(score, u, color=PRUNED, label="u")
    axes.axvline(
        float(score[score > 0].quantile(0.75)), color=DENSE, linestyle="--", label="P75 of those above 0"
    )
    axes.set(xlabel="importance", ylim=(0, 1.1))
    axes.legend(loc="center right")
    tidy(axes)
    return figure


def _survival() -> Figure:
    figure = canvas(2.9)
    axes = figure.subplots()
    followed = fates(SCORES)
    for unit, score in enumerate(SCORES):
        dead = (followed[:, unit] < 0).nonzero()
        end = int(dead[0]) + 1 if len(dead) else EPOCHS
        style = {"color": LINES[unit], "linestyle": DASHES[unit]}
        axes.plot(range(1, end + 1), followed[:end, unit], label=f"u = {score:g}", **style)
        if len(dead):
            axes.plot(end, 0, "x", color=LINES[unit], markersize=6, markeredgewidth=1.5, clip_on=False)
    axes.axhline(0, color=FAINT, linewidth=0.8)
    axes.set(ylabel="survival F", ylim=(-2, 22), xlim=(0, 150))
    tidy(axes, epochs=True)
    axes.legend(loc="upper right", ncols=2)
    return figure


def _target() -> Figure:
    figure = canvas(2.5)
    axes = figure.subplots()
    for target, colour, dash in zip(TARGETS, (PRUNED, DENSE, THIRD), DASHES, strict=False):
        dead = 100 * steered(target)
        axes.plot(
            range(1, len(dead) + 1), dead, color=colour, linestyle=dash, label=f"{target:.0%} asked for"
        )
    axes.set(ylabel="pruned (%)", ylim=(0, 100))
    tidy(axes, epochs=True)
    figure.legend(loc="outside lower center", ncols=3)
    return figure


OF_EQUATIONS: dict[str, Callable[[], Figure]] = {
    "trace": _trace,
    "bcm": _bcm,
    "normalised": _normalised,
    "survival-function": _survival,
    "target": _target,
}

if __name__ == "__main__":
    raise SystemExit(main())
