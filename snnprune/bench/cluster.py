"""Cells on the nodes of a Ray cluster; `pip install snnprune[ray]`.

All nodes must see the folder of the bench, and each must have snnprune and the data.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snnprune.bench.process import PROGRAM, Outcome, launch, log_of, sentence
from snnprune.common.child import GRACE, end
from snnprune.common.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snnprune.config.schema import TrainConfig


TIMEOUT = 5.0
"""Seconds in which a cluster has to answer."""

LOOK = 0.2
"""Seconds after which a task checks again whether the process of its cell has ended."""


class OnRay:
    """Cells as tasks of a running Ray cluster: the one that RAY_ADDRESS names, else that of this machine.

    Args:
        jobs: number of cells at a time; without a number, as many as the cluster has processors or GPUs for.
        train: each cell asks for ``threads`` processors (1 without a number), and for a GPU on "cuda".
        logs: folder for the output of the cells.
        program: the command that a cell's folder is appended to.

    Raises:
        UserError: Ray is not installed, there is no cluster, or no cell fits on it.
    """

    def __init__(
        self, jobs: int | None, train: TrainConfig, logs: Path, program: Sequence[str] = PROGRAM
    ) -> None:
        try:
            import ray  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise UserError("--executor ray needs Ray: pip install 'snnprune[ray]'") from error
        self.ray, self.logs, self.program = ray, logs.absolute(), tuple(program)
        self.threads, gpus = train.threads or 1, int(train.device == "cuda")
        if not ray.is_initialized():
            _reach(os.environ.get("RAY_ADDRESS", ""))
            try:
                ray.init(address="auto", log_to_driver=False, logging_level=logging.ERROR)
            except ConnectionError as error:
                raise UserError(
                    "--executor ray found no cluster: start one with `ray start --head`, or name one in "
                    "RAY_ADDRESS"
                ) from error
        room = self._room(gpus)
        if room < 1:
            raise UserError(
                f"no cell fits on the cluster: each asks for {self.threads} processors and {gpus} GPUs, and "
                f"it has {ray.cluster_resources()}"
            )
        self.slots = min(jobs or room, room)
        self._here = str(Path.cwd())
        self._task = ray.remote(num_cpus=self.threads, num_gpus=gpus, max_retries=0)(run)
        self._running: dict[str, Any] = {}

    def _room(self, gpus: int) -> int:
        there = self.ray.cluster_resources()
        room = int(there.get("CPU", 0)) // self.threads
        return min(room, int(there.get("GPU", 0))) if gpus else room

    def start(self, name: str, folder: Path) -> None:
        """Hand the cell in ``folder`` to the cluster."""
        log = log_of(self.logs, name)
        self._running[name] = self._task.remote(
            self.program, folder.absolute(), log, self.threads, self._here
        )

    def ended(self) -> list[Outcome]:
        """Return the cells that have ended since the last call."""
        if not self._running:
            return []
        ready, _ = self.ray.wait(list(self._running.values()), num_returns=len(self._running), timeout=0)
        names = [name for name, task in self._running.items() if task in ready]
        return [Outcome(name, self._said(self._running.pop(name))) for name in names]

    def _said(self, task: Any) -> str | None:
        try:
            said: str | None = self.ray.get(task)
        except self.ray.exceptions.RayError as error:
            return f"Ray: {str(error).strip().splitlines()[-1]}"
        return said

    def stop(self) -> None:
        """Cancel all running cells, and wait until they have ended."""
        for task in self._running.values():
            self.ray.cancel(task)
        if self._running:
            self.ray.wait(list(self._running.values()), num_returns=len(self._running), timeout=GRACE + 5)
        self._running.clear()


def _reach(address: str) -> None:
    """Connect to the cluster at an address such as "host:6379", since Ray itself would wait for minutes.

    Raises:
        UserError: nothing answers there.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return  # "auto", "local", or none: Ray answers these at once
    try:
        socket.create_connection((host.strip("[]"), int(port)), TIMEOUT).close()
    except (OSError, OverflowError) as error:
        raise UserError(
            f"--executor ray found no cluster at {address}, which RAY_ADDRESS names ({error}): start one "
            "there, or name another"
        ) from error


def run(program: Sequence[str], folder: Path, log: Path, threads: int, modules: str) -> str | None:
    """Run a cell on this node, in a process of its own. Return why it failed, or None.

    Args:
        program: the command that ``folder`` is appended to.
        folder: the folder of the run.
        log: the file for its output.
        threads: number of its threads.
        modules: a folder that may hold the user's own modules.
    """
    process = launch(program, folder, log, threads, modules)
    try:
        while process.poll() is None:  # Ray cannot cancel a process.wait()
            time.sleep(LOOK)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            end(process, GRACE)
    return sentence(process.returncode, log)
