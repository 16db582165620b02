"""Start, watch and stop the processes of a run on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from snnprune.common.child import GRACE, LOST, cores, end, killed_by
from snnprune.common.errors import UserError, first_line
from snnprune.runs.folder import RunFolder
from snnprune.training.distributed.group import of_torchrun, store

if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAM = (sys.executable, "-m", "snnprune.training.distributed.member")

INTERRUPTED = 130

Started = list[subprocess.Popen[bytes]]


def launch(run: Path, world_size: int, program: Sequence[str] = PROGRAM) -> None:
    """Train the run in folder ``run`` in ``world_size`` processes, and return when all have done their part.

    Rank 0 prints to this terminal. Each process has its share of the processors, unless OMP_NUM_THREADS is
    set. At the end no process is left, also after an error.

    Args:
        run: its folder, which holds its configuration.
        world_size: number of processes.
        program: the command of a process, to which the folder, this process's id and the path of a file for a
            sentence are appended.

    Raises:
        UserError: a process could not be started, or failed; the others were stopped.
        SystemExit: after Ctrl-C, once all have ended.
    """
    started: Started = []
    found_at = store()
    with tempfile.TemporaryDirectory(prefix="snnprune-") as logs:
        try:
            for rank in range(world_size):
                place = of_torchrun(rank, world_size, found_at)
                started.append(_start(place, [*program, str(run), str(os.getpid())], Path(logs)))
            first = _watch(started)
        except KeyboardInterrupt:
            for process in started:
                process.send_signal(signal.SIGINT)
            _end(started)
            raise SystemExit(INTERRUPTED) from None
        finally:
            _kill(started)
        codes = [process.returncode for process in started]
        if first is not None and codes[0] == INTERRUPTED:
            raise SystemExit(INTERRUPTED)
        if first is not None:
            why = _why(codes[first], Path(logs), first)
            resume = f": `snnprune train --resume {run}` goes on from the last finished epoch"
            raise UserError(
                f"the process with rank {first} of {world_size} {why}, and the others were stopped"
                f"{resume if RunFolder(run).has_checkpoint else ''}"
            )


def _start(place: dict[str, str], command: Sequence[str], logs: Path) -> subprocess.Popen[bytes]:
    """Start the process with the environment ``place``. All ranks but 0 write their output to a file."""
    rank, world_size = int(place["RANK"]), int(place["WORLD_SIZE"])
    threads = os.environ.get("OMP_NUM_THREADS", str(max(1, cores() // world_size)))
    with _log(logs, rank).open("wb") as log:
        output = log if rank else None
        try:
            return subprocess.Popen(  # noqa: S603 - our own program
                [*command, str(_said(logs, rank))],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=place | {"OMP_NUM_THREADS": threads},
                start_new_session=True,  # so that Ctrl-C reaches them once, from `launch`
            )
        except OSError as error:
            raise UserError(
                f"the process with rank {rank} of {world_size} could not be started ({first_line(error)}), "
                "and the others were stopped: lower train.devices, or end other programs on this machine"
            ) from error


def _watch(started: Started) -> int | None:
    """Wait until all have ended. Return the rank of the first one that failed by itself, None if none did."""
    while True:
        codes = [process.poll() for process in started]
        if any(codes):
            _end(started)
            codes = [code or process.returncode for code, process in zip(codes, started, strict=True)]
            failed = [rank for rank, code in enumerate(codes) if code]
            return next((rank for rank in failed if codes[rank] != LOST), failed[0])
        if None not in codes:
            return None
        time.sleep(0.05)


def _end(started: Started) -> None:
    """Wait for the processes until a common deadline, and kill those that still run."""
    deadline = time.monotonic() + GRACE
    for process in started:
        end(process, deadline - time.monotonic())


def _kill(started: Started) -> None:
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()


def _log(logs: Path, rank: int) -> Path:
    return logs / f"{rank}.txt"


def _said(logs: Path, rank: int) -> Path:
    return logs / f"{rank}.sentence"


def _why(code: int, logs: Path, rank: int) -> str:
    """Return why a process failed, as a clause."""
    if code < 0:
        return f"was ended by {killed_by(code)}"
    for file in (_said(logs, rank), _log(logs, rank)):
        if file.exists() and (text := file.read_text(encoding="utf-8", errors="replace").strip()):
            return f"failed ({text.splitlines()[-1].strip()})"
    return f"failed with code {code}"
