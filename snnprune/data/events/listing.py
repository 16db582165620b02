"""The recordings of a folder, by its table or by its folders."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from snnprune.common.errors import UserError
from snnprune.config.slips import meant
from snnprune.data.events.layouts import (
    LAYOUTS,
    PARTS,
    TABLE,
    Listing,
    Part,
    Recording,
    from_folders,
    group_of,
    natural,
)

if TYPE_CHECKING:
    from pathlib import Path

    from snnprune.config.schema import DataConfig

NEEDED = ("file", "label")
OPTIONAL = ("start", "end", "split", "group")

Row = dict[str, str]


def listed(folder: Path, config: DataConfig) -> Listing:
    """List the recordings of a folder.

    Args:
        folder: with ``{train,test}/CLASS/*``, ``CLASS/*`` or a table ``recordings.csv``.
        config: its ``group`` names what belongs together.

    Raises:
        UserError: there is no such folder, it has none of these layouts, its table is damaged, or a file has
            no group.
    """
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}: expected {LAYOUTS}")
    if (folder / TABLE).is_file():
        return from_table(folder, config.group)
    return from_folders(folder, config.group)


def from_table(folder: Path, group: str | None) -> Listing:
    """List the recordings that a folder's table names: a row for each file, or labelled interval of a file.

    Columns are file (relative to the folder) and label; start and end (microseconds on the file's own
    clock), split (train, validation or test) and group may follow. Other columns are left alone.

    Args:
        folder: the folder with the table.
        group: as in `layouts.from_folders`.

    Raises:
        UserError: the table cannot be read, lacks a column, or has a row that does not fit. The message names
            the line.
    """
    table = folder / TABLE
    rows = _rows(table)
    classes = tuple(sorted({row["label"] for _, row in rows}, key=natural))
    recordings = tuple(_recording(table, line, row, classes, group) for line, row in rows)
    parts = {recording.part for recording in recordings}
    if None in parts and len(parts) > 1:
        line = next(line for line, row in rows if not row["split"])
        raise UserError(f"{table}, line {line} has no split, and others have: give each row one, or none")
    if any(row["group"] for _, row in rows) and not all(row["group"] for _, row in rows):
        line = next(line for line, row in rows if not row["group"])
        raise UserError(f"{table}, line {line} has no group, and others have: give each row one, or none")
    return Listing(folder, classes, recordings)


def _rows(table: Path) -> list[tuple[int, Row]]:
    """Return the rows of the table with their line numbers; a column that is not there is empty."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True, restval="")
            names = [name.strip() for name in reader.fieldnames or ()]
            _check_columns(table, names)
            reader.fieldnames = names
            found = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            f"{table} cannot be read as comma-separated values in UTF-8: {error}; save it as such"
        ) from error
    if not found:
        raise UserError(f"{table} has no rows: expected one for each recording, with its file and label")
    for line, row in found:
        if None in row:
            raise UserError(
                f"{table}, line {line} has more values than the {len(names)} columns of its header"
            )
    return [
        (line, {name: (row.get(name) or "").strip() for name in NEEDED + OPTIONAL}) for line, row in found
    ]


def _check_columns(table: Path, names: list[str]) -> None:
    known = NEEDED + OPTIONAL
    for need in NEEDED:
        if need not in names:
            raise UserError(
                f"{table} must begin with a line that names its columns, {', '.join(NEEDED)} and perhaps "
                f"{', '.join(OPTIONAL)}, joined by commas; it begins with '{','.join(names)[:100]}'"
            )
    for name in names:
        close = meant(name, known)
        if close and name not in known:
            raise UserError(f"{table} has a column '{name}': did you mean '{close}'?")
    if len(set(names)) < len(names):
        raise UserError(f"{table} has two columns of one name: {', '.join(names)}")


def _recording(table: Path, line: int, row: Row, classes: tuple[str, ...], group: str | None) -> Recording:
    for need in NEEDED:
        if not row[need]:
            raise UserError(f"{table}, line {line} has no {need}")
    if "\0" in row["file"]:
        raise UserError(f"{table}, line {line} has a file name with a zero byte in it")
    path = table.parent / row["file"]
    start, end = (_time(table, line, name, row[name]) for name in ("start", "end"))
    if start is not None and end is not None and end <= start:
        raise UserError(
            f"{table}, line {line}: end must come after start, and they are {end} and {start} (in "
            "microseconds on the file's own clock)"
        )
    if row["group"] and group is not None:
        raise UserError(f"{table} has a column group, and data.group is given: leave one of them out")
    own = row["group"] or group_of(path, table.parent, group)
    return Recording(path, classes.index(row["label"]), own, _part(table, line, row["split"]), start, end)


def _part(table: Path, line: int, word: str) -> Part | None:
    if word and word.lower() not in PARTS:
        raise UserError(f"{table}, line {line}: split must be train, validation or test, and is '{word}'")
    return PARTS[word.lower()] if word else None


def _time(table: Path, line: int, name: str, text: str) -> int | None:
    try:
        return int(text) if text else None
    except ValueError as error:
        raise UserError(
            f"{table}, line {line}: {name} must be a whole number of microseconds on the file's own clock, "
            f"and is '{text}'"
        ) from error
