"""Types of values with their bounds, the conversion of text to values, and their words in messages."""

from __future__ import annotations

import math
import numbers
import re
import types
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml

from snnprune.common import document
from snnprune.common.errors import UserError

SHOWN = 200
"""Most characters of a value that a message repeats."""

LONGEST = 1000
"""Most characters of a name: a path may have 4,096 bytes, and a message has to repeat it."""

WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}

TRUTH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
"""Words that YAML reads as true and false."""

NOTHING = ("null", "none", "~")


@dataclass(frozen=True)
class Within:
    """Bounds of a number. NaN and infinity lie outside of all bounds.

    Attributes:
        low: the lowest value.
        high: the highest value.
        above: whether ``low`` itself is outside.
        below: whether ``high`` itself is outside.
    """

    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    below: bool = False

    def problem(self, value: Any) -> bool:
        """Tell whether ``value`` lies outside."""
        inside = value > self.low if self.above else value >= self.low
        return not (inside and (value < self.high if self.below else value <= self.high))

    def wanted(self, word: str) -> str:
        """Return the bounds in words; ``word`` is "a number" or "a whole number"."""
        if self.high == math.inf:
            return f"{word} {'above' if self.above else 'of at least'} {self.low:,}"
        low, high = f"{'above ' * self.above}{self.low:,}", f"{'below ' * self.below}{self.high:,}"
        return f"{word} from {low} to {high}"


@dataclass(frozen=True)
class Called:
    """Text that names something: not empty, no control characters, in UTF-8, at most `LONGEST` characters.

    Attributes:
        what: a description of the text, such as "the name of a folder".
    """

    what: str

    def problem(self, value: str) -> bool:
        """Tell whether ``value`` cannot be a name."""
        odd = any(letter < " " or "\ud800" <= letter <= "\udfff" for letter in value)
        return odd or not value.strip() or len(value) > LONGEST

    def wanted(self, word: str) -> str:  # noqa: ARG002
        """Return the description of the text."""
        return self.what


@dataclass(frozen=True)
class Written:
    """Text of a fixed form, such as a size in pixels or a length of time.

    Attributes:
        form: what the whole text must match.
        what: a description of the form, with an example.
    """

    form: str
    what: str

    def problem(self, value: str) -> bool:
        """Tell whether ``value`` is of another form."""
        return re.fullmatch(self.form, value, re.ASCII) is None

    def wanted(self, word: str) -> str:  # noqa: ARG002
        """Return the description of the form."""
        return self.what


MOST = 10**9
"""The largest count: libraries below keep counts in 32 bits."""

Count = Annotated[int, Within(1, MOST)]
Seconds = Annotated[float, Within(0, above=True)]
Share = Annotated[float, Within(0, 1, below=True)]
Folder = Annotated[str, Called("the name of a folder")]
File = Annotated[str, Called("the name of a file")]
Pixels = Annotated[str, Written("[1-9][0-9]{0,4}x[1-9][0-9]{0,4}", "WIDTHxHEIGHT in pixels, such as 346x260")]
Span = Annotated[
    str, Written("[1-9][0-9]{0,11}(us|ms|s)", "a whole number with its unit us, ms or s, such as 10ms")
]


def pixels(text: str) -> tuple[int, int]:
    """Return the width and height that a text of the type `Pixels` names."""
    width, height = text.split("x")
    return int(width), int(height)


def microseconds(text: str) -> int:
    """Return the length of time that a text of the type `Span` names, in microseconds."""
    number, unit = re.fullmatch("([0-9]+)([a-z]+)", text).groups()  # type: ignore[union-attr]
    return int(number) * {"us": 1, "ms": 1_000, "s": 1_000_000}[unit]


class UnfitError(ValueError):
    """A value that does not fit its type."""


def read(value: Any, kind: Any, key: str, place: str = "") -> Any:
    """Return ``value`` as a value of type ``kind``.

    Text may stand for a number, true, false, null or a mapping.

    Args:
        value: a value from a file or an option.
        kind: a type, with its bounds.
        key: the name of the setting or the option, for the message.
        place: where the value stands, for the message, such as " in the configuration run.yaml".

    Raises:
        UserError: it does not fit.
    """
    try:
        return convert(value, kind, text=True)
    except UnfitError as error:
        raise UserError(f"{key} must be {wanted(kind)}, and is {shown(value)}{place}") from error


