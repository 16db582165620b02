"""How kernels for the CPU are compiled."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numba

if TYPE_CHECKING:
    from collections.abc import Callable


def compiled(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """Compile at the first call, and cache the result on disk if there is a writable folder.

    Numba tries the folder of this file, in the user's cache folder and in ``NUMBA_CACHE_DIR``.

    Args:
        function: the kernel.
        options: further ones of `numba.njit`.
    """
    jit = functools.partial(numba.njit, nogil=True, error_model="numpy", fastmath=False, **options)
    try:
        return jit(cache=True)(function)
    except RuntimeError:  # no writable folder
        return jit()(function)
