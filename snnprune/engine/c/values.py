"""Kinds of numbers, and the smallest C type that holds them.

Spikes, counts, their sums, and averages over windows of 2^k of them are whole numbers times a power of 2, so
they are kept as these whole numbers: no digit is lost, and a byte is often enough. All else is real.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from snnprune.engine.plan import Array, Plan

MOST_COUNTS = 255
"""A count of events stays there, as in frames. Values that are no counts may be as large, of either sign."""

LARGEST = 2.0**62
"""Bound of whole numbers in 64 bits: what is added to two of them has room."""

INTEGERS = {
    "uint8_t": (0.0, 2.0**8 - 1),
    "int8_t": (-(2.0**7), 2.0**7 - 1),
    "uint16_t": (0.0, 2.0**16 - 1),
    "int16_t": (-(2.0**15), 2.0**15 - 1),
    "int32_t": (-(2.0**31), 2.0**31 - 1),
    "int64_t": (-LARGEST, LARGEST),
}
"""Bounds of the types of whole numbers, the smallest first."""

BYTES = {
    "uint8_t": 1,
    "int8_t": 1,
    "uint16_t": 2,
    "int16_t": 2,
    "uint32_t": 4,
    "int32_t": 4,
    "int64_t": 8,
    "float": 4,
    "double": 8,
}
"""Size of each type."""


@dataclass(frozen=True)
class Values:
    """Numbers from ``low`` to ``high``.

    Attributes:
        low: the smallest. In a plan of floats those of real numbers are not followed: -inf and inf.
        high: the largest.
        whole: whether they are whole numbers times 2^-places, ``low`` and ``high`` among these whole numbers.
        places: binary places.
    """

    low: float
    high: float
    whole: bool = True
    places: int = 0

    @property
    def least(self) -> float:
        """The smallest, as a value."""
        return self.low * 2.0**-self.places

    @property
    def most(self) -> float:
        """The largest, as a value."""
        return self.high * 2.0**-self.places


SPIKES = Values(0.0, 1.0)


def real_of(plan: Plan) -> str:
    """Return the C type of real numbers of a plan."""
    return "double" if np.dtype(plan.dtype).itemsize == 8 else "float"


def integer(low: float, high: float, least: str = "uint8_t") -> str | None:
    """Return the smallest type that holds whole numbers from ``low`` to ``high``; None if there is none.

    Args:
        low: the smallest number.
        high: the largest number.
        least: the smallest type that is asked for.
    """
    kinds = list(INTEGERS)
    for kind in kinds[kinds.index(least) :]:
        smallest, largest = INTEGERS[kind]
        if smallest <= low and high <= largest:
            return kind
    return None


SHORT = 8
"""Characters of a real number that is written in decimal digits."""


def literal(number: float, kind: str) -> str:
    """Return a number as C writes it: reals exactly, in few decimal digits or in hexadecimal ones."""
    if kind not in ("float", "double"):
        return str(int(number)) if abs(int(number)) < 2**31 else f"INT64_C({int(number)})"
    text = str(Decimal(number))
    if len(text) > SHORT or "E" in text:
        digits, _, power = float(number).hex().partition("p")
        text = f"{digits.rstrip('0')}p{power}"
    elif "." not in text:
        text += ".0"
    return f"{text}{'f' if kind == 'float' else ''}"


def literals(numbers: Array | Iterable[float], kind: str) -> list[str]:
    """Return numbers as C writes them."""
    return [literal(number, kind) for number in np.asarray(numbers).reshape(-1).tolist()]
