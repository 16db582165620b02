"""The progress of a bench: a live table on a terminal, or one line for each change in a file or a pipe."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.live import Live
from rich.table import Table

from snnprune.common.console import clock, say
from snnprune.common.errors import UserError
from snnprune.runs.epochs import read_epochs

if TYPE_CHECKING:
    from rich.console import Console

    from snnprune.runs.folder import RunFolder

WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"

_STYLES = {WAITING: "dim", RUNNING: "bold", DONE: "green", FAILED: "red"}


@dataclass
class Line:
    """One cell, as it is shown.

    Attributes:
        name: the name of the cell.
        folder: the folder of its run.
        state: one of `WAITING`, `RUNNING`, `DONE`, `FAILED`.
        epoch: number of epochs that it has finished.
        accuracy: accuracy on the validation set after the last of them, in [0, 1].
        pruned: pruned share of all weights after the last of them.
    """

    name: str
    folder: RunFolder
    state: str = WAITING
    epoch: int = 0
    accuracy: float | None = None
    pruned: float | None = None

    def look(self) -> None:
        """Read the last row of the run's metrics; the file is complete at any time."""
        with suppress(UserError):  # there is no row yet, or the file is damaged
            last = read_epochs(self.folder.metrics)[-1]
            self.epoch, self.accuracy, self.pruned = last.epoch, last.val_accuracy, last.pruned_synapses


class Progress:
    """Shows the cells of a bench. As a context, it keeps the live table on the terminal.

    Args:
        console: the terminal, file or pipe to write to.
        lines: the cells, as they are before anything runs.
        epochs: number of epochs of each run.
    """

    def __init__(self, console: Console, lines: list[Line], epochs: int) -> None:
        self.console, self.lines, self.epochs = console, lines, epochs
        self._began = time.monotonic()
        self._before = sum(line.epoch for line in lines)
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None

    def change(self, line: Line, state: str, said: str = "") -> None:
        """Show that a cell has changed its state, and why."""
        line.state = state
        line.look()
        if self._live is None:
            say(self.console, self._words(line, said))
        elif state == FAILED:
            say(self._live.console, f"{line.name} failed: {said}", style="red")

    def refresh(self) -> None:
        """Look at the cells that are running."""
        for line in self.lines:
            if line.state == RUNNING:
                line.look()
        if self._live is not None:
            self._live.update(self._table(), refresh=True)

    def left(self) -> str:
        """Return the time left at the speed of this session, for all cells that have not failed."""
        done = sum(line.epoch for line in self.lines) - self._before
        ahead = sum(self.epochs - line.epoch for line in self.lines if line.state in (WAITING, RUNNING))
        return clock((time.monotonic() - self._began) / done * ahead) if done else "-:--"

    def _words(self, line: Line, said: str) -> str:
        words = [f"{line.name}  {line.state}"]
        if line.state == RUNNING and line.epoch:
            words.append(f"from epoch {line.epoch + 1}")
        if line.state == DONE and line.accuracy is not None and line.pruned is not None:
            words.append(f"val {line.accuracy:.1%}  pruned {line.pruned:.1%}")
        if line.state in (DONE, FAILED):
            over = sum(other.state in (DONE, FAILED) for other in self.lines)
            words.append(f"{over} of {len(self.lines)}, left {self.left()}")
        return "  ".join(words) + (f": {said}" if said else "")

    def _table(self) -> Table:
        over = sum(line.state == DONE for line in self.lines)
        title = f"{over} of {len(self.lines)} cells done, left {self.left()}"
        table = Table(title=title, title_justify="left")
        for name, side in (("cell", "left"), ("state", "left"), ("epoch", "right")):
            table.add_column(name, justify=side)  # type: ignore[arg-type]
        table.add_column("val", justify="right")
        table.add_column("pruned", justify="right")
        for line in self._shown():
            table.add_row(
                line.name,
                line.state,
                f"{line.epoch}/{self.epochs}",
                "-" if line.accuracy is None else f"{line.accuracy:.1%}",
                "-" if line.pruned is None else f"{line.pruned:.1%}",
                style=_STYLES[line.state],
            )
        return table

    def _shown(self) -> list[Line]:
        """Return the lines that fit on the screen: running cells first, then failed, waiting, done ones."""
        room = max(4, self.console.height - 6)
        if len(self.lines) <= room:
            return self.lines
        order = (RUNNING, FAILED, WAITING, DONE)
        return sorted(self.lines, key=lambda line: order.index(line.state))[:room]

    def __enter__(self) -> Progress:
        if self._live is not None:
            self._live.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.update(self._table(), refresh=True)
            self._live.__exit__(None, None, None)
