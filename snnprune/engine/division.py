"""Division by a constant as three products, which take less time, where they give the same numbers.

With y = 1/c, rounded, q = x y and r = x - c q, the quotient is q + r y, each product fused with its sum
(Markstein, "Computation of elementary functions on the IBM RISC System/6000 processor", 1990). That this is
what the division gives is not taken for granted: all 2^23 significands of float32 are tried. Powers of two
change nothing, so it holds for all quotients that are not below 2^-100.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import binding

from snnprune.engine.compiling import inlined, kernel
from snnprune.engine.lanes import fused, negative

if TYPE_CHECKING:
    import numpy.typing as npt

FUSES = bool((binding.get_host_cpu_features() or {}).get("fma", False))
"""Whether this processor fuses a product with a sum."""

STEP = np.float32(2.0**-23)
"""Between neighbouring float32 numbers from 1 to 2."""

TRIED = (2.0**-20, 2.0**20)
"""Divisors that are tried: with others, a number on the way might leave the range of float32."""


@functools.cache
def is_product(divisor: float, dtype: npt.DTypeLike) -> bool:
    """Return whether `divided` gives the quotients by this number, for every number of that type.

    Args:
        divisor: other than 0.
        dtype: only float32 has few enough numbers to be tried; each divisor takes some milliseconds, once.
    """
    if np.dtype(dtype) != np.float32 or not FUSES or not TRIED[0] <= abs(divisor) <= TRIED[1]:
        return False
    own = np.float32(divisor)
    return not differing(own, np.float32(1) / own)


@inlined
def divided(x, divisor, inverse):
    """Return x / divisor, of numbers or vectors, by products with the inverse, 1 / divisor."""
    quotient = x * inverse
    return fused(fused(quotient, negative(divisor), x), inverse, quotient)


@kernel
def differing(divisor: Any, inverse: Any) -> Any:
    """Return for how many numbers from 1 to 2 `divided` is not the quotient."""
    many = 0
    for n in range(1 << 23):
        x = np.float32(1) + np.float32(n) * STEP
        many += divided(x, divisor, inverse) != x / divisor
    return many
