"""How far a pruner has come in the epochs of a Trainer, and what is attached to a module meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from snnprune.common.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import lightning

    from snnprune.pruning.masks import Masks
    from snnprune.training.callbacks.averages import Averages
    from snnprune.training.callbacks.restoring import Restoring
    from snnprune.training.callbacks.states import CarriedStates


@dataclass
class Progress:
    """How far a pruner has come.

    Attributes:
        epoch: the Trainer's epoch whose batches the pruner has seen, and on which it has not decided.
        metrics: of the last validation.
        whole: the last batch of that epoch has been.
    """

    epoch: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    whole: bool = False

    @staticmethod
    def of(state: Mapping[str, Any]) -> Progress:
        """Return the progress that `state_dict` described; version 0.1 saved no ``whole``."""
        return Progress(int(state["epoch"]), dict(state["metrics"]), bool(state.get("whole", True)))

    def state_dict(self) -> dict[str, Any]:
        """Return numbers by name."""
        return {"epoch": self.epoch, "metrics": dict(self.metrics), "whole": self.whole}

    def go_on_at(self, epoch: int) -> None:
        """Go on in ``epoch`` of another fit: a whole epoch is decided on first, any other goes on."""
        self.epoch = epoch - 1 if self.whole else epoch


def length(asked: int | None, planned: int | None) -> int:
    """Return the number of epochs of a schedule: what was asked for, else the Trainer's number.

    Raises:
        UserError: there is neither.
    """
    epochs = asked if asked is not None else planned
    if epochs is None or epochs < 1:
        raise UserError(
            "PruningCallback needs the number of epochs to plan for, and the Trainer has no "
            "max_epochs: write PruningCallback(..., epochs=N)"
        )
    return epochs


class Hook(Protocol):
    """What can be removed again, as a handle of torch."""

    def remove(self) -> None:
        """Remove it."""


@dataclass
class Run:
    """What a callback has attached during one fit, validation, test or prediction.

    Attributes:
        task: the LightningModule, None between two runs.
        trains: it is a fit.
        planned: the Trainer's number of epochs.
        restoring: follows the weights that are loaded.
        averages: copies of the network.
        carried: says that states go on from batch to batch.
        hooks: all that is to be removed at the end.
        stale: the weights may have been exchanged since the masks were applied.
        is_local: no optimiser trains the network.
    """

    task: lightning.LightningModule | None = None
    trains: bool = False
    planned: int | None = None
    restoring: Restoring | None = None
    averages: Averages | None = None
    carried: CarriedStates | None = None
    hooks: list[Hook] = field(default_factory=list)
    stale: bool = True
    is_local: bool = False

    def is_stale(self) -> bool:
        """Tell whether the weights may have been exchanged since the last call."""
        loaded = self.restoring is not None and self.restoring.loaded
        stale, self.stale = self.stale or loaded, False
        if self.restoring is not None:
            self.restoring.loaded = False
        return stale

    def zero_averages(self, masks: Masks) -> None:
        """Set what is dead to zero in the averages of the network."""
        if self.averages is not None:
            self.averages.zero(masks)

    def close(self) -> None:
        """Remove the hooks, and let go of the module."""
        for hook in self.hooks:
            hook.remove()
        self.task = self.restoring = self.averages = self.carried = None
        self.hooks, self.trains = [], False
