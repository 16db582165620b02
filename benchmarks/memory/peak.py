"""Peak memory of a training step above the model, in a process that does nothing else.

On a GPU PyTorch counts its own memory exactly. On a CPU nobody counts all of it: PyTorch's profiler sees its
own allocator and misses the scratch of oneDNN, of kernels compiled elsewhere, and what malloc keeps. So the
kernel's mark of the highest resident size is read, from when weights, gradients and moments are there.

    python -m benchmarks.memory.peak mnist "fused, DPAP"

prints bytes; `benchmarks.speed.step` calls it for its table.
"""

from __future__ import annotations

import copy
import ctypes
import re
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from benchmarks.harness import parser
from benchmarks.workloads import WORKLOADS

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.harness import Contender

STEPS = 3
CLEAR_PEAK = "5"  # proc(5), clear_refs


def peak(contender: Contender) -> int | None:
    """Return the bytes that training steps take at most beyond what is there before; None off Linux."""
    _warm_up(contender)
    return taken(lambda: _train(contender), contender.x.device.type)


def taken(work: Callable[[], object], device: str) -> int | None:
    """Return the bytes that ``work`` takes at most beyond what is there before; None off Linux."""
    if device != "cuda":
        return grown(work)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    work()
    return torch.cuda.max_memory_allocated() - before


def grown(work: Callable[[], object]) -> int | None:
    """Return by how many bytes ``work`` makes this process grow at most; None off Linux."""
    if not Path("/proc/self/clear_refs").exists():
        return None
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text(CLEAR_PEAK)
    before = _status("VmRSS")
    work()
    return _status("VmHWM") - before


def _warm_up(contender: Contender) -> None:
    """Load what a step loads and make the moments, with one sample: it leaves no freed memory behind."""
    small = copy.copy(contender)
    small.x, small.y = contender.x[:, :1], contender.y[:1]
    small.train()


def _train(contender: Contender) -> None:
    for _ in range(STEPS):
        contender.train()


def _status(field: str) -> int:
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return 1024 * int(found[1])


def main() -> None:
    options = parser(__doc__, rounds=STEPS)
    options.add_argument("workload", choices=WORKLOADS)
    options.add_argument("contender")
    options.add_argument("--quick", action="store_true", help="tiny shapes: does it run at all?")
    given = options.parse_args()
    if given.threads is not None:
        torch.set_num_threads(given.threads)
    workload = WORKLOADS[given.workload].tiny() if given.quick else WORKLOADS[given.workload]
    print(peak(workload.contender(given.contender, *workload.inputs(given.device))) or "null")


if __name__ == "__main__":
    main()
