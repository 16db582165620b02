"""A method: what it observes of the network, and when and what it prunes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from snnprune.network.runs import summed
from snnprune.pruning.distribution import Sensitive
from snnprune.pruning.keeping import keep_fewest
from snnprune.pruning.plans import Plans, assigned
from snnprune.pruning.rule import Candidates
from snnprune.pruning.sensitivity import measured
from snnprune.pruning.shares import Shares
from snnprune.pruning.solver import is_prunable
from snnprune.pruning.state import Stateful
from snnprune.pruning.target import Target
from snnprune.pruning.view import Decision

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import Tensor

    from snnprune.network.cut import Cut
    from snnprune.network.topology import Population
    from snnprune.pruning.clock import Clock
    from snnprune.pruning.criterion import Criterion
    from snnprune.pruning.growth import Born
    from snnprune.pruning.rule import LayerKind, Rule
    from snnprune.pruning.target import Plan
    from snnprune.pruning.traces import Keep
    from snnprune.pruning.view import View


class Method(Stateful):
    """The interface of a pruning method. Every handler is optional and receives the same view.

    Attributes:
        reads: the kind of activity to record ("trace" or "series"), or None for no activity.
        tau: decay of the traces that the method reads.
        permanent: pruned units and synapses never come back. With False, a decision may name them alive again
            (``Decision.born``, or among those that stay).
        permanent_units: where ``permanent`` is False, pruned units never come back all the same: synapses
            grow between living units alone, so that the network may be cut while it trains.
        target: what the method has to reach by the end of the run; None where it stops by itself.
        targets: all of several targets, ``target`` the first of them; the tightest one decides.
        formerly: earlier names of the class, which older saved states carry.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import snnprune
        >>> class ByHalves(snnprune.pruning.Method):
        ...     def end_epoch(self, view, metrics):
        ...         first = view.topology.free()[0]
        ...         return snnprune.pruning.Decision(units={first.name: torch.arange(first.size) % 2 == 0})
        >>> model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(16, 4)
        >>> with snnprune.Pruner(model, x, ByHalves(), epochs=1) as pruner:
        ...     pruner.step()
        ...     pruner.end_epoch()
        >>> pruner.rates().neurons_left["0"]
        (4, 8)
    """

    reads: Keep | None = None
    tau: float = 0.5
    target: Target | None = None
    targets: tuple[Target, ...] = ()
    permanent: ClassVar[bool] = True
    permanent_units: ClassVar[bool] = False
    formerly: ClassVar[tuple[str, ...]] = ()

    def begin(self, view: View) -> None:
        """Look at the network before the first batch."""

    @property
    def aims(self) -> tuple[Target, ...]:
        """All targets."""
        return self.targets or (() if self.target is None else (self.target,))

    def plans(self, view: View) -> list[Plan]:  # noqa: ARG002
        """Return what should be left at the end, by each target; none where there is no target, or no plan.

        The pruner asks for it at the start, so that a target is refused there that cannot be reached.

        Raises:
            UserError: a target cannot be reached.
        """
        return []

    def plan(self, view: View) -> Plan | None:
        """Return the first of `plans`, None where there is none."""
        return next(iter(self.plans(view)), None)

    def start(self, view: View) -> Decision | None:
        """Decide before the first forward, as a method does whose network is sparse from the first step.

        It is not called for a network that was cut before, until its first forward, and what it has decided
        is left out where the pruner is given a state before that.
        """

    def learns_dead(self, clock: Clock) -> bool:  # noqa: ARG002
        """Tell whether handlers see gradients of what is dead in the next batch; they are zero otherwise.

        Args:
            clock: the batches that are over; the epoch that the next one is in.
        """
        return not self.permanent

    @property
    def units_stay_dead(self) -> bool:
        """Whether pruned units never come back, so that they may be taken out while the network trains."""
        return self.permanent or self.permanent_units

    def after_backward(self, view: View) -> None:
        """Read or change the gradients, which are complete, before the optimiser's step."""

    @property
    def reads_gradients(self) -> bool:
        """Whether `after_backward` has to be called."""
        return type(self).after_backward is not Method.after_backward

    def after_step(self, view: View) -> Decision | None:
        """Read a batch after the optimiser's step; methods that decide every batch return a decision."""

    def end_epoch(self, view: View, metrics: Mapping[str, float] | None) -> Decision:  # noqa: ARG002
        """Decide, once an epoch.

        Args:
            view: the network.
            metrics: measured at the end of the epoch, by name, for methods that need an accuracy.
        """
        return Decision()

    def importance(self, view: View) -> dict[str, Tensor]:  # noqa: ARG002
        """Return the current scores of units, before `end_epoch`; an empty dict where a method has none.

        Returns:
            [size] by "neurons/" and the population's name; shape of the weight by "synapses/" and the
            projection's.
        """
        return {}


