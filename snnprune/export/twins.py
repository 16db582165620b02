"""Pruned networks beside their unpruned twins on the same samples, and what the difference may mean."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from snnprune.common.errors import UserError
from snnprune.common.statistics import (
    Interval,
    bootstrap_difference,
    paired_difference,
    verdict,
)
from snnprune.export.demand import aligned
from snnprune.network.axes import mapped
from snnprune.network.cost import rates
from snnprune.network.discovery import discover
from snnprune.network.duplicate import reset_states
from snnprune.network.synops import SpikeCounter
from snnprune.network.untouched import untouched
from snnprune.network.weights import device_of, synapses_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    Forward = Callable[[nn.Module, Any], Tensor]

MEASURES = {
    "accuracy": ("accuracy, %", 2, 1),
    "weights": ("weights that are not zero", 0, -1),
    "macs": ("MACs of these weights, a sample", 0, -1),
    "synops": ("SynOps, a sample", 0, -1),
    "synops_by_events": ("SynOps by events, a sample", 0, -1),
    "analogue_macs": ("MACs of layers with analogue input, a sample", 0, -1),
    "energy_pj": ("energy of the arithmetic, pJ a sample", 0, -1),
}
"""Title, decimal places, and whether more (1) or less (-1) is better."""


@dataclass(frozen=True)
class Compared:
    """One measure of the networks and of their twins.

    Attributes:
        values: of the networks, one for each seed.
        twins: of their twins.
        difference: mean of the differences, with Student's interval over the seeds; no ends for one seed.
        verdict: "better", "worse" or "no difference shown".
    """

    values: tuple[float, ...]
    twins: tuple[float, ...]
    difference: Interval
    verdict: str


@dataclass(frozen=True)
class Twins:
    """Comparison of pruned networks with their unpruned twins; print it for a table.

    Attributes:
        samples: number of samples that all networks answered.
        measures: comparisons by name: "accuracy" in per cent, "weights", "macs", "synops",
            "synops_by_events" (the table has it where it differs), "analogue_macs", "energy_pj".
        bootstrap: difference in accuracy, in points, with an interval over seeds and samples.
        differ: share of the answers that are not those of the twin, in [0, 1].
    """

    samples: int
    measures: dict[str, Compared]
    bootstrap: Interval
    differ: float

    def __str__(self) -> str:
        rows = [("", "network", "twin", "difference", "over seeds", "verdict")]
        for name, (title, digits, _) in MEASURES.items():
            found = self.measures[name]
            if name == "synops_by_events" and found == self.measures["synops"]:
                continue
            rows.append(
                (
                    title,
                    f"{np.mean(found.values):,.{digits}f}",
                    f"{np.mean(found.twins):,.{digits}f}",
                    f"{found.difference.mean:+,.{digits}f}",
                    _ends(found.difference, digits),
                    found.verdict,
                )
            )
        lines = aligned(rows)
        seeds = len(self.measures["accuracy"].values)
        shown = f"{self.samples:,} samples, {seeds} seed{'s' * (seeds > 1)}"
        answers = f"{self.differ:.1%} of the answers differ from the twin's"
        points = f"accuracy over seeds and samples: {_ends(self.bootstrap, 2)} points"
        return "\n".join([*lines, f"{shown}; {answers}; {points}"])


def _ends(interval: Interval, digits: int) -> str:
    if interval.low is None or interval.high is None:
        return "one seed"
    return f"{interval.low:+,.{digits}f} to {interval.high:+,.{digits}f}"


def compare(
    model: nn.Module | Sequence[nn.Module],
    loader: Iterable[Any],
    *,
    twin: nn.Module | Sequence[nn.Module],
    forward: Forward | None = None,
    neurons: Sequence[type[nn.Module]] = (),
) -> Twins:
    """Compare a pruned network with its unpruned twin, with the statistics of `snnprune bench`.

    All networks answer each batch before the next one is taken, so a loader that shuffles is right, too. They
    run in evaluation mode, from resting states, without gradients, and are as before afterwards. Intervals
    have 95 % confidence: Student's over the seeds, and for the accuracy also one from resampling seeds and
    samples (Efron and Tibshirani 1993). A difference is called better or worse only if its intervals exclude
    zero. With one seed, nothing is said about other seeds.

    Args:
        model: the pruned network, masked or compact, or one for each seed.
        loader: yields ``(input, labels)``; labels are whole numbers, [B].
        twin: the network that was trained alike without pruning, or one for each seed, in the same order.
        forward: ``forward(model, input)`` returns scores [B, K]. By default the network is put at rest and
            called with the input; an output with time, [T, B, K] or [B, T, K], is averaged over it.
        neurons: further neuron classes, as for `discover`.

    Raises:
        UserError: the numbers of networks differ, the loader yields nothing or something else than pairs, or
            it is not clear which axis of an output is time.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import snnprune
        >>> dense = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> small = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
        >>> batches = [(torch.rand(16, 4), torch.arange(16) % 2) for _ in range(2)]
        >>> found = snnprune.compare(small, batches, twin=dense)
        >>> found.samples, found.measures["weights"].values, found.measures["weights"].twins
        (32, (36.0,), (48.0,))
    """
    models, twins = _listed(model), _listed(twin)
    if len(models) != len(twins) or not models:
        raise UserError(
            f"expected as many networks as twins, one for each seed, came {len(models)} and {len(twins)}: "
            "pass the unpruned network that belongs to each"
        )
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        for each in {id(m): m for m in (*models, *twins)}.values():
            stack.enter_context(untouched(each))
        sides = [_Side(each, forward or _called, neurons) for each in (*models, *twins)]
        for side in sides:
            stack.callback(side.close)
        answered = [_answer(sides, number, batch) for number, batch in enumerate(loader)]
    if not answered:
        raise UserError("the loader yields no batch, so there is nothing to compare: pass one with samples")
    return _compared(sides[: len(models)], sides[len(models) :], np.concatenate(answered))


def _listed(model: nn.Module | Sequence[nn.Module]) -> list[nn.Module]:
    networks = [model] if isinstance(model, nn.Module) else list(model)
    for each in networks:
        if not isinstance(each, nn.Module):
            raise UserError(
                f"expected networks (torch.nn.Module), came {type(each).__name__}: pass the network itself"
            )
    return networks


class _Side(nn.Module):
    """One network with the way it is called, its answers, and the counter of its operations."""

    def __init__(self, model: nn.Module, call: Forward, neurons: Sequence[type[nn.Module]]) -> None:
        super().__init__()
        self.network, self.call, self.neurons = model, call, neurons
        self.answers: list[NDArray[np.int64]] = []
        self.counter: SpikeCounter | None = None

    def forward(self, x: Any) -> Tensor:
        return self.call(self.network, x)

    def answer(self, x: Any, labels: Tensor) -> None:
        """Answer a batch, and count its operations."""
        device = device_of(self.network)
        x = mapped(x, lambda tensor: tensor.to(device))
        if self.counter is None:
            self.counter = SpikeCounter(self, discover(self, (x,), neurons=self.neurons))
        scores = _scores(self(x), len(labels))
        self.answers.append(scores.argmax(1).cpu().numpy())

    def hits(self, labels: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.concatenate(self.answers) == labels

    def costs(self, samples: int) -> dict[str, float]:
        """Return the measures but the accuracy; a weight of zero counts as pruned."""
        assert self.counter is not None
        topology = self.counter.topology
        alive = {name: synapses_of(self.get_submodule(name)) for name in topology.projections}
        size, counted = rates(topology, alive), self.counter.operations(samples, alive)
        return {
            "weights": float(size.weights_left),
            "macs": float(size.macs_left),
            "synops": counted.synops,
            "synops_by_events": counted.synops_by_events,
            "analogue_macs": counted.macs,
            "energy_pj": counted.energy(),
        }

    def close(self) -> None:
        """Remove the counter's hooks."""
        if self.counter is not None:
            self.counter.close()


