"""Events of one recording: as a file holds them, and as they are behind the gate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

Unit = Literal["s", "ms", "us", "ns"]

EVENT = np.dtype([("t", np.int64), ("x", np.uint16), ("y", np.uint16), ("p", np.uint8)])
"""An event behind the gate: microseconds from the first one, column, row from the top, 1 for ON or 0."""


@dataclass(frozen=True)
class Raw:
    """Columns of a file, as its format has them and before anything is cast: one entry for each event.

    Attributes:
        t: times, whole numbers or floats, of any size.
        x: columns.
        y: rows, counted from the top; the reader turns a format that counts from the bottom.
        p: polarities, bool, 0 and 1, or -1 and 1.
        unit: of the times; None where the file does not say.
        sensor: width and height, where the file says; None where it does not.
        lap: number of units after which the format's clock begins again, for the gate to undo; None where it
            does not, or the reader has undone it.
    """

    t: npt.NDArray[Any]
    x: npt.NDArray[Any]
    y: npt.NDArray[Any]
    p: npt.NDArray[Any]
    unit: Unit | None = None
    sensor: tuple[int, int] | None = None
    lap: int | None = None


@dataclass(frozen=True)
class Stream:
    """Events behind the gate.

    Attributes:
        events: structured array of `EVENT`, in order of time; events of equal time keep their order.
        sensor: width and height.
        disordered: number of events that came before an earlier one of the file, and were sorted.
    """

    events: npt.NDArray[np.void]
    sensor: tuple[int, int]
    disordered: int = 0


@dataclass(frozen=True)
class Asked:
    """What the user says of files that do not say it themselves; None where the file has to.

    Attributes:
        sensor: width and height.
        unit: of times.
    """

    sensor: tuple[int, int] | None = None
    unit: Unit | None = None
