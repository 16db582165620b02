"""Child processes: each ends with its parent, and the way it ended is put in words."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys

WRONG_INPUT, ORPHANED, LOST = 2, 3, 4
"""Exit codes: the input cannot be used (stderr says why), the parent is gone, another rank is gone."""

GRACE = 20.0
"""Seconds that a process has to end after SIGINT. A process that is killed then loses its current epoch."""

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def cores() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def end_with(parent: int) -> bool:
    """Let the kernel kill this process when ``parent`` ends (Linux). Return whether ``parent`` still runs."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    return os.getppid() == parent


def be_interruptible() -> None:
    """Let SIGINT (Ctrl-C) end this process, whatever it inherited.

    A background process of a shell ignores SIGINT, and Ray blocks it in its workers.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def end(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Wait for a process that was asked to end, and kill it after ``seconds``."""
    try:
        process.wait(max(0.0, seconds))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def killed_by(code: int) -> str:
    """Return the name of the signal that a negative exit code stands for."""
    memory = " (was the memory full?)" if -code == signal.SIGKILL else ""
    return f"{signal.Signals(-code).name}{memory}"
