"""Share work among torch's own threads, or among plain threads if torch's are not available.

A kernel that releases the interpreter's lock can run in any threads. Torch's threads are the best: after each
operation they keep a core busy for some milliseconds while they wait for the next one, and any other thread
has to share that core with them (measured: a tenth of a training step). They belong to an OpenMP library. One
function of its interface starts a parallel region on them.

Numba's thread pools are not used. The pool that is always available may not be entered from two threads at
once, which a backward in autograd's thread may do. The OpenMP pool needs a system library that is not always
installed, and ends a process that forks; its waiting threads and torch's compete for the same cores.
"""

from __future__ import annotations

import ctypes
import functools
import os
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WORTH = 1 << 15
"""Number of values below which a second thread costs more time than it saves."""

_REGION = ctypes.CFUNCTYPE(None, ctypes.c_void_p)

_pools: dict[int, ThreadPoolExecutor] = {}


def _forget_threads() -> None:
    """Forget all threads in a forked child, which has none: OpenMP would wait for its threads for ever."""
    global _forked  # noqa: PLW0603 - it is set once, in the child
    _forked = True
    _pools.clear()


_forked = False
os.register_at_fork(after_in_child=_forget_threads)


def share(kernel: Callable[..., Any], parts: int, size: int, *args: Any) -> list[Any]:
    """Call ``kernel(first, last, *args)`` for ranges that together make up ``range(parts)``.

    Args:
        kernel: releases the interpreter's lock; ranges are independent of each other.
        parts: number of parts to divide among threads.
        size: number of values in all parts; a small number is not divided.
        args: further arguments, the same for every call.

    Returns:
        What the calls returned, in the order of the ranges.
    """
    import torch  # noqa: PLC0415 - slow, and the lowest rooms do without

    threads = min(torch.get_num_threads(), parts, 1 + size // WORTH)
    if threads <= 1:
        return [kernel(0, parts, *args)]
    bounds = [parts * n // threads for n in range(threads + 1)]
    calls = [functools.partial(kernel, *ends, *args) for ends in pairwise(bounds)]
    library = None if _forked else openmp()
    return _in_pool(calls) if library is None else _in_team(library, calls)


@functools.cache
def openmp() -> ctypes.CDLL | None:
    """Return the OpenMP library whose threads torch uses, or None if it does not have the GOMP interface."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        return None
    lines = maps.read_text(encoding="utf-8", errors="replace").splitlines()
    paths = {Path(line.split(maxsplit=5)[5]) for line in lines if "gomp" in line.rpartition("/")[2]}
    import torch  # noqa: PLC0415 - slow, and the lowest rooms do without

    own = Path(torch.__file__).resolve().parent  # the kernel names files without links
    found = [path for path in paths if own in path.parents] or sorted(paths)
    if len(found) != 1:  # other packages have their own libraries, with other threads
        return None
    try:
        library = ctypes.CDLL(str(found[0]))
        library.GOMP_parallel.argtypes = (_REGION, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
        library.GOMP_parallel.restype = None
        _ = library.omp_get_thread_num, library.omp_get_num_threads
    except (OSError, AttributeError):
        return None
    return library


def _in_team(library: ctypes.CDLL, calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Make ``calls`` in the calling thread and in its OpenMP threads."""
    results: list[Any] = [None] * len(calls)
    failed: list[BaseException] = []

    def region(_: Any) -> None:
        try:
            for number in range(library.omp_get_thread_num(), len(calls), library.omp_get_num_threads()):
                results[number] = calls[number]()
        except BaseException as error:  # raised again in the calling thread
            failed.append(error)

    library.GOMP_parallel(_REGION(region), None, len(calls), 0)
    if failed:
        raise failed[0]
    return results


def _in_pool(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Make the first of ``calls`` in this thread, and the others in threads of a pool."""
    others = len(calls) - 1
    if others not in _pools:
        _pools[others] = ThreadPoolExecutor(others, thread_name_prefix="snnprune")
    futures = [_pools[others].submit(call) for call in calls[1:]]
    return [calls[0](), *(future.result() for future in futures)]
