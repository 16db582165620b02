"""Events of one recording: as a file holds them, and as they are behind the gate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

Unit = Literal["s", "ms", "us", "ns"]

EVENT = np.dtype([("x", np.int32), ("y", np.int32), ("t", np.int64), ("p", np.int8)])
"""An event in a structured array: signed numbers, so that transforms may subtract."""


@dataclass(frozen=True)
class Raw:
    """Columns of a file, as its format has them and before anything is cast: one entry for each event.

    They may be views into a table, or into a file that is mapped to be read only.

    Attributes:
        t: times, whole numbers or floats, of any size.
        x: columns.
        y: rows, counted from the top; the reader turns a format that counts from the bottom.
        p: polarities, bool, 0 and 1, or -1 and 1.
        unit: of the times; None where the file does not say.
        sensor: width and height, where the file says; None where it does not.
        lap: number of units after which the format's clock begins again, for the gate to undo; None where it
            does not, or the reader has undone it.
        remarks: what the user should know of how the file was read, each the end of a sentence that begins
            with the file, such as "ends within an event, which was left out".
        zero: time on the file's own clock, in units, at which `t` is 0: what the reader has subtracted.
    """

    t: npt.NDArray[Any]
    x: npt.NDArray[Any]
    y: npt.NDArray[Any]
    p: npt.NDArray[Any]
    unit: Unit | None = None
    sensor: tuple[int, int] | None = None
    lap: int | None = None
    remarks: tuple[str, ...] = ()
    zero: int = 0


def usable(values: npt.NDArray[Any], kind: type) -> bool:
    """Return whether a column of a file can be used as it is: of that type, in one piece, no map of the file.

    What is mapped cannot be written to, and others may change it after it was checked.
    """
    flags = values.flags
    return bool(values.dtype == kind and flags.c_contiguous and flags.aligned and flags.writeable)


def owned(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a column of a file as one that can be used, and a copy only where it cannot."""
    return values if usable(values, values.dtype.type) else values.copy()


@dataclass(frozen=True)
class Stream:
    """Events behind the gate, in order of time; events of equal time keep the order of the file.

    Attributes:
        t: int64, microseconds from the first event.
        x: uint16, columns within the sensor.
        y: uint16, rows from the top within the sensor.
        p: bool, True for ON.
        sensor: width and height.
        first: time of the first event on the file's own clock, in microseconds: what was subtracted.
        disordered: number of events that came before an earlier one of the file, and were sorted.
        remarks: as in `Raw`.
    """

    t: npt.NDArray[np.int64]
    x: npt.NDArray[np.uint16]
    y: npt.NDArray[np.uint16]
    p: npt.NDArray[np.bool_]
    sensor: tuple[int, int]
    first: int = 0
    disordered: int = 0
    remarks: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.t)

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        """Return a column, as a structured array of events does."""
        columns: dict[str, npt.NDArray[Any]] = {"t": self.t, "x": self.x, "y": self.y, "p": self.p}
        return columns[name]

    def structured(self) -> npt.NDArray[np.void]:
        """Return one array of `EVENT`, as Tonic and other libraries take events."""
        events = np.empty(len(self), EVENT)
        for name in EVENT.names or ():
            events[name] = self[name]
        return events

    def picked(self, chosen: slice | npt.NDArray[Any]) -> Stream:
        """Return some of the events: those of a slice, an index or a mask."""
        return replace(self, t=self.t[chosen], x=self.x[chosen], y=self.y[chosen], p=self.p[chosen])


@dataclass(frozen=True)
class Asked:
    """What the user says of files that do not say it themselves; None where the file has to.

    Attributes:
        sensor: width and height.
        unit: of times.
        columns: what the columns of a table without names hold; "-" for one to leave out.
        stream: name or number of the stream to read, of several.
    """

    sensor: tuple[int, int] | None = None
    unit: Unit | None = None
    columns: tuple[str, ...] | None = None
    stream: str | None = None
