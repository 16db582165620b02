"""The part of a method that observes activity and scores synapses and neurons."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch

from snnprune.network.runs import summed
from snnprune.pruning.state import Stateful

if TYPE_CHECKING:
    from torch import Tensor

    from snnprune.network.topology import Population, Projection
    from snnprune.pruning.rule import UnitKind
    from snnprune.pruning.traces import Activity, Keep
    from snnprune.pruning.view import Decision, View


class Criterion(Stateful):
    """Collects statistics of each projection and scores its synapses and neurons.

    A larger score means more important: units with lower scores are pruned first.

    Statistics are tensors by projection and name, in ``state``. ``axes`` declares them, so that checkpoints,
    other processes and compaction handle them for any criterion.

    Attributes:
        reads: "trace" or "series": the kind of activity that `observe` receives. None: no activity is
            recorded, and `observe` is never called.
        tau: decay of the traces that the criterion reads.
        axes: names of the statistics, each with its axes ("post", "pre").
        per_epoch: names of the statistics that start from zero in each epoch.
        averaged: names of the statistics that follow the mean of a batch's samples, as a sliding threshold
            does. Several processes average them after every batch. All other statistics must be sums over
            samples, which are added up over processes before they are read.
        alike: names of the statistics that are the same in every process by themselves, as those of gradients
            are, which processes average before they step.
        comparable: kinds of units whose scores are on one scale in all layers. A global target does not
            normalise them.
        formerly: earlier names of the class, which older saved states carry.

    Examples:
        >>> from snnprune.pruning import Criterion, CriterionMethod, Target
        >>> from snnprune.pruning.lowest import Lowest
        >>> class SquaredWeight(Criterion):
        ...     reads = None  # no activity
        ...     def synapse_score(self, projection, view):
        ...         return view.model.get_parameter(projection.weight).detach().square()
        >>> method = CriterionMethod(SquaredWeight(), Lowest(), target=Target(0.6), neurons=False)
    """

    reads: ClassVar[Keep | None] = "trace"
    tau: float = 0.5
    per_epoch: ClassVar[tuple[str, ...]] = ()
    averaged: ClassVar[tuple[str, ...]] = ()
    alike: ClassVar[tuple[str, ...]] = ()
    comparable: ClassVar[frozenset[UnitKind]] = frozenset()
    formerly: ClassVar[tuple[str, ...]] = ()

    def statistics(self, projection: Projection, like: Tensor) -> dict[str, Tensor]:
        """Return the statistics of ``projection``; at first zeros of the dtype and device of ``like``."""
        if projection.name not in self.state:
            sizes = {"post": projection.shape[0], "pre": projection.columns}
            self.state[projection.name] = {
                name: like.new_zeros([sizes[a] for a in axes]) for name, axes in self.axes.items()
            }
        return self.state[projection.name]

    def observe(self, projection: Projection, activity: Activity, batches: int) -> None:
        """Add one batch to the statistics.

        Args:
            projection: the synapses.
            activity: of the units before and after the synapses.
            batches: optimiser steps since training began, this one included.
        """
        raise NotImplementedError

    def after_step(self, view: View) -> None:
        """Take in one batch: let `observe` have the activity of every projection."""
        for name, activity in view.traces.items():
            self.observe(view.topology.projections[name], activity, view.clock.batches)

    def after_backward(self, view: View) -> None:
        """Read the gradients of one batch, which are complete, before the optimiser's step."""

    @property
    def reads_gradients(self) -> bool:
        """Whether `after_backward` has to be called."""
        return type(self).after_backward is not Criterion.after_backward

    def synapse_score(self, projection: Projection, view: View) -> Tensor | None:
        """Return scores in the shape of the weight, or None without statistics to score by.

        Args:
            projection: the synapses.
            view: the network, with the weights in ``view.model`` and the method's own random numbers in
                ``view.generator``.
        """
        raise NotImplementedError

    def neuron_score(self, projection: Projection, alive: Tensor, view: View) -> Tensor | None:
        """Return scores [post], one for each row, or None without statistics to score by.

        Args:
            projection: one of the projections that write into the population; their scores are summed, and
                those of a unit with several rows, such as a head.
            alive: bool [post, columns], True for synapses that are alive.
            view: the network.
        """
        raise NotImplementedError

    def unit_score(self, population: Population, view: View) -> Tensor | None:
        """Return scores [size], one for each unit of ``population``, or None without statistics to score by.

        By default they are the sums of `neuron_score` over the projections that write into the population,
        and over those rows of a unit that are alive.
        """
        scores = []
        for p in view.topology.incoming(population.name):
            alive = view.masks.alive(p).flatten(2).any(2) if p.kind == "conv" else view.masks.alive(p)
            score = self.neuron_score(p, alive, view)
            if score is not None:
                scores.append(summed(p.outflow, population.name, score.where(view.masks.rows(p), 0)))
        return torch.stack(scores).sum(0) if scores else None

    def make_up(self, decision: Decision, view: View) -> dict[str, Tensor]:  # noqa: ARG002
        """Return new values of tensors, by their key in the state_dict, that make up for those who die.

        Args:
            decision: who stays.
            view: the network as it was before the decision.
        """
        return {}

    def end_epoch(self) -> None:
        """Set the statistics named in ``per_epoch`` to zero."""
        for statistics in self.state.values():
            for name in statistics.keys() & set(self.per_epoch):
                statistics[name].zero_()
