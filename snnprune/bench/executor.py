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
        slots: how many at a time.
    """

    slots: int

    def start(self, name: str, folder: Path) -> None:
        """Start the cell in ``folder``."""

    def ended(self) -> list[Outcome]:
        """Return the cells that have ended since the last call."""

    def stop(self) -> None:
        """End all that are running, and wait for that."""


def build(name: str, jobs: int | None, base: RunConfig, logs: Path) -> Executor:
    """Return the executor called ``name``: "local" or "ray".

    Args:
        name: of the executor.
        jobs: cells at a time; without a number, one here, and on Ray as many as the cluster has room for.
        base: what the cells have in common.
        logs: folder for what cells print.

    Raises:
        UserError: Ray is not installed, or there is no cluster.
    """
    if name == "ray":
        from snnprune.bench.cluster import OnRay  # noqa: PLC0415 - an extra

        return OnRay(jobs, base.train, logs)
    return Local(jobs or 1, logs)


class Local:
    """Cells as processes on this machine, with its processors shared evenly.

    Args:
        jobs: how many at a time.
        logs: folder for what cells print.
        program: the command that a cell's folder is appended to.
    """

    def __init__(self, jobs: int, logs: Path, program: Sequence[str] = PROGRAM) -> None:
        self.slots, self.logs, self.program = jobs, logs, program
        self.threads = max(1, cores() // jobs)
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, folder: Path) -> None:
        """Start the cell in ``folder``, apart from this terminal: Ctrl-C reaches it through `stop` alone."""
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
        """End all that are running, and wait for that."""
        for process in self._running.values():
            process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + GRACE
        for process in self._running.values():
            end(process, deadline - time.monotonic())
        self._running.clear()
