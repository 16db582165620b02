"""Learning the architecture: each unit has a gate that learns with the weights, and ends at 0 or 1.

S. Srinivas, R. V. Babu, "Learning Neural Network Architectures using Backpropagation", BMVC 2016 (arXiv
1511.05497). [reading] The text was not at hand; the gate and its regulariser are those of the project's
collection of methods.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch

from snnprune.config.schema import MethodConfig
from snnprune.methods.foreseeing import Foreseeing
from snnprune.methods.magnitude import MagnitudeCriterion
from snnprune.methods.units import broadcast, columns, per_unit, stretch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from snnprune.network.topology import Population, Slot
    from snnprune.pruning.clock import Clock
    from snnprune.pruning.criterion import Criterion
    from snnprune.pruning.rule import UnitKind
    from snnprune.pruning.state import Axes
    from snnprune.pruning.view import Decision, View

LEAST = 0.01
"""The smallest gate before the cut: of a gate of 0, the weights behind it could not be known any more."""

REACH = 6.0
"""lambda_1 times the rate, summed over all steps of a gate. Alone, it drives two gates apart by a factor of
exp(2 x 6). With half of it, in a short run, most of the gates to go had not arrived at the cut."""


class GateCriterion(MagnitudeCriterion):
    """Scores units by their gates, and single synapses by |w|; units without a gate have one of 1."""

    axes: ClassVar[Mapping[str, Axes]] = {"gate": ("unit",)}
    alike: ClassVar[tuple[str, ...]] = ("gate",)
    comparable: ClassVar[frozenset[UnitKind]] = frozenset({"neuron", "synapse"})
    formerly: ClassVar[tuple[str, ...]] = ()

    def gate(self, population: Population, like: Tensor) -> Tensor:
        """Return the gates of a population, [size]; at first ones of the dtype and device of ``like``."""
        return self.state.setdefault(population.name, {"gate": like.new_ones(population.size)})["gate"]

    def unit_score(self, population: Population, view: View) -> Tensor | None:
        """Return the gates, [size]."""
        size = super().unit_score(population, view)
        own = self.state.get(population.name, {})
        return None if size is None else own.get("gate", torch.ones_like(size))


class ArchLearning(Foreseeing):
    """Gates w_i in [0, 1] of units, learned by gradient and pushed to 0 or 1.

    The paper's unit is a tri-state ReLU. With gates w of the width and d of the depth::

        tsReLU(x) = w x for x >= 0, w d x else
        E + lambda_1 sum of w_i (1 - w_i) + lambda_2 sum of w_i

    Here every unit i has a gate w_i, 1 at first, that multiplies what it puts out. In each step, E learning
    by gradient descent, with V the weights that read the unit::

        w_i <- clip(w_i - rate (dE/dw_i + lambda_1 (1 - 2 w_i) + lambda_2), 0.01, 1)

    At ``finish`` the units with the smallest gates are pruned, and those that stay have a gate of 1.

    A gate is in no forward. The network holds the products w_i V of each unit, so that it is a plain network
    at any time: masked, compact and saved networks have nothing beside them. dE/dw_i = sum of V dE/d(w_i V).
    Gradients of the products are multiplied by w_i^2, with which a step of SGD on them is one on V. Gates
    that stay are folded: their products are the weights from then on.

    [reading] There is no d. d = 1 makes a unit linear, which lets two layers become one: a spike is not
    linear, and a network of the user's own keeps its layers. [reading] The gate of a spiking unit multiplies
    its outgoing currents, in all layers that read it. Units that no layer reads have no gate. [reading] Under
    another optimiser than SGD, what it does to the products counts as its step on V.

    [reading] With a target, lambda_2 is no constant: in each layer and step it is the number by which as many
    gates are pushed down as are to go, halfway between the last of them and the first of the others.
    Populations of which none is to go have no gates.

    Args:
        target: share of all weights to prune.
        lambda_1: weight of w (1 - w). [reading] 0.05: above the spread of dE/dw within a layer, 0.003 to 0.02
            in the paper's LeNet.
        lambda_2: weight of w; None: solved from the target. With either, the target says how many units go.
        rate: learning rate of the gates, from epoch ``start`` on. None: so that lambda_1 times all their
            steps is 6; they then learn from epoch 1 on, when the steps of an epoch have been counted
            [reading].
        options: those of `Foreseeing`.

    Raises:
        ValueError: no target, a value outside its range, a criterion, or a constant that is not above 0.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import snnprune
        >>> model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(16, 4)
        >>> pruner = snnprune.Pruner(model, x, snnprune.methods.ArchLearning(lambda_1=0.1), epochs=60)
        >>> same = snnprune.Pruner(model, x, "arch-learning", epochs=60, lambda_1=0.1)
    """

    criterion_class: ClassVar[type[Criterion]] = GateCriterion
    swappable: ClassVar[bool] = False
    criterion: GateCriterion

    def __init__(
        self,
        target: float | None = MethodConfig.target,
        *,
        lambda_1: float = 0.05,
        lambda_2: float | None = None,
        rate: float | None = None,
        **options: Any,
    ) -> None:
        super().__init__(target, **options)
        for name, value in (("lambda_1", lambda_1), ("rate", rate)):
            if value is not None and value <= 0:
                raise ValueError(f"{name} has to be above 0, came {value}")
        self.lambda_1, self.lambda_2, self.rate = lambda_1, lambda_2, rate
        self._steps = 0.0
        self._slopes: dict[str, Tensor] = {}

    def rate_at(self, clock: Clock) -> float:
        """Return the learning rate of the gates; 0 while they do not learn."""
        first, last = self.rule.start, self.rule.last(clock)
        if self.rate is not None:
            return self.rate if first <= clock.epoch <= last else 0.0
        first = max(first, 1)
        if not self._steps or not first <= clock.epoch <= last:
            return 0.0
        return REACH / (self.lambda_1 * self._steps * (last + 1 - first))

    @torch.no_grad()
    def after_backward(self, view: View) -> None:
        """Take the gradients of the gates, and turn those of the products into those of the weights."""
        self._slopes = {}
        for population, _ in self.to_go(view) if self.rate_at(view.clock) else ():
            places = [s for s in columns(population) if view.model.get_parameter(s.key).grad is not None]
            if not places:
                continue
            gate = self.criterion.gate(population, view.model.get_parameter(places[0].key))
            self._slopes[population.name] = _slope(places, population, view) / gate
            for slot in places:
                part = stretch(_gradient(slot, view), slot, population)
                part.mul_(broadcast(gate.square(), part, slot, population))

    @torch.no_grad()
    def after_step(self, view: View) -> None:
        """Move the gates, and the products with them."""
        super().after_step(view)
        rate, slopes, self._slopes = self.rate_at(view.clock), self._slopes, {}
        for population, count in self.to_go(view) if slopes else ():
            if population.name not in slopes:
                continue
            gate, alive = self.criterion.state[population.name]["gate"], view.masks.units[population.name]
            hold = self.lambda_1 * (2 * gate - 1) - slopes[population.name]
            push = pushed_down(hold, alive, count) if self.lambda_2 is None else self.lambda_2
            moved = (gate + rate * (hold - push)).clamp(LEAST, 1.0).where(alive, gate)
            for slot in columns(population):
                part = stretch(view.model.get_parameter(slot.key).detach(), slot, population)
                part.mul_(broadcast(moved / gate, part, slot, population))
            gate.copy_(moved)

    @torch.no_grad()
    def end_epoch(self, view: View, metrics: Mapping[str, float] | None) -> Decision:
        """Score and decide; after the last cut the gates are folded."""
        decision = super().end_epoch(view, metrics)
        self._steps = view.clock.batches / (view.clock.epoch + 1)
        if view.clock.epoch >= self.rule.last(view.clock):
            self.criterion.state.clear()
        return decision

    def get_extra_state(self) -> dict[str, Any]:
        """Return how many steps an epoch has, beside what was measured once."""
        return super().get_extra_state() | {"steps": self._steps}

    def set_extra_state(self, extra: dict[str, Any]) -> None:
        """Restore the number of steps, and what was measured."""
        super().set_extra_state(extra)
        self._steps = float(extra["steps"])


def pushed_down(hold: Tensor, alive: Tensor, count: int) -> Tensor:
    """Return the number that ``count`` of the living gates are held by less than: lambda_2 of a layer.

    Args:
        hold: lambda_1 (2 w - 1) - dE/dw, [size].
        alive: bool [size].
        count: number of gates that are to go down, fewer than are alive.

    Examples:
        >>> import torch
        >>> from snnprune.methods.arch_learning import pushed_down
        >>> pushed_down(torch.tensor([0.5, -0.25, 0.0, 9.0]), torch.tensor([True, True, True, False]), 1)
        tensor(-0.1250)
    """
    ordered = hold[alive].sort().values
    count = min(count, len(ordered) - 1)
    return (ordered[count - 1] + ordered[count]) / 2


def _gradient(slot: Slot, view: View) -> Tensor:
    gradient = view.model.get_parameter(slot.key).grad
    assert gradient is not None
    return gradient


def _slope(places: list[Slot], population: Population, view: View) -> Tensor:
    """Return the sum over all that reads a unit of weight times gradient, [size]."""
    products = [
        per_unit(view.model.get_parameter(slot.key), slot, population)
        * per_unit(_gradient(slot, view), slot, population)
        for slot in places
    ]
    return torch.cat(products, 1).sum(1).to(_gradient(places[0], view).dtype)
