"""Progress of a run: a bar over the epochs in a terminal, or one line per epoch in a file or a pipe."""

# ruff: noqa: ARG002 - the methods' signatures are Lightning's
from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import lightning
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from snnprune.common.console import clock, say

if TYPE_CHECKING:
    from rich.console import Console

    from snnprune.runs.epochs import Epoch


class EpochBar(lightning.Callback):
    """Shows epochs, accuracy, share pruned and time left.

    Args:
        console: the output.
        title: of the run, one or two words.
        epochs: number of epochs of the whole run.
    """

    def __init__(self, console: Console, title: str, epochs: int) -> None:
        self.console = console
        self.title = title
        self.epochs = epochs
        self._row: Epoch | None = None
        self._began = 0.0
        self._first = 0
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def show(self, row: Epoch) -> None:
        """Show the row of an epoch that has ended."""
        self._row = row
        if self._bar is None:
            say(self.console, self._line(row))
        else:
            self._update(row.epoch)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Draw the bar. A resumed run begins at its next epoch."""
        self._began, self._first = time.perf_counter(), trainer.current_epoch
        if self.console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=None),
                TextColumn("{task.fields[state]}"),
                console=self.console,
            )
            self._task = self._bar.add_task(self.title, total=self.epochs, state="")
            self._bar.start()
            self._update(self._first)

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *args: Any
    ) -> None:
        """Advance the bar by a batch."""
        if self._bar is not None:
            batch = args[-1] + 1
            # The last 5 % of an epoch on the bar are for its measurements.
            self._update(trainer.current_epoch + 0.95 * batch / max(1, float(trainer.num_training_batches)))

    def teardown(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Stop the bar, and leave it visible."""
        self._stop()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Stop the bar before the error is printed."""
        self._stop()

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _left(self, done: float) -> str:
        passed = done - self._first
        if passed <= 0:
            return "-:--"
        return clock((time.perf_counter() - self._began) / passed * (self.epochs - done))

    def _update(self, done: float) -> None:
        assert self._bar is not None
        state = f"epoch {min(int(done) + 1, self.epochs)}/{self.epochs}"
        if self._row is not None:
            state += f"  val {self._row.val_accuracy:.1%}  pruned {self._row.pruned_synapses:.1%}"
        self._bar.update(self._task, completed=done, state=f"{state}  left {self._left(done)}")

    def _line(self, row: Epoch) -> str:
        epoch = row.epoch
        return "  ".join(
            (
                f"{self.title}  epoch {epoch:>{len(str(self.epochs))}}/{self.epochs}",
                f"loss {row.train_loss:.4f}",
                f"train {row.train_accuracy:6.1%}",
                f"val {row.val_accuracy:6.1%}",
                f"pruned {row.pruned_synapses:6.1%}",
                f"left {self._left(epoch)}",
            )
        )
