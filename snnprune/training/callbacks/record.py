"""What a run writes down: a row an epoch, the network's size, and the checkpoint that carries both."""

# ruff: noqa: ARG002 - the methods' signatures are Lightning's
from __future__ import annotations

import csv
import io
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import lightning

from snnprune.common import atomic, ranks
from snnprune.runs.reading import COLUMNS as NEEDED

if TYPE_CHECKING:
    from collections.abc import Callable

    from snnprune.network.cost import Rates
    from snnprune.pruning import Pruner
    from snnprune.runs.folder import RunFolder
    from snnprune.training.callbacks.pruning import PruningCallback
    from snnprune.training.task import Task

COLUMNS = (*NEEDED, "macs", "synops", "seconds")
"""Of metrics.csv: what a page cannot do without, and what else is told."""

Row = dict[str, float]


@dataclass
class History:
    """Finished epochs of a run.

    Attributes:
        rows: one per epoch, with `COLUMNS` as keys; epochs count from 1, shares are in [0, 1], seconds are
            those of training, validation and test together; synops are operations of one test sample, on
            average.
        network: size of the network that the run ends with, as it stands in the summary.
        returned_to: epoch, from 1, whose network that is, where a method has gone back to it; else None.
    """

    rows: list[Row] = field(default_factory=list)
    network: dict[str, Any] = field(default_factory=dict)
    returned_to: int | None = None

    def csv(self) -> str:
        """Return the rows as a CSV table; the numbers read back as the same floats."""
        text = io.StringIO()
        table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(self.rows)
        return text.getvalue()

    def final(self) -> Row:
        """Return the row of the network that the run ends with."""
        return self.rows[-1 if self.returned_to is None else self.returned_to - 1]

    def best(self) -> Row:
        """Return the first row with the highest validation accuracy."""
        return max(self.rows, key=lambda row: row["val_accuracy"])

    def seconds(self) -> float:
        """Return the time that the finished epochs took, over all sessions of a resumed run."""
        return sum(row["seconds"] for row in self.rows)


def network_size(rates: Rates) -> dict[str, Any]:
    """Return what is left of a network, in plain numbers."""
    return {
        "weights_dense": rates.weights_dense,
        "weights_left": rates.weights_left,
        "macs_dense": rates.macs_dense,
        "macs_left": rates.macs_left,
        "layers": {
            name: {"dense": layer.dense, "left": layer.left, "pruned": layer.pruned}
            for name, layer in rates.layers.items()
        },
        "neurons_left": {name: [int(n) for n in counts] for name, counts in rates.neurons_left.items()},
    }


class Record(lightning.Callback):
    """Keeps the history of a run, and saves it at the end of every epoch.

    Args:
        folder: of the run.
        pruning: tells how much is pruned.
        report: is shown each new row.
    """

    def __init__(
        self, folder: RunFolder, pruning: PruningCallback, report: Callable[[Row], None] = lambda _: None
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
        """Add the row of the epoch, save the checkpoint with it, and write the table anew."""
        assert self.pruning.pruner is not None
        rates, measured = self.pruning.pruner.rates(), pl_module.measured
        if self.pruning.pruner.finished:
            self._finish(trainer, self.pruning.pruner)
            return
        row: Row = {
            "epoch": trainer.current_epoch + 1,
            **{name: measured[name] for name in COLUMNS[1:5]},
            "pruned_synapses": rates.synapses,
            "pruned_neurons": rates.neurons,
            "weights": rates.weights_left,
            "macs": rates.macs_left,
            "synops": measured["synops"],
            "seconds": round(time.perf_counter() - self._started, 3),
        }
        self.history.rows.append(row)
        self.history.network = network_size(rates)
        trainer.save_checkpoint(self.folder.last)
        if ranks.is_first():
            atomic.write_text(self.folder.metrics, self.history.csv())
        for logger in trainer.loggers:
            logger.log_metrics({name: row[name] for name in COLUMNS[1:]}, step=trainer.current_epoch + 1)
        self.report(row)

    def _finish(self, trainer: lightning.Trainer, pruner: Pruner) -> None:
        """Save the network that the method has ended with; no batch was trained since the last row."""
        self.history.network = network_size(pruner.rates())
        self.history.returned_to = None if pruner.returned_to is None else pruner.returned_to + 1
        trainer.save_checkpoint(self.folder.last)

    def state_dict(self) -> dict[str, Any]:
        """Return the history, for the checkpoint."""
        rows = [dict(row) for row in self.history.rows]
        return {"rows": rows, "network": self.history.network, "returned_to": self.history.returned_to}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the history back."""
        rows = [dict(row) for row in state_dict["rows"]]
        self.history = History(rows, state_dict["network"], state_dict.get("returned_to"))
