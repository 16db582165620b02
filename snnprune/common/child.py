"""A process that another one of ours started: it ends with that one, and how it ended can be said."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys

WRONG_INPUT, ORPHANED, LOST = 2, 3, 4
"""Exit codes: one sentence was said; who started the process is gone; another of its group is gone."""

GRACE = 20.0
"""Seconds to end in after the signal of Ctrl-C; who is killed then loses the epoch that it was in."""

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def cores() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def end_with(parent: int) -> bool:
    """Let the kernel kill this process when ``parent`` ends (Linux); return whether it is still there."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    return os.getppid() == parent


def be_interruptible() -> None:
    """Let Ctrl-C's signal through, whatever was inherited.

    A shell has what it starts in the background ignore it, and Ray holds it back in its workers.
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
    """Return the signal of a negative exit code in words."""
    memory = " (was the memory full?)" if -code == signal.SIGKILL else ""
    return f"{signal.Signals(-code).name}{memory}"
