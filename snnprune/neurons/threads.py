"""Work shared among threads of our own.

Numba's thread pools are not used: the one that is always there may not be entered from two threads at once,
as a backward in autograd's thread may be; the OpenMP one needs a system library that not everybody has, ends
a process that forks, and its waiting threads and torch's fight for the same cores. A kernel that lets go of
the interpreter's lock needs no more than a few plain threads, and compiles in a fraction of the time.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

WORTH = 1 << 15
"""Values below which a second thread takes longer to wake than to help."""

_pools: dict[int, ThreadPoolExecutor] = {}
os.register_at_fork(after_in_child=_pools.clear)  # threads do not live on in a forked child


def share(kernel: Callable[..., Any], parts: int, size: int, *args: Any) -> list[Any]:
    """Call ``kernel(first, last, *args)`` for ranges that together make up ``range(parts)``.

    Args:
        kernel: releases the interpreter's lock; ranges are independent of each other.
        parts: what is divided.
        size: how many values are worked on in all; few are not divided.
        args: the same for every call.

    Returns:
        What the calls returned.
    """
    threads = min(torch.get_num_threads(), parts, 1 + size // WORTH)
    if threads <= 1:
        return [kernel(0, parts, *args)]
    bounds = [parts * n // threads for n in range(threads + 1)]
    if threads not in _pools:
        _pools[threads] = ThreadPoolExecutor(threads - 1, thread_name_prefix="snnprune")
    others = [_pools[threads].submit(kernel, *ends, *args) for ends in pairwise(bounds[1:])]
    return [kernel(bounds[0], bounds[1], *args), *(other.result() for other in others)]
