"""Count the operations of the network of every epoch during its test (under 1 % of an epoch)."""

# ruff: noqa: ARG002 - the methods' signatures are Lightning's
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import lightning
import torch

from snnprune.common import ranks
from snnprune.export.measure import alive
from snnprune.network.synops import SpikeCounter

if TYPE_CHECKING:
    from snnprune.training.callbacks.pruning import PruningCallback
    from snnprune.training.task import Task

TEST = 1
"""Index of the test set among the loaders of the validation loop."""


class CountOperations(lightning.Callback):
    """Counts the operations of alive synapses on the test set, in each epoch.

    It sets ``pl_module.measured["synops"]`` and ``["synops_by_events"]`` to the mean numbers of operations
    per sample.

    Args:
        pruning: the callback with the network and its masks.
    """

    def __init__(self, pruning: PruningCallback) -> None:
        self.pruning = pruning
        self._counter: SpikeCounter | None = None
        self._samples = 0

    def on_validation_batch_start(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Begin to count at the first test batch: the network may have been cut since the last test."""
        if dataloader_idx != TEST:
            return
        if batch_idx == 0:
            assert self.pruning.pruner is not None
            self._counter = SpikeCounter(self.pruning.pruner.model, self.pruning.pruner.topology)
            self._samples = 0
        self._samples += len(batch[1])

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: Task) -> None:  # type: ignore[override]
        """Publish the count."""
        assert self.pruning.pruner is not None
        counts = [0.0, 0.0]  # for a process without a batch of the test set
        if self._counter is not None:
            counted = self._counter.operations(self._samples, alive(self.pruning.pruner))
            counts = [counted.synops, counted.synops_by_events]
        if ranks.world_size() > 1:
            own = torch.tensor([*(n * self._samples for n in counts), self._samples], dtype=torch.float64)
            *totals, samples = ranks.summed([own])[0].tolist()
            counts = [total / samples for total in totals]
        pl_module.measured["synops"], pl_module.measured["synops_by_events"] = counts
        self._close()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Remove the hooks from the network."""
        self._close()

    def _close(self) -> None:
        if self._counter is not None:
            self._counter.close()
        self._counter, self._samples = None, 0
