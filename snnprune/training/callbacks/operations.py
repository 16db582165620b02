"""Operations of every epoch's network, counted while it is tested anyway (under 1 % of an epoch)."""

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
"""Which of the validation loop's loaders holds the test set."""


class CountOperations(lightning.Callback):
    """Counts what the alive synapses of each epoch's network do on the test set.

    The number goes into ``pl_module.measured["synops"]``: operations of one sample, on average.

    Args:
        pruning: knows the network and who is alive.
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
        """Begin to count where the test set begins: the network may have been cut since the last time."""
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
        synops = 0.0  # of a process that had no batch of the test set
        if self._counter is not None:
            synops = self._counter.operations(self._samples, alive(self.pruning.pruner)).synops
        if ranks.world_size() > 1:
            own = torch.tensor([synops * self._samples, self._samples], dtype=torch.float64)
            total, samples = ranks.summed([own])[0].tolist()
            synops = total / samples
        pl_module.measured["synops"] = synops
        self._close()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Take the hooks off the network."""
        self._close()

    def _close(self) -> None:
        if self._counter is not None:
            self._counter.close()
        self._counter, self._samples = None, 0
