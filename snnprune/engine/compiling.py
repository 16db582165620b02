"""How the engine's kernels are compiled: they make no arrays, and keep none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snnprune.common.compiling import compiled

if TYPE_CHECKING:
    from collections.abc import Callable


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a kernel. References to arrays are not counted: that costs 10 ns for each array of a call."""
    return compiled(function, forceinline=False, _nrt=False)


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a part of other kernels, into each of them."""
    return compiled(function, forceinline=True, _nrt=False)
