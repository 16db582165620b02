"""How much a synapse or neuron matters: the part of a method that observes."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from snnprune.pruning.state import Stateful

if TYPE_CHECKING:
    from torch import Tensor

    from snnprune.network.topology import Projection
    from snnprune.pruning.rule import UnitKind
    from snnprune.pruning.traces import Activity, Keep
    from snnprune.pruning.view import View


class Criterion(Stateful):
    """Collects statistics of each projection and scores its synapses and neurons; larger lives longer.

    Statistics are tensors by projection and name, in ``state``; ``axes`` declares them, so that checkpoints,
    other processes and compaction handle them without knowing the criterion.

    Attributes:
        reads: "trace" or "series": what `observe` is given; None: no activity is recorded, and `observe`
            is never called.
        tau: decay of the traces that it reads.
        axes: names of the statistics, each with its axes ("post", "pre").
        per_epoch: names of those that start from zero in each epoch.
        averaged: names of those that follow the mean of a batch's samples, as a sliding threshold does, so
            that several processes average them after every batch. All others have to be sums over samples,
            which are added up over processes before they are read.
        comparable: kinds of units whose scores are on one scale in all layers, so that a global target need
            not normalise them.
        formerly: names that the class has had before, under which states of it were saved.

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
    comparable: ClassVar[frozenset[UnitKind]] = frozenset()
    formerly: ClassVar[tuple[str, ...]] = ()

    def statistics(self, projection: Projection, like: Tensor) -> dict[str, Tensor]:
        """Return the statistics of ``projection``, made of zeros (dtype and device of ``like``) at first."""
        if projection.name not in self.state:
            sizes = {"post": projection.shape[0], "pre": projection.columns}
            self.state[projection.name] = {
                name: like.new_zeros([sizes[a] for a in axes]) for name, axes in self.axes.items()
            }
        return self.state[projection.name]

    def observe(self, projection: Projection, activity: Activity, batches: int) -> None:
        """Take in one batch.

        Args:
            projection: the synapses.
            activity: what their two sides did.
            batches: optimiser steps since training began, this one included.
        """
        raise NotImplementedError

    def synapse_score(self, projection: Projection, view: View) -> Tensor | None:
        """Return scores in the shape of the weight, or None where there is nothing to go by.

        Args:
            projection: the synapses.
            view: the network, with the weights in ``view.model`` and random numbers of the method's own.
        """
        raise NotImplementedError

    def neuron_score(self, projection: Projection, alive: Tensor, view: View) -> Tensor | None:
        """Return [post], or None where there is nothing to go by.

        Args:
            projection: one of those that write into the population; their scores are summed.
            alive: bool [post, columns], synapses that live.
            view: the network.
        """
        raise NotImplementedError

    def end_epoch(self) -> None:
        """Start the statistics of ``per_epoch`` from zero."""
        for statistics in self.state.values():
            for name in self.per_epoch:
                statistics[name].zero_()
