"""Events as text: one line each, columns between commas, semicolons, blanks or tabs.

The first line may name the columns, and so may a comment, as numpy's savetxt writes one. Lines that begin
with # or % are comments. Whole numbers stay whole numbers of 64 bits.

A first line of two whole numbers is the width and height of the sensor, as in the text files of the RPG's
`rpg_e2vid`; where floats in four columns follow, these are t in seconds, x, y and p, as there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from snnprune.common.errors import in_one_line
from snnprune.data.events.formats.columns import NAMES, named, positions, raw

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from snnprune.data.events.stream import Asked, Raw, Unit

HEAD = 2**16
"""Bytes in which the first event has to begin."""

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
GEOMETRY = re.compile(r"geometry\W{0,3}(\d{1,5})\s?[x,;: ]\s?(\d{1,5})", re.IGNORECASE)
"""The sensor in a comment, as Prophesee's tools write it."""

SIZE = re.compile(r"([xy])@(\d{1,5})")
"""The sensor in the names of columns, as faery writes it."""

TRUTH = ("true", "false")


@dataclass(frozen=True)
class Head:
    """What comes before the first event.

    Attributes:
        start: where the line of the first event begins.
        number: of that line, from 1 on.
        first: that line.
        separator: what is between columns; a blank stands for any blanks.
        comment: what a line of comment begins with.
        names: of the columns, if they are there.
        sensor: width and height, if they are there.
        sized: whether the sensor was a line of its own.
    """

    start: int
    number: int
    first: str
    separator: str
    comment: str
    names: tuple[str, ...] | None
    sensor: tuple[int, int] | None
    sized: bool