def check(value: Any, kind: Any, key: str) -> None:
    """Check that a value from Python is of type ``kind`` and within its bounds.

    Raises:
        UserError: it is not.
    """
    try:
        convert(value, kind, text=False)
    except UnfitError as error:
        raise UserError(f"{key} must be {wanted(kind)}, and is {shown(value)}") from error


def convert(value: Any, kind: Any, *, text: bool) -> Any:
    """Return ``value`` as a value of type ``kind``.

    Args:
        value: anything.
        kind: a type of numbers, text, booleans, null, words or mappings, with bounds or without; or a union.
        text: whether text may stand for a value of another type.

    Raises:
        UnfitError: the value does not fit.
    """
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _one_of(value, get_args(kind), text=text)
    if origin is Annotated:
        inner, *bounds = get_args(kind)
        found = convert(value, inner, text=text)
        if any(bound.problem(found) for bound in bounds):
            raise UnfitError
        return found
    if origin is Literal:
        if type(value) is str and value in get_args(kind):
            return value
        raise UnfitError
    if kind is type(None):
        return _nothing(value, text=text)
    if origin is dict or kind is dict:
        return _mapping(value, text=text)
    return _plain(value, kind, text=text)


def wanted(kind: Any) -> str:
    """Return the type ``kind`` in words."""
    origin = get_origin(kind)
    if origin is Literal:
        return "one of " + ", ".join(map(str, get_args(kind)))
    if origin in (Union, types.UnionType):
        return " or ".join(wanted(option) for option in get_args(kind))
    if origin is Annotated:
        inner, bound, *_ = get_args(kind)
        return str(bound.wanted(wanted(inner)))
    if kind is type(None):
        return "null"
    return WORDS.get(kind, "a mapping of names to numbers, text, lists and mappings")


def shown(value: Any) -> str:
    """Return a value as a configuration file writes it, in at most `SHOWN` characters."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    try:
        written = repr(value)
    except ValueError:  # a whole number of more digits than Python writes
        return "a number of thousands of digits"
    return written if len(written) <= SHOWN else f"{written[:SHOWN]}..."


def guess(text: str) -> Any:
    """Return the value that ``text`` stands for in YAML; also a number that YAML reads as text (1e-3)."""
    try:
        return (
            float(text) if text.strip()[-1:].isdigit() and "e" in text.lower() else document.parse_yaml(text)
        )
    except (ValueError, yaml.YAMLError):
        return text


def _one_of(value: Any, kinds: tuple[Any, ...], *, text: bool) -> Any:
    # Null first, so that the text "null" is not read as the name of a folder.
    for kind in sorted(kinds, key=lambda kind: kind is not type(None)):
        try:
            return convert(value, kind, text=text)
        except UnfitError:
            continue
    raise UnfitError


def _nothing(value: Any, *, text: bool) -> None:
    if value is not None and not (text and isinstance(value, str) and value.lower() in NOTHING):
        raise UnfitError


def _mapping(value: Any, *, text: bool) -> dict[str, Any]:
    found = guess(value) if text and isinstance(value, str) else value
    if not isinstance(found, dict) or not _is_written(found):
        raise UnfitError
    return found


def _is_written(value: Any) -> bool:
    """Tell whether a file can hold ``value``."""
    if isinstance(value, dict):
        return all(type(name) is str and _is_written(inner) for name, inner in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_written, value))
    return value is None or type(value) in (bool, int, float, str)


def _plain(value: Any, kind: Any, *, text: bool) -> Any:
    if text and isinstance(value, str) and kind is not str:
        value = _number(value, kind) if kind in (int, float) else TRUTH.get(value.lower())
    # An int may stand for a float. numpy's numbers are converted, since no file can hold them.
    kinds = {int: numbers.Integral, float: numbers.Real}.get(kind) if text else {float: int}.get(kind)
    if kinds is not None and isinstance(value, kinds) and not isinstance(value, bool):
        value = _number(value, kind)
    if type(value) is not kind or (kind is float and not math.isfinite(value)):
        raise UnfitError
    return value


def _number(value: Any, kind: type) -> Any:
    try:
        return kind(value)
    except (ValueError, OverflowError) as error:
        raise UnfitError from error
