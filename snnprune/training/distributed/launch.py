"""Several processes of a run on this machine: started, watched, and stopped together."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from snnprune.common.child import GRACE, cores, end, killed_by
from snnprune.common.errors import UserError
from snnprune.training.distributed.group import of_torchrun
from snnprune.training.distributed.member import LOST

if TYPE_CHECKING:
    from collections.abc import Sequence

PROGRAM = (sys.executable, "-m", "snnprune.training.distributed.member")

INTERRUPTED = 130

Started = list[subprocess.Popen[bytes]]


def launch(run: Path, count: int, program: Sequence[str] = PROGRAM) -> None:
    """Train the run in folder ``run`` in ``count`` processes, and return when all have done their part.

    The first one speaks to this terminal. Each has its share of the processors, unless OMP_NUM_THREADS says
    otherwise.

    Raises:
        UserError: one of them failed; the others were stopped.
        SystemExit: after Ctrl-C, once all have ended.
    """
    with tempfile.TemporaryDirectory(prefix="snnprune-") as logs:
        started = _start(run, count, program, Path(logs))
        try:
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
            raise UserError(
                f"process {first} of {count} {why}, and the others were stopped: `snnprune train --resume "
                f"{run}` goes on from the last finished epoch"
            )


def _start(run: Path, count: int, program: Sequence[str], logs: Path) -> Started:
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        port = own.getsockname()[1]
    threads = os.environ.get("OMP_NUM_THREADS", str(max(1, cores() // count)))
    started = []
    for number in range(count):
        with _log(logs, number).open("wb") as log:
            output = log if number else None
            started.append(
                subprocess.Popen(  # noqa: S603 - our own program
                    [*program, str(run), str(os.getpid()), str(_said(logs, number))],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=of_torchrun(number, count, port) | {"OMP_NUM_THREADS": threads},
                    start_new_session=True,  # Ctrl-C reaches them once, from here
                )
            )
    return started


def _watch(started: Started) -> int | None:
    """Wait until all have ended; return which was the first to fail by itself, None where none did."""
    while True:
        codes = [process.poll() for process in started]
        if any(codes):
            _end(started)
            codes = [code or process.returncode for code, process in zip(codes, started, strict=True)]
            failed = [number for number, code in enumerate(codes) if code]
            return next((number for number in failed if codes[number] != LOST), failed[0])
        if None not in codes:
            return None
        time.sleep(0.05)


def _end(started: Started) -> None:
    """Give all that still run some time to end."""
    deadline = time.monotonic() + GRACE
    for process in started:
        end(process, deadline - time.monotonic())


def _kill(started: Started) -> None:
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()


def _log(logs: Path, number: int) -> Path:
    return logs / f"{number}.txt"


def _said(logs: Path, number: int) -> Path:
    return logs / f"{number}.sentence"


def _why(code: int, logs: Path, number: int) -> str:
    """Say why a process failed."""
    if code < 0:
        return f"was ended by {killed_by(code)}"
    for file in (_said(logs, number), _log(logs, number)):
        if file.exists() and (text := file.read_text(encoding="utf-8", errors="replace").strip()):
            return f"failed ({text.splitlines()[-1].strip()})"
    return f"failed with code {code}"
