"""A folder of recordings: which files, of which classes, in which parts, and who belongs together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

Part = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Recording:
    """One file, or a labelled interval of it.

    Attributes:
        path: the file.
        label: index of its class.
        group: what may not be divided between parts, such as a person; the file itself by default.
        part: the part that the folder or the table puts it in; None where we divide.
        start: beginning of the interval in microseconds on the file's own clock; None for the first event.
        end: end of the interval, itself outside; None for after the last event.
    """

    path: Path
    label: int
    group: str
    part: Part | None = None
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True)
class Listing:
    """What a folder holds.

    Attributes:
        folder: the folder.
        classes: name of each label.
        recordings: sorted by part, class and path; or in the order of the table.
    """

    folder: Path
    classes: tuple[str, ...]
    recordings: tuple[Recording, ...]
