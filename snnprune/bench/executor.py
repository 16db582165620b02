"""Where cells run: an interface of three calls, and processes on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from snnprune.common.child import GRACE, cores, end, killed_by

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from snnprune.config.schema import RunConfig

PROGRAM = (sys.executable, "-m", "snnprune.bench.cell")


@dataclass(frozen=True)
class Outcome:
    """How a cell ended.

    Attributes:
        name: of the cell.
        said: one sentence on what went wrong, None where nothing did.
    """

    name: str
    said: str | None


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


def log_of(logs: Path, name: str) -> Path:
    """Return the file that a cell's output goes to."""
    return logs / f"{name}.txt"


def launch(
    program: Sequence[str], folder: Path, log: Path, threads: int, modules: str = ""
) -> subprocess.Popen[bytes]:
    """Start the process of a cell, in a session of its own, with ``threads`` threads.

    Modules of the user's own are looked for in the current folder, and in the folder ``modules``.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    share = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    paths = os.pathsep.join(path for path in (os.environ.get("PYTHONPATH"), modules) if path)
    with log.open("wb") as file:
        return subprocess.Popen(  # noqa: S603 - our own program
            [*program, str(folder), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=os.environ | share | ({"PYTHONPATH": paths} if paths else {}),
            start_new_session=True,
        )


def sentence(code: int, log: Path) -> str | None:
    """Return in one sentence why a cell failed, None where it did not."""
    if code == 0:
        return None
    if code < 0:
        return f"it was ended by {killed_by(code)}; its output is in {log}"
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    ours = [line for line in lines if line.startswith("snnprune: ")]
    if ours:
        return ours[-1].removeprefix("snnprune: ")
    last = next((line for line in reversed(lines) if line), f"it ended with code {code}")
    return f"{last}; its output is in {log}"
