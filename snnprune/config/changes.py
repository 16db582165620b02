"""The text that names changes of the training samples, such as "shift=2,flip=0.5"."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from functools import cache
from typing import Annotated, Any, get_args, get_type_hints

from snnprune.config import values
from snnprune.config.values import Within

MOST_PIXELS = 1000
"""The largest change in pixels: sensors are a little larger."""

Pixels = Annotated[int, Within(1, MOST_PIXELS)]
Chance = Annotated[float, Within(0, 1, above=True)]


@dataclass(frozen=True)
class Changes:
    """Changes of a recording's frames; `snnprune.data.augmentation` says what each does.

    Attributes:
        drop: the largest share of the events to leave out.
        jitter: standard deviation of a change of each event's time, in frames.
        cutout: side of an emptied square, in pixels.
        flip: chance of exchanging left and right.
        roll: most pixels to move along both axes, around the edges.
        shift: most pixels to move along both axes, leaving empty cells.
    """

    drop: Annotated[float, Within(0, 1, above=True, below=True)] | None = None
    jitter: Chance | None = None
    cutout: Pixels | None = None
    flip: Chance | None = None
    roll: Pixels | None = None
    shift: Pixels | None = None

    @classmethod
    def of(cls, text: str) -> Changes:
        """Return the changes that a text names, in any order.

        Raises:
            ValueError: an unknown change, one that is named twice, or a number out of its bounds.
        """
        found: dict[str, Any] = {}
        for part in text.split(","):
            match = re.fullmatch(r"([a-z]+)=([0-9]+(?:\.[0-9]+)?)", part.strip(), re.ASCII)
            if match is None or match[1] not in _kinds() or match[1] in found:
                raise ValueError(f"{part!r} is no change, or the second of its name")
            found[match[1]] = values.convert(match[2], _kinds()[match[1]], text=True)
        return cls(**found)


@cache
def _kinds() -> dict[str, Any]:
    """Return the type of each change's number, with its bounds."""
    hints = get_type_hints(Changes, include_extras=True)
    return {field.name: get_args(hints[field.name])[0] for field in fields(Changes)}  # without the null


class Listed:
    """Text that `Changes.of` reads."""

    def problem(self, value: str) -> bool:
        """Tell whether ``value`` is none."""
        try:
            Changes.of(value)
        except ValueError:
            return True
        return False

    def wanted(self, word: str) -> str:  # noqa: ARG002
        """Return the changes and the bounds of their numbers."""
        known = "; ".join(f"{name}={values.wanted(kind)}" for name, kind in _kinds().items())
        return f"changes joined by commas, such as shift=2,drop=0.1, each at most once ({known})"
