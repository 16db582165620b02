"""A folder of recordings: which files, of which classes, in which parts, and what belongs together."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from snnprune.common.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from snnprune.data.source import Half

Part = Literal["train", "validation", "test"]

PARTS: dict[str, Part] = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
    "testing": "test",
}
"""Names of folders, and words of a table, that stand for a part, in small letters."""

TABLE = "recordings.csv"
"""The table of recordings, where a folder has one."""

LEFT_BY_SYSTEMS = ("__MACOSX", "Thumbs.db", "desktop.ini")
"""Files and folders that operating systems leave behind, besides hidden ones."""

LEFT_BY_CAMERAS = (".bias", ".tmp_index")
"""Endings of files that Prophesee's tools write beside a recording: settings, and places in time."""

LAYOUTS = f"FOLDER/train/CLASS/FILE and FOLDER/test/CLASS/FILE, FOLDER/CLASS/FILE or FOLDER/{TABLE}"


@dataclass(frozen=True)
class Recording:
    """One file, or a labelled interval of it.

    Attributes:
        path: the file.
        label: index of its class.
        group: what may not be divided between parts, such as a person; None for the file itself.
        part: the part that the folder or the table puts it in; None where we divide.
        start: beginning of the interval in microseconds on the file's own clock; None for the first event.
        end: end of the interval, itself outside; None for after the last event.
    """

    path: Path
    label: int
    group: str | None = None
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

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts that the folder or the table names, in the order of training; none where we divide."""
        named = {recording.part for recording in self.recordings}
        return tuple(part for part in get_args(Part) if part in named)

    def of(self, part: Part | None) -> tuple[Recording, ...]:
        """Return the recordings of a part, or those of no part."""
        return tuple(recording for recording in self.recordings if recording.part == part)


def is_laid_out(folder: Path) -> bool:
    """Tell whether a folder may hold recordings: it has a table, or a folder with a file in it."""
    return (folder / TABLE).is_file() or any(True for inner in _folders(folder) for _ in _files(inner))


def from_folders(folder: Path, group: str | None) -> Listing:
    """List the recordings of a folder of classes, or of parts with folders of classes.

    Args:
        folder: the folder.
        group: a regular expression that finds the group in a file's path, relative to the folder; its first
            group in parentheses, if it has one, is what counts.

    Raises:
        UserError: the folder is neither, a class has no file, a class of a part is not in training, or a
            path has no group.
    """
    inner = list(_folders(folder))
    parts: dict[Path, Part | None] = {
        path: PARTS[path.name.lower()] for path in inner if path.name.lower() in PARTS
    }
    twice = len(set(parts.values())) < len(parts)
    if twice or (parts and len(parts) < len(inner)):
        odd = ", ".join(path.name for path in inner)
        raise UserError(
            f"{folder} has folders of parts beside others, or two of one part ({odd}): expected {LAYOUTS}"
        )
    homes = parts or {folder: None}
    found = [
        (part, kind.name, path)
        for home, part in homes.items()
        for kind in _folders(home)
        for path in _files(kind)
    ]
    if not found:
        raise UserError(f"{folder} has no recordings in folders of classes: expected {LAYOUTS}")
    _check_classes(homes)
    return _listing(folder, found, group)


def check_classes(
    title: str, classes: Sequence[str], recordings: Sequence[Recording], home: Path, expected: Sequence[str]
) -> None:
    """Check that each class of a public data set has a recording.

    Args:
        title: of the data set.
        classes: name of each label.
        recordings: that were found.
        home: where they were looked for.
        expected: for each label, where its recordings are.

    Raises:
        UserError: a class has none.
    """
    known = {recording.label for recording in recordings}
    for label, word in enumerate(classes):
        if label not in known:
            raise UserError(
                f"{title} has no recording of class '{word}' in {home}, expected as {expected[label]}: add "
                "it, or train without it with --data.skip_corrupt true"
            )


def half_of(part: Part | None) -> Half:
    """Return the half of a data set that a part belongs to: validation is in that for training."""
    return "test" if part == "test" else "train"


def _check_classes(homes: dict[Path, Part | None]) -> None:
    """Check that each class has a file, and that training knows the classes of all parts."""
    known = {kind.name for home, part in homes.items() if part == "train" for kind in _folders(home)}
    for home, part in homes.items():
        for kind in _folders(home):
            if next(_files(kind), None) is None:
                raise UserError(f"the class in {kind} has no recordings: add some, or remove the folder")
            if known and kind.name not in known:
                raise UserError(
                    f"{home} has a class '{kind.name}' that training does not have: the {part} part must "
                    f"have the classes of training, which are {', '.join(sorted(known, key=natural))}"
                )


def _listing(folder: Path, found: list[tuple[Part | None, str, Path]], group: str | None) -> Listing:
    classes = tuple(sorted({kind for _, kind, _ in found}, key=natural))
    order = {part: place for place, part in enumerate((None, *get_args(Part)))}
    recordings = [
        Recording(path, classes.index(kind), group_of(path, folder, group), part)
        for part, kind, path in found
    ]
    recordings.sort(key=lambda one: (order[one.part], one.label, natural(one.path.as_posix())))
    return Listing(folder, classes, tuple(recordings))


def group_of(path: Path, folder: Path, pattern: str | None) -> str | None:
    """Return the group of a file: what ``pattern`` finds in its path; None without a pattern.

    Raises:
        UserError: ``pattern`` finds nothing.
    """
    if pattern is None:
        return None
    relative = os.path.relpath(path, folder)
    match = re.search(pattern, relative)
    if match is None:
        raise UserError(
            f"data.group '{pattern}' finds no group in '{relative}', and every recording needs one: correct "
            "the pattern, or give --data.group null to divide by file"
        )
    return match[1] if match.re.groups and match[1] is not None else match[0]


def natural(text: str) -> tuple[tuple[int, str], ...]:
    """Return a key by which "2" comes before "10"."""
    pieces = re.split(r"([0-9]+)", text)
    # The text itself comes last, so that "1" and "01" have one order.
    return (*((int(piece), "") if piece.isdecimal() else (-1, piece) for piece in pieces), (-1, text))


def _folders(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.iterdir()) if path.is_dir() and not _is_left(path.name))


def _files(folder: Path) -> Iterator[Path]:
    for home, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not _is_left(name))
        for name in sorted(_kept(names)):
            yield folder.joinpath(os.path.relpath(home, folder), name)


def _kept(names: Iterable[str]) -> list[str]:
    return [name for name in names if not _is_left(name)]


def _is_left(name: str) -> bool:
    return name.startswith(".") or name in LEFT_BY_SYSTEMS or name.endswith(LEFT_BY_CAMERAS)