def _called(model: nn.Module, x: Any) -> Tensor:
    reset_states(model)
    out: Tensor = model(*x) if isinstance(x, tuple) else model(x)
    return out


def _answer(sides: Sequence[_Side], number: int, batch: Any) -> NDArray[np.int64]:
    """Let all networks answer a batch; return its labels."""
    pair = isinstance(batch, tuple | list) and len(batch) == 2
    if not pair or not isinstance(batch[1], Tensor) or batch[1].ndim != 1 or batch[1].is_floating_point():
        raise UserError(
            f"expected batches (input, labels) with whole numbers [B] as labels, and batch {number} of the "
            f"loader is {_described(batch)}: yield such pairs"
        )
    for side in sides:
        side.answer(*batch)
    labels: NDArray[np.int64] = batch[1].cpu().numpy()
    return labels


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)} of {value.dtype}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of " + ", ".join(_described(part) for part in value[:3])
    return f"a {type(value).__name__}"


def _scores(out: Tensor, samples: int) -> Tensor:
    """Return the scores [B, K] of an output [B, K], [T, B, K] or [B, T, K]."""
    shape = tuple(out.shape) if isinstance(out, Tensor) else ()
    places = [axis for axis, length in enumerate(shape[:-1]) if length == samples]
    if len(shape) == 2 and places == [0]:
        return out
    if len(shape) == 3 and len(places) == 1:
        return out.mean(1 - places[0])
    raise UserError(
        f"expected an output [B, K], [T, B, K] or [B, T, K] for {samples} samples, came "
        f"{shape or type(out).__name__}: pass forward=, a function of the network "
        "and its input that returns scores [B, K]"
    )


def _compared(sides: Sequence[_Side], twins: Sequence[_Side], labels: NDArray[np.int64]) -> Twins:
    hits, reference = (np.stack([side.hits(labels) for side in each]) for each in (sides, twins))
    found = bootstrap_difference(hits, reference)
    assert found.low is not None
    assert found.high is not None
    bootstrap = Interval(100 * found.mean, 100 * found.low, 100 * found.high, found.count)
    rows = [
        [
            {"accuracy": 100 * float(hit.mean())} | side.costs(len(labels))
            for hit, side in zip(hit_rows, each, strict=True)
        ]
        for hit_rows, each in ((hits, sides), (reference, twins))
    ]
    measures = {}
    for name, (_, _, good) in MEASURES.items():
        values, others = ([row[name] for row in each] for each in rows)
        difference = paired_difference(dict(enumerate(values)), dict(enumerate(others)))
        assert difference is not None
        said = verdict(difference, bootstrap if name == "accuracy" else None, good)
        measures[name] = Compared(tuple(values), tuple(others), difference, said)
    answers = [np.stack([np.concatenate(side.answers) for side in each]) for each in (sides, twins)]
    return Twins(len(labels), measures, bootstrap, float((answers[0] != answers[1]).mean()))
