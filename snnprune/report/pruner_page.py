"""The page of a pruner in a loop of the user's own: what was pruned when, and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from snnprune.common.errors import UserError
from snnprune.pruning.measures import WHAT
from snnprune.report import sizes
from snnprune.report.page import Number, Page, Section, Table, write
from snnprune.report.picture import draw_all
from snnprune.report.plots import fan_in, firing, learning, maps, metrics, survival
from snnprune.report.subject import Subject

if TYPE_CHECKING:
    from snnprune.pruning import Pruner
    from snnprune.runs.size import Size

PICTURES = (
    metrics.metrics,
    learning.weights_left,
    survival.survival,
    fan_in.fan_in,
    maps.neurons,
    maps.synapses,
    firing.firing,
)


def write_page(pruner: Pruner, path: str | Path) -> Path:
    """Write the page to ``path``, a file or a folder, and its pictures into ``figures/`` beside it.

    Raises:
        UserError: no epoch has ended, or the page cannot be written.
    """
    if not len(pruner.history):
        raise UserError(
            "no epoch of this pruner has ended, so there is nothing to show: call end_epoch first"
        )
    path = Path(path)
    path = path if path.suffix == ".html" else path / "report.html"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"the page cannot be written to {path.parent}: {error.strerror}") from error
    subject = Subject.of(pruner)
    drawn, missing = draw_all(PICTURES, subject, path.parent / "figures")
    write(
        Page(
            kind="Report of a pruner",
            title=f"{type(pruner.model).__name__}, {pruner.name}",
            lead=_lead(pruner),
            numbers=_numbers(subject.summary),
            sections=[
                Section("What was pruned, and why", pictures=drawn, missing=missing),
                _layers(subject.summary),
                _frozen(pruner),
            ],
        ),
        path,
    )
    return path


def _lead(pruner: Pruner) -> str:
    done, planned = pruner.clock.epoch, pruner.clock.epochs
    aims = " and ".join(f"{aim.rate:.0%} of all {WHAT[aim.measure]}" for aim in pruner.method.aims)
    asked = f", towards a target of {aims}" if aims else ""
    return (
        f"The network was pruned with {pruner.name} while it was trained, for {done} of {planned} "
        f"epochs{asked}. The seed of the method is {pruner.seed}."
    )


def _numbers(size: Size) -> list[Number]:
    macs = sizes.share("macs", "of the multiply-accumulates are left", size.macs_left, size.macs_dense)
    return [*sizes.shares(size), macs]


def _layers(size: Size) -> Section:
    return Section("Layer by layer", tables=[Table("Weights and neurons", sizes.HEAD, sizes.rows(size))])


def _frozen(pruner: Pruner) -> Section:
    rows = [
        [p.name, f"{p.size:,}", p.frozen] for p in pruner.dense.populations.values() if p.frozen is not None
    ]
    return Section(
        "What was kept whole", tables=[Table("Populations", ["population", "units", "because"], rows)]
    )