class CriterionMethod(Method):
    """The standard method: a criterion scores neurons and synapses, and a rule decides which to prune.

    Both decisions of an epoch start from the units and synapses that were alive before it. No population and
    no layer is emptied; with a target, none falls below its floor.

    Args:
        criterion: computes the importance of units.
        rule: decides which units are pruned.
        target: share of the network to prune, several where each is to be reached, or None where the rule
            alone decides.
        neurons: whether channels and neurons may be pruned.
        synapses: whether single synapses of linear layers may be pruned.
        convolutions: whether single synapses of convolutions may be pruned, too (DPAP prunes convolutions by
            channel, section 1.5 of the methods).

    Examples:
        >>> from snnprune.dpap import BCM, SurvivalFunction
        >>> from snnprune.pruning import CriterionMethod, Target
        >>> from snnprune.pruning.lowest import Lowest
        >>> by_survival = CriterionMethod(BCM(), SurvivalFunction(), target=Target(0.6))  # DPAP
        >>> by_rank = CriterionMethod(BCM(), Lowest(), target=Target(0.6))  # the same scores, another rule
    """

    def __init__(
        self,
        criterion: Criterion,
        rule: Rule,
        *,
        target: Target | Sequence[Target] | None = None,
        neurons: bool = True,
        synapses: bool = True,
        convolutions: bool = False,
    ) -> None:
        self.criterion, self.rule = criterion, rule
        self.targets = _several(target)
        self.target = next(iter(self.targets), None)
        self.neurons, self.synapses, self.convolutions = neurons, synapses, convolutions
        self.reads, self.tau = criterion.reads, criterion.tau
        self._plans = Plans(self.targets, neurons=neurons, synapses=synapses, convolutions=convolutions)
        self._shares = Shares()

    def plans(self, view: View) -> list[Plan]:
        """Return what should be left at the end, by each target, solved from the dense topology.

        Raises:
            UserError: a target cannot be reached.
        """
        return self._plans.of(view)

    @property
    def reads_gradients(self) -> bool:
        """Whether the criterion reads gradients."""
        return self.criterion.reads_gradients

    def after_backward(self, view: View) -> None:
        """Let the criterion read the gradients of a batch."""
        self.criterion.after_backward(view)

    def after_step(self, view: View) -> None:
        """Let the criterion observe each projection's batch, or this process's share of it."""
        self.plans(view)
        self._shares.part(self.criterion)
        self.criterion.after_step(view)
        self._shares.average(self.criterion, view.traces)

    @torch.no_grad()
    def end_epoch(self, view: View, metrics: Mapping[str, float] | None) -> Decision:  # noqa: ARG002
        """Score, decide, and start the epoch's statistics anew."""
        decision = Decision()
        self._shares.total(self.criterion)
        candidates = self._candidates(view)
        self._measure_sensitivity(view, candidates)
        plans = self.plans(view)
        if self.targets:
            due = self.rule.due(view.clock)
            candidates = assigned(plans, candidates, view, due, self.criterion)
        candidates = [self.challenge(each, view) for each in candidates]
        for each in candidates:
            alive = self.rule.decide(each, view.clock) & each.alive
            (decision.units if each.unit == "neuron" else decision.synapses)[each.name] = alive
        fewest = {c.key: max((plan.fewest(c) for plan in plans), default=1) for c in candidates}
        keep_fewest(decision, candidates, fewest, view.masks)
        born = self.bear(decision, candidates, view)
        values = self.criterion.make_up(decision, view)
        self.criterion.end_epoch()
        return replace(decision, born=born, values=values)

    def remaining(self, view: View) -> list[Candidates]:
        """Return the candidates with how many of each the targets still ask for until the end of the run."""
        return assigned(self.plans(view), self._candidates(view), view, 1.0, self.criterion)

    def challenge(self, candidates: Candidates, view: View) -> Candidates:  # noqa: ARG002
        """Return the candidates with how many of them others are to replace (`Candidates.replaced`)."""
        return candidates

    def bear(self, decision: Decision, candidates: Sequence[Candidates], view: View) -> Born | None:
        """Return who comes to life, of those that were dead before the decision; None: nobody.

        Args:
            decision: who stays.
            candidates: all that the rule has decided on.
            view: the network as it was before the decision.
        """

    def _measure_sensitivity(self, view: View, candidates: Sequence[Candidates]) -> None:
        """Measure once, before the first decision, what the loss of a layer alone says."""
        asked = any(target.scope == "sensitivity" for target in self.targets)
        if (
            asked
            and view.loss is not None
            and self._plans.sensitive is None
            and self.rule.decides(view.clock)
        ):
            self._plans.sensitive = measured(view, candidates, view.loss)

    def importance(self, view: View) -> dict[str, Tensor]:
        """Return the criterion's scores of this epoch so far; all processes have to call it together."""
        self._shares.total(self.criterion)
        return {each.key: each.score for each in self._candidates(view)}

    def _candidates(self, view: View) -> list[Candidates]:
        return [*self._synapses(view), *self._neurons(view)]

    def _synapses(self, view: View) -> Iterator[Candidates]:
        if not self.synapses:
            return
        for p in view.topology.projections.values():
            if is_prunable(p, convolutions=self.convolutions):
                score = self.criterion.synapse_score(p, view)
                if score is not None:
                    weight = view.model.get_parameter(p.weight).detach().abs()
                    alive = view.masks.alive(p)
                    yield Candidates(f"synapses/{p.name}", "synapse", p.kind, score, alive, weight)

    def _neurons(self, view: View) -> Iterator[Candidates]:
        for population in view.topology.free() if self.neurons else ():
            score = self.criterion.unit_score(population, view)
            if score is not None:
                alive, weight = view.masks.units[population.name], _magnitude(population, view)
                kind: LayerKind = view.topology.projections[population.producers[0]].kind
                yield Candidates(f"neurons/{population.name}", "neuron", kind, score, alive, weight)

    def get_extra_state(self) -> dict[str, Any]:
        """Return what was measured once."""
        known = self._plans.sensitive
        return {} if known is None else {"sensitivity": known.state_dict()}

    def set_extra_state(self, extra: dict[str, Any]) -> None:
        """Restore what was measured."""
        if "sensitivity" in extra:
            self._plans.sensitive = Sensitive(**extra["sensitivity"])

    @property
    def can_shrink(self) -> bool:
        """Whether the criterion, the rule and the method can follow a cut."""
        return super().can_shrink and self.criterion.can_shrink and self.rule.can_shrink

    def shrink(self, cut: Cut) -> None:
        """Make the criterion and the rule follow a cut of the network."""
        super().shrink(cut)
        self.criterion.shrink(cut)
        self.rule.shrink(cut)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of criterion and rule; within an epoch all processes have to call it together."""
        self._shares.total(self.criterion)
        own = super().state_dict()
        parts = {"criterion": self.criterion.state_dict(), "rule": self.rule.state_dict()}
        return parts | {"own": own} if own else parts

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Restore the state of criterion and rule."""
        self.criterion.load_state_dict(state["criterion"], device)
        self._shares = Shares()
        self.rule.load_state_dict(state["rule"], device)
        self._plans.sensitive = None
        super().load_state_dict(state.get("own", {}), device)


def _several(target: Target | Sequence[Target] | None) -> tuple[Target, ...]:
    if target is None:
        return ()
    return (target,) if isinstance(target, Target) else tuple(target)


def _magnitude(population: Population, view: View) -> Tensor:
    """Return the sum of |w| of each unit's incoming synapses, [size]; those of dead rows are zero."""
    incoming = view.topology.incoming(population.name)
    rows = [view.model.get_parameter(p.weight).detach().abs().flatten(1).sum(1) for p in incoming]
    own = (summed(p.outflow, population.name, each) for p, each in zip(incoming, rows, strict=True))
    return torch.stack(list(own)).sum(0)
