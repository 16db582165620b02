"""The epochs of a run: one row of metrics.csv for each, and what the checkpoint holds beside them."""

from __future__ import annotations

from dataclasses import asdict, astuple, dataclass, field
from typing import TYPE_CHECKING, Any

from snnprune.runs.size import Size
from snnprune.runs.typed import Record, columns, csv_text, from_table, read_file, typed

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Epoch(Record):
    """A row of metrics.csv; its fields are the columns, in their order.

    Attributes:
        epoch: its number, from 1.
        train_loss: mean loss over the training samples.
        train_accuracy: share of the training samples that are classified correctly during training.
        val_accuracy: accuracy on the validation set, after the epoch.
        test_accuracy: accuracy on the test set, after the epoch.
        pruned_synapses: share of all weights that is pruned.
        pruned_neurons: share of all neurons and channels that is pruned.
        weights: number of weights left.
        macs: multiply-accumulates of one sample at the weights left.
        synops: synaptic operations of one test sample, on average, one for each cell with events.
        synops_by_events: the same, one for each event (`snnprune.network.synops`); None in runs of versions
            that did not count it.
        synops_left: share of the dense network's synaptic operations that is left, in the epoch's first
            training batch; None where it is no target.
        energy_left: the same of the energy of the arithmetic.
        latency_left: the same of the time of the event-driven engine's synapses, by its cost model.
        bytes_left: share of the bytes of the dense network's weights that is left; None where it is no
            target.
        seconds: time of training, validation and test together.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    val_accuracy: float
    test_accuracy: float
    pruned_synapses: float
    pruned_neurons: float
    weights: int
    macs: int
    synops: float
    synops_by_events: float | None = field(default=None, kw_only=True)
    synops_left: float | None = field(default=None, kw_only=True)
    energy_left: float | None = field(default=None, kw_only=True)
    latency_left: float | None = field(default=None, kw_only=True)
    bytes_left: float | None = field(default=None, kw_only=True)
    seconds: float


COLUMNS = columns(Epoch)
"""Columns of metrics.csv."""


def read_epochs(file: Path) -> list[Epoch]:
    """Return the epochs in a metrics.csv, in order; there is at least one.

    Raises:
        UserError: it is not there, or damaged.
    """
    return read_file(file, _parse)


def _parse(text: str) -> list[Epoch]:
    rows = from_table(Epoch, text)
    if not rows or [row.epoch for row in rows] != list(range(1, len(rows) + 1)):
        raise ValueError("its epochs are not 1, 2, 3 and so on")
    return rows


@dataclass
class History:
    """Finished epochs of a run.

    Attributes:
        rows: one row for each epoch.
        network: size of the network that the run ends with; None before the first epoch has ended.
        returned_to: epoch, from 1, that the method went back to; None if it did not go back.
    """

    rows: list[Epoch] = field(default_factory=list)
    network: Size | None = None
    returned_to: int | None = None

    def csv(self) -> str:
        """Return the rows as the text of metrics.csv."""
        return csv_text(COLUMNS, map(astuple, self.rows))

    def final(self) -> Epoch:
        """Return the row of the network that the run ends with."""
        return self.rows[-1 if self.returned_to is None else self.returned_to - 1]

    def best(self) -> Epoch:
        """Return the first row with the highest validation accuracy."""
        return max(self.rows, key=lambda row: row.val_accuracy)

    def seconds(self) -> float:
        """Return the time that the finished epochs took, over all sessions of a resumed run."""
        return sum(row.seconds for row in self.rows)

    def state_dict(self) -> dict[str, Any]:
        """Return the history in plain values, for the checkpoint."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> History:
        """Return the history that `state_dict` described, also in version 0.1."""
        network = state["network"]
        rows = [typed(Epoch, row) for row in state["rows"]]
        return cls(rows, typed(Size, network) if network else None, state.get("returned_to"))
