"""Adaptive synaptic pruning (BDNN-sp): remove neurons little by little, and stop at the highest fitness.

F. Zhao, T. Zhang, Y. Zeng, B. Xu, "Towards a Brain-inspired Developmental Neural Network by Adaptive Synaptic
Pruning", ICONIP 2017.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch

from snnprune.common.errors import UserError
from snnprune.network.runs import summed
from snnprune.pruning.method import Method
from snnprune.pruning.rule import lowest
from snnprune.pruning.solver import is_prunable
from snnprune.pruning.state import WEIGHT
from snnprune.pruning.view import Decision

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from snnprune.network.topology import Population, Projection, Topology
    from snnprune.pruning.state import Axes
    from snnprune.pruning.view import View

Divisor = Literal["connections", "units"]


def stability(change: Tensor) -> float:
    """Return S = H / (max_i |p_i log2 p_i| N_c) with H = -sum p log2 p (equations 3 to 5).

    **[reading]** 0 log 0 = 0; S is clamped to [0, 1], and 0 where no weight changed.

    Args:
        change: p = |w retrained - w after pruning| of the N_c remaining connections, any shape.
    """
    terms = -torch.xlogy(change.double(), change.double()) / torch.log(torch.tensor(2.0, dtype=torch.float64))
    largest = float(terms.abs().max()) if terms.numel() else 0.0
    return min(max(float(terms.sum()) / (largest * terms.numel()), 0.0), 1.0) if largest else 0.0


@dataclass(frozen=True)
class Fitness:
    """Fitness of a network after a removal and its retraining (equation 7).

    Attributes:
        epoch: the epoch, from 0, after which the fitness was measured.
        neurons: number of neurons left in the hidden populations.
        accuracy: A, in [0, 1].
        stability: S, in [0, 1].
        mean_weight: E, in the weight's unit.
    """

    epoch: int
    neurons: int
    accuracy: float
    stability: float
    mean_weight: float

    @property
    def total(self) -> float:
        """F = (A + S + E) / 3."""
        return (self.accuracy + self.stability + self.mean_weight) / 3


class BDNNsp(Method):
    """Train first; then repeatedly remove the least important hidden neurons and retrain.

    The importance of a neuron is I_j = sum |w_in| + sum |w_out| (equation 1). Removal stops once the fitness
    F = (A + S + E) / 3 has peaked, and the network of the highest F is restored. **[reading]** Each
    hidden population loses the same share of its remaining neurons, at least one. The peak has passed after
    ``patience`` consecutive removals without a higher F. Accuracy is that of the validation set (in the
    paper, of the test set). E is the mean |w| of the remaining connections. The network before the first
    removal has no S, and is not compared. No removal is made that cannot be retrained and judged before the
    run ends.

    Args:
        share: share of the remaining neurons that each removal takes, in (0, 1).
        patience: number of consecutive removals without a higher fitness after which removal stops.
        train_epochs: number of epochs before the first removal; None: a quarter of the run.
        retrain_epochs: number of epochs between two removals.
        divisor: divisor of E: "connections", the number of remaining connections, or "units", n + m as the
            paper prints it, the number of inputs and outputs of the network.
        metric: name of the metric that is A.

    Attributes:
        curve: the fitness after each removal.
        state: by projection: "after", the weights at the start of retraining.

    Raises:
        ValueError: a share outside (0, 1), a patience or a number of epochs below 1, or an unknown divisor.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import snnprune
        >>> model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(16, 4)
        >>> pruner = snnprune.Pruner(model, x, snnprune.methods.BDNNsp(share=0.1), epochs=60)
        >>> same = snnprune.Pruner(model, x, "bdnn-sp", epochs=60, share=0.1)
    """

    formerly: ClassVar[tuple[str, ...]] = ("AdaptivePruning",)
    axes: ClassVar[Mapping[str, Axes]] = {"after": WEIGHT}

    def __init__(
        self,
        share: float = 0.05,
        *,
        patience: int = 3,
        train_epochs: int | None = None,
        retrain_epochs: int = 1,
        divisor: Divisor = "connections",
        metric: str = "val_accuracy",
    ) -> None:
        if not 0 < share < 1:
            raise ValueError(f"share is a share of the neurons left, between 0 and 1, came {share}")
        if min(patience, retrain_epochs, 1 if train_epochs is None else train_epochs) < 1:
            raise ValueError(
                "patience, train_epochs and retrain_epochs are whole numbers from 1, came "
                f"{patience}, {train_epochs} and {retrain_epochs}"
            )
        if divisor not in ("connections", "units"):
            raise ValueError(f"divisor is 'connections' or 'units', came '{divisor}'")
        self.share, self.patience, self.divisor, self.metric = share, patience, divisor, metric
        self.train_epochs, self.retrain_epochs = train_epochs, retrain_epochs
        self.curve: list[Fitness] = []
        self._waited = 0

    def begin(self, view: View) -> None:
        """Check the length of the run.

        Raises:
            UserError: the run ends before the first removal can be judged.
        """
        needed = (self.train_epochs or 0) + self.retrain_epochs + 1
        if self.train_epochs is not None and view.clock.epochs < needed:
            raise UserError(
                f"bdnn-sp with train_epochs {self.train_epochs} and retrain_epochs {self.retrain_epochs} "
                f"needs a run of at least {needed} epochs, and this one has {view.clock.epochs}"
            )

    @torch.no_grad()
    def end_epoch(self, view: View, metrics: Mapping[str, float] | None) -> Decision:
        """Judge the last removal after its retraining; then remove more, or restore the peak.

        Raises:
            UserError: the metrics lack the metric named by ``metric``.
        """
        self._waited += 1
        before = max(view.clock.epochs // 4, 1) if self.train_epochs is None else self.train_epochs
        if self._waited < (self.retrain_epochs if self.state else before):
            return Decision()
        highest = bool(self.state) and self._judge(view, metrics)
        last = view.clock.decisions_left <= self.retrain_epochs
        units = {} if last or self._peak_is_past() else self._removal(view)
        if units:
            self._waited = 0
            self.state = {name: {"after": weight} for name, weight in _weights(view).items()}
            return Decision(units, snapshot=highest)
        self.state = {}
        judged = bool(self.curve)
        return Decision(snapshot=highest, restore=judged, finished=judged)

    def _judge(self, view: View, metrics: Mapping[str, float] | None) -> bool:
        """Add the fitness to the curve, and tell whether it is the highest so far."""
        if metrics is None or self.metric not in metrics:
            raise UserError(
                f"bdnn-sp decides by the metric '{self.metric}', and the epoch has "
                f"{sorted(metrics) if metrics else 'no metrics'}: call "
                f"pruner.end_epoch({{'{self.metric}': ...}}), or name another metric with metric=..."
            )
        change, size = [], []
        for name, weight in _weights(view).items():
            alive = view.masks.alive(view.topology.projections[name])
            change.append((weight - self.state[name]["after"]).abs()[alive])
            size.append(weight.abs()[alive])
        left = torch.cat(size).double()
        count = len(left) if self.divisor == "connections" else _ends(view.topology)
        neurons = sum(int(view.masks.units[p.name].sum()) for p in view.topology.free())
        fitness = Fitness(
            view.clock.epoch,
            neurons,
            float(metrics[self.metric]),
            stability(torch.cat(change)),
            float(left.sum()) / count,
        )
        highest = all(fitness.total > other.total for other in self.curve)
        self.curve.append(fitness)
        return highest

    def _peak_is_past(self) -> bool:
        totals = [fitness.total for fitness in self.curve]
        return bool(totals) and len(totals) - 1 - totals.index(max(totals)) >= self.patience

    def _removal(self, view: View) -> dict[str, Tensor]:
        """Return the units that stay, for each hidden population that can lose some."""
        units = {}
        for population in view.topology.free():
            alive = view.masks.units[population.name]
            left = int(alive.sum())
            count = min(max(int(self.share * left + 1e-9), 1), left - 1)
            if count:
                score = importance(view, population)
                units[population.name] = alive & ~lowest(score, torch.zeros_like(score), alive, count)
        return units

    def get_extra_state(self) -> dict[str, Any]:
        """Return the curve, and the number of epochs since the last removal."""
        return {"waited": self._waited, "curve": [asdict(fitness) for fitness in self.curve]}

    def set_extra_state(self, extra: dict[str, Any]) -> None:
        """Restore the curve and the number of epochs."""
        self._waited = int(extra["waited"])
        self.curve = [Fitness(**fitness) for fitness in extra["curve"]]


@torch.no_grad()
def importance(view: View, population: Population) -> Tensor:
    """Return I [size] = sum |w_in| + sum |w_out| of each unit (equation 1); a channel adds up its kernels."""
    total = torch.zeros_like(view.masks.units[population.name], dtype=torch.float64)
    for p in view.topology.incoming(population.name):
        rows = view.model.get_parameter(p.weight).abs().double().flatten(1).sum(1)
        total += summed(p.outflow, population.name, rows)
    for p in view.topology.outgoing(population.name):
        columns = view.model.get_parameter(p.weight).abs().double().transpose(0, 1).flatten(1).sum(1)
        total += summed(p.inflow, population.name, columns)
    return total


def _weights(view: View) -> dict[str, Tensor]:
    """Return a copy of all weights that connect units."""
    return {p.name: view.model.get_parameter(p.weight).detach().clone() for p in _connections(view.topology)}


def _connections(topology: Topology) -> list[Projection]:
    return [p for p in topology.projections.values() if is_prunable(p, output=True, convolutions=True)]


def _ends(topology: Topology) -> int:
    """Return n + m, the number of inputs and outputs of the network."""
    inputs = sum(p.columns for p in topology.projections.values() if not p.inflow)
    return inputs + sum(p.shape[0] for p in topology.projections.values() if p.output)
