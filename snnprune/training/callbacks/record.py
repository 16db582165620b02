"""Record an epoch when it ends: its row, the size of the network, and the checkpoint with both."""

# ruff: noqa: ARG002 - the methods' signatures are Lightning's
from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import lightning

from snnprune.common import atomic, ranks
from snnprune.runs.epochs import COLUMNS, Epoch, History
from snnprune.runs.size import Size

if TYPE_CHECKING:
    from collections.abc import Callable

    from snnprune.pruning import Pruner
    from snnprune.runs.folder import RunFolder
    from snnprune.training.callbacks.pruning import PruningCallback
    from snnprune.training.task import Task


class Record(lightning.Callback):
    """Keeps the history of a run, and saves it at the end of every epoch.

    Args:
        folder: of the run.
        pruning: the callback with the pruning rates.
        report: called with each new row.
    """

    def __init__(
        self, folder: RunFolder, pruning: PruningCallback, report: Callable[[Epoch], None] = lambda _: None
    ) -> None:
        self.folder = folder
        self.pruning = pruning
        self.report = report
        self.history = History()
        self._started = 0.0

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start the clock of the epoch."""
        self._started = time.perf_counter()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: Task) -> None:  # type: ignore[override]
        """Add the row of the epoch, save the checkpoint with it, and write the table again."""
        assert self.pruning.pruner is not None
        rates, measured = self.pruning.pruner.rates(), pl_module.measured
        reached = self.pruning.pruner.reached()
        if self.pruning.pruner.finished:
            self._finish(trainer, self.pruning.pruner)
            return
        row = Epoch(
            epoch=trainer.current_epoch + 1,
            train_loss=measured["train_loss"],
            train_accuracy=measured["train_accuracy"],
            val_accuracy=measured["val_accuracy"],
            test_accuracy=measured["test_accuracy"],
            pruned_synapses=rates.synapses,
            pruned_neurons=rates.neurons,
            weights=rates.weights_left,
            macs=rates.macs_left,
            synops=measured["synops"],
            synops_by_events=measured["synops_by_events"],
            **{f"{name}_left": 1.0 - pruned for name, pruned in reached.items() if f"{name}_left" in COLUMNS},
            seconds=round(time.perf_counter() - self._started, 3),
        )
        self.history.rows.append(row)
        self.history.network = Size.of(rates)
        trainer.save_checkpoint(self.folder.last)
        if ranks.is_first():
            atomic.write_text(self.folder.metrics, self.history.csv())
        for logger in trainer.loggers:
            logger.log_metrics(
                {n: value for n, value in asdict(row).items() if n != "epoch" and value is not None},
                step=row.epoch,
            )
        self.report(row)

    def _finish(self, trainer: lightning.Trainer, pruner: Pruner) -> None:
        """Save the final network of the method; no batch was trained since the last row."""
        self.history.network = Size.of(pruner.rates())
        self.history.returned_to = None if pruner.returned_to is None else pruner.returned_to + 1
        trainer.save_checkpoint(self.folder.last)

    def state_dict(self) -> dict[str, Any]:
        """Return the history, for the checkpoint."""
        return self.history.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the history."""
        self.history = History.from_state(state_dict)
