"""Where cells run: an interface of three calls, and processes on this machine."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Protocol

from snnprune.bench.process import PROGRAM, Outcome, launch, log_of, sentence
from snnprune.common.child import GRACE, cores, end

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence
    from pathlib import Path

    from snnprune.config.schema import RunConfig


class Executor(Protocol):
    """Runs cells, each in a folder that holds its configuration.

    Attributes:
        slots: number of cells at a time.
    """

    slots: int

    def start(self, name: str, folder: Path) -> None:
        """Start the cell in ``folder``."""

    def ended(self) -> list[Outcome]:
        """Return the cells that have ended since the last call."""

    def stop(self) -> None:
        """End all running cells, and wait until they have ended."""


def build(name: str, jobs: int | None, base: RunConfig, logs: Path) -> Executor:
    """Return the executor called ``name``: "local" or "ray".

    Args:
        name: the name of the executor.
        jobs: number of cells at a time; without a number, one locally, and on Ray as many as fit.
        base: the configuration that the cells have in common.
        logs: folder for the output of the cells.

    Raises:
        UserError: Ray is not installed, or there is no cluster.
    """
    if name == "ray":
        from snnprune.bench.cluster import OnRay  # noqa: PLC0415 - an extra

        return OnRay(jobs, base.train, logs)
    return Local(jobs or 1, logs)


class Local:
    """Cells as processes on this machine, which share its processors evenly.

    Args:
        jobs: number of cells at a time.
        logs: folder for the output of the cells.
        program: the command that a cell's folder is appended to.
    """

    def __init__(self, jobs: int, logs: Path, program: Sequence[str] = PROGRAM) -> None:
        self.slots, self.logs, self.program = jobs, logs, program
        self.threads = max(1, cores() // jobs)
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, folder: Path) -> None:
        """Start the cell in ``folder``, detached from this terminal. Ctrl-C reaches it through `stop`."""
        self._running[name] = launch(self.program, folder, log_of(self.logs, name), self.threads)

    def ended(self) -> list[Outcome]:
        """Return the cells that have ended since the last call."""
        over = {name: process.poll() for name, process in self._running.items()}
        outcomes = []
        for name, code in over.items():
            if code is not None:
                del self._running[name]
                outcomes.append(Outcome(name, sentence(code, log_of(self.logs, name))))
        return outcomes

    def stop(self) -> None:
        """End all running cells, and wait until they have ended."""
        for process in self._running.values():
            process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + GRACE
        for process in self._running.values():
            end(process, deadline - time.monotonic())
        self._running.clear()
