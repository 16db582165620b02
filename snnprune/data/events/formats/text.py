"""Events as text: one line each, columns between commas, semicolons, blanks or tabs.

The first line may name the columns, and so may a comment, as numpy's savetxt writes one. Lines that begin with #
or % are comments. Whole numbers stay whole numbers of 64 bits.

A first line of two whole numbers is the width and height of the sensor, as in the text files of the RPG's
`rpg_e2vid`; where floats in four columns follow, these are t in seconds, x, y and p, as there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from snnprune.data.events.formats import numbers
from snnprune.data.events.formats.columns import NAMES, named, positions
from snnprune.data.events.formats.content import content
from snnprune.data.events.stream import Raw

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from snnprune.data.events.stream import Asked, Unit

HEAD = 2**16
"""Bytes in which the first event has to begin."""

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
GEOMETRY = re.compile(r"geometry\W{0,3}(\d{1,5})\s?[x,;: ]\s?(\d{1,5})", re.IGNORECASE)
"""The sensor in a comment, as Prophesee's tools write it."""

SHORTEST = 2 * len(NAMES) - 1
"""Bytes of a line with an event: a digit each, and what is between them."""


@dataclass(frozen=True)
class Head:
    """What comes before the first event.

    Attributes:
        start: where the line of the first event begins.
        first: that line.
        separator: what is between columns; a blank stands for any blanks.
        names: of the columns, if they are there.
        sensor: width and height, if they are there.
        sized: whether the sensor was a line of its own.
    """

    start: int
    first: str
    separator: str
    names: tuple[str, ...] | None
    sensor: tuple[int, int] | None
    sized: bool


def read(path: Path, asked: Asked) -> Raw:
    """Read a text file.

    Raises:
        ValueError: it is not known what the columns hold, or a line is no event. The message names the line.
        OSError: it cannot be read.
    """
    data = content(path)
    head = _head(data[:HEAD].tobytes())
    many = len(_cells(head.first, head.separator))
    asked_columns, unit = asked.columns, None
    if head.sized and head.names is None and asked.columns is None and _has_floats_first(head):
        asked_columns, unit = ("t", "x", "y", "p"), "s"
    places = positions(many, head.names, asked_columns)
    found = _columns(data, head, many, places)
    return Raw(**found, unit=unit, sensor=head.sensor)  # type: ignore[arg-type]


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
    return NUMBER.fullmatch(cell) is not None or cell.lower() in ("true", "false")


def _head(head: bytes) -> Head:
    """Read what comes before the first event.

    Raises:
        ValueError: there is nothing but that, or a line is neither names nor numbers.
    """
    text = head.decode("latin-1")
    names, sensor, sized = None, None, False
    start = 3 if head.startswith(b"\xef\xbb\xbf") else 0  # mark of the order of bytes in UTF-8
    for number, match in enumerate(re.finditer(r"[^\r\n]*(\r\n|\r|\n|$)", text[start:]), 1):
        line = match[0].strip()
        separator = _separator(line)
        cells = _cells(line.lstrip("#% "), separator)
        if line.startswith(("#", "%")):
            found = GEOMETRY.search(line)
            sensor = (int(found[1]), int(found[2])) if found else sensor
            names = tuple(cells) if _are_names(cells) else names
        elif len(cells) == 2 and not sized and all(cell.isdecimal() and len(cell) < 6 for cell in cells):
            sensor, sized = (int(cells[0]), int(cells[1])), True
        elif line and not any(_is_number(cell) for cell in cells) and "," not in cells:
            names = tuple(cells)
        elif line:
            return Head(start + match.start(), line, _checked(number, line, separator), names, sensor, sized)
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
    inside = [cell for cell in line.split(separator) if len(cell.split()) > 1] if separator != " " else []
    if inside or (separator == ";" and "," in line):
        raise ValueError(f"its line {number} mixes commas and other separators: write decimals with a point")
    return separator


def _columns(
    data: npt.NDArray[np.uint8], head: Head, many: int, places: dict[str, int]
) -> dict[str, npt.NDArray[Any]]:
    """Read the columns t, x, y and p of all lines.

    Raises:
        ValueError: a line is no event; the message names it.
    """
    rows = min(numbers.lines(data, head.start), (len(data) - head.start) // SHORTEST + 1)
    mantissas = np.empty((len(NAMES), rows), np.int64)
    exponents = np.empty((len(NAMES), rows), np.int8)
    order = np.full(many, -1)
    for row, name in enumerate(NAMES):
        order[places[name]] = row
    read, end, got = numbers.columns(data, head.start, ord(head.separator), order, mantissas, exponents)
    if got >= 0:
        raise ValueError(_complaint(data, end, got, many))
    return {
        name: _values(data, mantissas[row, :read], exponents[row, :read]) for row, name in enumerate(NAMES)
    }


def _values(
    data: npt.NDArray[np.uint8], mantissas: npt.NDArray[np.int64], exponents: npt.NDArray[np.int8]
) -> npt.NDArray[Any]:
    """Return a column: whole numbers where all are, else floats.

    Raises:
        ValueError: a whole number has more than 64 bits.
    """
    if not exponents.any():
        return mantissas
    hard = np.flatnonzero(exponents == numbers.HARD)
    exact = mantissas / 10.0 ** -np.minimum(exponents, 0).astype(np.float64)
    for row in hard:
        token = re.match(rb"[^\s,;]+", data[mantissas[row] : mantissas[row] + HEAD].tobytes())
        written = token[0].decode("latin-1") if token else ""
        if not re.search("[.eE]", written):
            raise ValueError(f"its number {written[:30]} has more than 64 bits")
        exact[row] = float(written)
    return exact


def _complaint(data: npt.NDArray[np.uint8], end: int, got: int, many: int) -> str:
    """Return what is wrong with the line where reading ended."""
    before = data[:end].tobytes().replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    number = before.count(b"\n") + 1
    rest = re.split(rb"[\r\n]", data[end : end + HEAD].tobytes(), maxsplit=1)[0].decode("latin-1")
    if got == many:
        if rest.startswith((",", ".")) or re.match(r"\s*,\s*\d", rest):
            return f"its line {number} goes on with {rest[:30]!r} behind its {many} columns (decimals need a point)"
        return f"its line {number} goes on with {rest[:30]!r} behind its {many} columns"
    if not rest.strip(" \t,;"):
        return f"its line {number} has {got} columns, and the first one {many}"
    return f"its line {number} has {rest.split()[0][:30]!r} where a number is expected"
