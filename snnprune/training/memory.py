"""Peak memory of training."""

from __future__ import annotations

import contextlib
import resource
import sys
from pathlib import Path

import torch


class PeakMemory:
    """The peak memory since this object was made.

    On a GPU it is the memory that torch allocated. On a CPU it is the resident memory of the process, its
    libraries included. If the system cannot reset that count, it starts with the process.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
            return
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")

    def megabytes(self) -> float:
        """Return the peak memory, in units of 10^6 bytes."""
        if self.device == "cuda":
            return round(torch.cuda.max_memory_allocated() / 1e6, 1)
        try:
            status = Path("/proc/self/status").read_text(encoding="ascii")
            return round(int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6, 1)
        except (OSError, IndexError, ValueError):
            unit = 1 if sys.platform == "darwin" else 1024
            return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)
