"""The lines of text with which files of Prophesee's cameras begin."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

LONGEST = 1 << 16
"""Bytes of a header at most. Those of cameras have less than a thousand."""

SHOWN = 40
"""Characters of a header's value that a message repeats."""


@dataclass(frozen=True)
class Header:
    """What the lines say.

    Attributes:
        values: by keyword, in small letters.
        size: bytes until the data.
    """

    values: dict[str, str]
    size: int


def header(data: npt.NDArray[np.uint8]) -> Header:
    """Read the lines ``% keyword value`` at the beginning of a file.

    The header ends behind the line ``% end``, or before the first line that does not begin with ``% ``.
    Source: docs.prophesee.ai, "RAW File Format" and "DAT File Format".

    Raises:
        ValueError: a line does not end, within the file or within `LONGEST` bytes.
    """
    head = data[:LONGEST].tobytes()
    values: dict[str, str] = {}
    at = 0
    while head.startswith(b"% ", at) and "end" not in values:
        end = head.find(b"\n", at)
        if end < 0:
            raise ValueError("its header never ends: it was cut short, or is no such file")
        keyword, _, value = head[at + 2 : end].decode("latin-1").strip().partition(" ")
        values[keyword.lower()] = value.strip()
        at = end + 1
    return Header(values, at)


def number(name: str, value: str) -> int:
    """Return a whole number of a header.

    Raises:
        ValueError: it is none, or has more than six digits.
    """
    if not re.fullmatch("[0-9]{1,6}", value):
        raise ValueError(f"its header gives {value[:SHOWN]!r} as {name}, which is no such number")
    return int(value)
