"""How kernels for the CPU are compiled."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numba

if TYPE_CHECKING:
    from collections.abc import Callable


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile at the first call, and cache the result on disk if there is a writable folder.

    Numba tries the folder of this file, in the user's cache folder and in ``NUMBA_CACHE_DIR``.
    """
    jit = functools.partial(numba.njit, nogil=True, error_model="numpy", fastmath=False)
    try:
        return jit(cache=True)(function)
    except RuntimeError:  # no writable folder
        return jit()(function)
