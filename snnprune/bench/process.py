"""The process that a cell of a bench runs in: how it is started, and how its failure is described."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from snnprune.common.child import killed_by

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PROGRAM = (sys.executable, "-m", "snnprune.bench.cell")


@dataclass(frozen=True)
class Outcome:
    """How a cell ended.

    Attributes:
        name: the name of the cell.
        said: one sentence on what went wrong; None if nothing did.
    """

    name: str
    said: str | None


def log_of(logs: Path, name: str) -> Path:
    """Return the file that a cell's output goes to."""
    return logs / f"{name}.txt"


def launch(
    program: Sequence[str], folder: Path, log: Path, threads: int, modules: str = ""
) -> subprocess.Popen[bytes]:
    """Start the process of a cell, in a session of its own, with ``threads`` threads.

    The user's own modules are searched for in the current folder, and in the folder ``modules``.
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
    """Return in one sentence why a cell failed; None if it did not fail."""
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
