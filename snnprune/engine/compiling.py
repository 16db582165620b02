"""How the engine's kernels are compiled: they make no arrays, and keep none."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numba

if TYPE_CHECKING:
    from collections.abc import Callable


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile at the first call, with a cache on disk as `snnprune.common.compiling.compiled`.

    References to arrays are not counted: that costs 10 ns for each array of a call.
    """
    return _compiled(function, forceinline=False)


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a part of other kernels, into each of them."""
    return _compiled(function, forceinline=True)


def _compiled(function: Callable[..., Any], *, forceinline: bool) -> Callable[..., Any]:
    jit = functools.partial(
        numba.njit, nogil=True, error_model="numpy", fastmath=False, forceinline=forceinline, _nrt=False
    )
    try:
        return jit(cache=True)(function)
    except RuntimeError:  # no writable folder
        return jit()(function)
