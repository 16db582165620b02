"""Records, and how they are read from a file: a dataclass whose annotations say what its file may hold."""

from __future__ import annotations

import csv
import io
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, TypeVar, Union, get_args, get_origin, get_type_hints

from snnprune.common import document
from snnprune.common.errors import UserError, in_one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

Kind = TypeVar("Kind")

LARGEST = 1e18
"""No number of a run is larger. A float near this value still has a precision of about 100."""


class Record:
    """A dataclass that a file holds; ``record["key"]`` is the field of that name in the file."""

    def __getitem__(self, key: str) -> Any:
        """Return a field by the name that it has in the file."""
        return getattr(self, key)


def typed(kind: type[Kind], value: Any, name: str = "") -> Kind:
    """Return a record of dataclass ``kind`` from plain values; further keys are ignored.

    Args:
        kind: a dataclass. Its fields are numbers, strings, bools, other such dataclasses, and dicts, lists,
            tuples and options of these.
        value: a dict by name of the field, from JSON or a table.
        name: the name of the value, for the message.

    Raises:
        ValueError: a field is missing, of another type or not finite, or breaks a rule of ``kind``.
    """
    if not isinstance(value, dict):
        raise _refused(name, "a mapping", value)
    hints, found = _hints(kind), {}  # type: ignore[arg-type]  # a class has a hash
    for field in fields(kind):  # type: ignore[arg-type]  # a dataclass
        inner = f"{name}.{field.name}" if name else field.name
        if field.name in value:
            found[field.name] = _fitted(hints[field.name], value[field.name], inner)
        elif field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"'{inner}' is missing")
    return kind(**found)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _fitted(hint: Any, value: Any, name: str) -> Any:
    if get_origin(hint) in (Union, UnionType):  # a type or None
        (hint,) = (each for each in get_args(hint) if each is not NoneType)
        return None if value is None else _fitted(hint, value, name)
    if is_dataclass(hint):
        return typed(hint, value, name)  # type: ignore[arg-type]  # a class
    if get_origin(hint) is not None:
        return _container(hint, value, name)
    if hint in (int, float):
        return _number(hint, value, name)
    if not isinstance(value, hint):
        raise _refused(name, {str: "text", bool: "true or false"}[hint], value)
    return value


def _container(hint: Any, value: Any, name: str) -> Any:
    origin, inner = get_origin(hint), get_args(hint)
    if origin is dict:
        if not isinstance(value, dict):
            raise _refused(name, "a mapping", value)
        return {str(key): _fitted(inner[1], each, f"{name}.{key}") for key, each in value.items()}
    count = len(inner) if origin is tuple else None
    if not isinstance(value, (list, tuple)) or (count is not None and len(value) != count):
        raise _refused(name, "a list" if count is None else f"a list of {count}", value)
    return origin(_fitted(inner[0], each, f"{name}[{i}]") for i, each in enumerate(value))


def _number(hint: type[int] | type[float], value: Any, name: str) -> float:
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < LARGEST
    if not number or (hint is int and value != int(value)):
        raise _refused(name, "a finite number" if hint is float else "a whole number", value)
    return hint(value)


def _refused(name: str, expected: str, value: Any) -> ValueError:
    came = f"{value!r:.60}" if isinstance(value, (str, int, float, NoneType)) else f"a {type(value).__name__}"
    said = f"'{name}'" if name else "it"
    return ValueError(f"{said} must be {expected}, and is {came}")


# --- tables


def columns(kind: type) -> tuple[str, ...]:
    """Return the columns of a table whose rows are ``kind``."""
    return tuple(field.name for field in fields(kind))


def csv_text(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a table in CSV; the numbers read back as the same floats."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(header)
    table.writerows(rows)
    return text.getvalue()


def from_table(kind: type[Kind], text: str) -> list[Kind]:
    """Return the rows of a table of numbers that has at least the columns of ``kind`` without a default.

    A column with a default may be missing, and a cell of it may be empty, which stands for None.

    Raises:
        ValueError: a column is missing, or a line is not a row of finite numbers.
    """
    optional = {f.name for f in fields(kind) if f.default is not MISSING}  # type: ignore[arg-type]
    header, lines = table_lines(text, [name for name in columns(kind) if name not in optional])
    found = []
    for number, line in enumerate(lines, 2):
        try:
            pairs = zip(header, line, strict=True)
            cells = {n: None if n in optional and cell == "" else float(cell) for n, cell in pairs}
        except ValueError as error:
            raise ValueError(f"line {number} is not a row of {len(header)} numbers") from error
        try:
            found.append(typed(kind, cells))
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
    return found


def table_lines(text: str, needed: Iterable[str]) -> tuple[list[str], list[list[str]]]:
    """Return the header and the lines of a table, as lists of cells.

    Raises:
        ValueError: a column of ``needed`` is missing, or the text is not a table.
    """
    try:
        header, *lines = list(csv.reader(text.splitlines())) or [[]]
    except csv.Error as error:  # a cell longer than any number
        raise ValueError(f"it is no table: {error}") from error
    missing = [name for name in needed if name not in header]
    if missing:
        raise ValueError(f"it has no column '{missing[0]}'")
    return header, lines


# --- files


def read_file(file: Path, parse: Callable[[str], Kind]) -> Kind:
    """Return the result of ``parse`` for the text of a file of a run.

    Raises:
        UserError: the file is not there, cannot be read, or ``parse`` raises ValueError. The message names
            the file.
    """
    try:
        return parse(document.read_text(file))
    except FileNotFoundError as error:
        raise UserError(f"{file.parent} has no {file.name}: {_anew(file)}") from error
    except (OSError, ValueError, OverflowError) as error:
        raise damaged(file, error) from error


def damaged(file: Path, error: Exception) -> UserError:
    """Return the error for a file of a run that cannot be used."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else in_one_line(error)
    return UserError(f"{file} is damaged ({reason}): {_anew(file)}")


def _anew(file: Path) -> str:
    """Say how to write a file again: from the run's checkpoint, once the run counts as unfinished."""
    folder = file.parent
    resume = f"`snnprune train --resume {folder}` writes it again"
    if file.name == "summary.json":
        return f"delete it, and {resume}"
    return f"delete {folder / 'summary.json'}, and {resume}" if (folder / "summary.json").exists() else resume