def read(path: Path, asked: Asked) -> Raw:
    """Read a text file.

    Raises:
        ValueError: it is not known what the columns hold, or a line is no event. The message names the line.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        begin = file.read(HEAD)
    head = _head(begin if len(begin) < HEAD else begin[: begin.rfind(b"\n") + 1])
    many = len(_cells(head.first, head.separator))
    asked_columns = asked.columns
    unit: Unit | None = None
    if head.sized and head.names is None and asked.columns is None and _has_floats_first(head):
        asked_columns, unit = ("t", "x", "y", "p"), "s"
    places = positions(many, head.names, asked_columns)
    return raw(_columns(path, head, places), unit, head.sensor)


def _has_floats_first(head: Head) -> bool:
    """Return whether the first of four columns is a float, and the others are not."""
    cells = _cells(head.first, head.separator)
    return len(cells) == len(NAMES) and ["." in cell for cell in cells] == [True, False, False, False]


def _cells(line: str, separator: str) -> list[str]:
    """Return the columns of a line."""
    return line.split() if separator == " " else [cell.strip().strip('"') for cell in line.split(separator)]


def _separator(line: str) -> str:
    """Return what is between the columns of a line."""
    return next((mark for mark in ";," if mark in line), " ")


def _is_number(cell: str) -> bool:
    return NUMBER.fullmatch(cell) is not None or cell.lower() in TRUTH


def _head(head: bytes) -> Head:
    """Read what comes before the first event.

    Raises:
        ValueError: there is nothing but that, or a line is neither names nor numbers.
    """
    text = head.decode("latin-1")
    names, sensor, sized, comment = None, None, False, "#"
    start = 3 if head.startswith(b"\xef\xbb\xbf") else 0  # mark of the order of bytes in UTF-8
    for number, match in enumerate(re.finditer(r"[^\r\n]*(\r\n|\r|\n|$)", text[start:]), 1):
        line = match[0].strip()
        separator = _separator(line)
        cells = _cells(line.lstrip("#% "), separator)
        if line.startswith(("#", "%")):
            comment = line[0]
            found = GEOMETRY.search(line)
            sensor = (int(found[1]), int(found[2])) if found else sensor
            names = tuple(cells) if _are_names(cells) else names
        elif len(cells) == 2 and not sized and all(cell.isdecimal() and len(cell) < 6 for cell in cells):
            sensor, sized = (int(cells[0]), int(cells[1])), True
        elif line and not any(_is_number(cell) for cell in cells):
            names = tuple(cell.partition("@")[0] for cell in cells)
            sizes = {size[1]: int(size[2]) for size in map(SIZE.fullmatch, cells) if size}
            sensor = (sizes["x"], sizes["y"]) if len(sizes) == 2 else sensor
        elif line:
            separator = _checked(number, line, separator)
            return Head(start + match.start(), number, line, separator, comment, names, sensor, sized)
    raise ValueError(f"it has no line of numbers within the first {HEAD} bytes")


def _are_names(cells: list[str]) -> bool:
    """Return whether the words of a comment are the names of columns, and nothing else."""
    try:
        return named(cells) is not None
    except ValueError:
        return False


def _checked(number: int, line: str, separator: str) -> str:
    """Return the separator of the first line with numbers, if it is one.

    Raises:
        ValueError: commas stand beside other separators, as decimal commas do.
    """
    parts = [cell.split() for cell in line.split(separator)] if separator != " " else []
    inside = any(len(cell) > 1 and all(_is_number(part) for part in cell) for cell in parts)
    if inside or (separator == ";" and "," in line):
        raise ValueError(f"its line {number} mixes commas and other separators: write decimals with a point")
    return separator


def _columns(path: Path, head: Head, places: dict[str, int]) -> dict[str, npt.NDArray[Any]]:
    """Read the columns t, x, y and p of all lines: whole numbers where the first line has whole numbers.

    Raises:
        ValueError: a line is no event; the message names it.
    """
    cells = _cells(head.first, head.separator)
    kinds = {name: _kind(cells[at]) for name, at in places.items()}
    while True:
        try:
            table = _loaded(path, head, len(cells), {at: kinds[name] for name, at in places.items()})
        except ValueError as error:
            wider = _wider(path, head, len(cells), places, kinds)
            if wider is None:
                raise ValueError(f"a line is no event: {in_one_line(error)}") from error
            kinds[wider] = "f8"
        else:
            return {name: _plain(table[f"f{at}"]) for name, at in places.items()}


def _kind(cell: str) -> str:
    """Return the type of a column by one of its numbers: words of truth are read as text."""
    if cell.lower() in TRUTH:
        return "U6"
    return "i8" if cell.lstrip("+-").isdecimal() else "f8"


def _loaded(path: Path, head: Head, many: int, kinds: dict[int, str]) -> npt.NDArray[Any]:
    """Return all lines as a structured array with fields f0, f1 and so on."""
    with path.open(encoding="latin-1") as file:
        file.seek(head.start)
        return np.loadtxt(
            file,
            np.dtype([(f"f{at}", kinds.get(at, "U1")) for at in range(many)]),
            comments=head.comment,
            delimiter=None if head.separator == " " else head.separator,
            ndmin=1,
        )


def _plain(column: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a column in one piece of memory, words of truth as such.

    Raises:
        ValueError: words of truth stand beside others.
    """
    if column.dtype.kind != "U":
        return np.ascontiguousarray(column)
    words = np.char.lower(column)
    if not np.isin(words, list(TRUTH)).all():
        raise ValueError("a column has words beside true and false")
    return words == "true"


def _wider(path: Path, head: Head, many: int, places: dict[str, int], kinds: dict[str, str]) -> str | None:
    """Return the column of whole numbers in which a float stands, as the first thing that is wrong, or None.

    Raises:
        ValueError: before it, a line is no event; the message names it.
    """
    with path.open(encoding="latin-1") as file:
        for number, line in enumerate(file, 1):
            cells = _cells(line.partition(head.comment)[0], head.separator)
            if number < head.number or not any(cells):
                continue
            if len(cells) != many:
                raise ValueError(f"its line {number} has {len(cells)} columns, and the first one {many}")
            for name, at in places.items():
                if kinds[name] == "U6":
                    continue
                if not NUMBER.fullmatch(cells[at]):
                    raise ValueError(f"its line {number} has {cells[at][:30]!r} where a number is expected")
                if kinds[name] == "i8" and _kind(cells[at]) == "f8":
                    return name
    return None
