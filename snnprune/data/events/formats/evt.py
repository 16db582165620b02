"""Prophesee RAW: a header, and words of one of the encodings EVT 2.0, 2.1 or 3.0 (see `evt_words`)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from snnprune.data.events.formats import evt_words
from snnprune.data.events.formats.content import content
from snnprune.data.events.formats.header import SHOWN, header, number
from snnprune.data.events.stream import Raw

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy.typing as npt

    from snnprune.data.events.stream import Asked

VERSIONS = {"2.0": "EVT2", "2.1": "EVT21", "3.0": "EVT3"}
"""Encodings by the value of the keyword ``evt``, which older files have in place of ``format``."""

ENCODINGS = {
    "EVT2": (4, evt_words.count_evt2, evt_words.fill_evt2),
    "EVT21": (8, evt_words.count_evt21, evt_words.fill_evt21),
    "EVT3": (2, evt_words.count_evt3, evt_words.fill_evt3),
}
"""By name: bytes of a word, and what counts and fills."""

UPPER_HALF = {"little": 4, "legacy": 0}
"""Where the upper half of a word of EVT 2.1 begins: GenX320 sends it last, IMX636 ("legacy") first."""

TIME_HIGH = 8
LOOKED_AT = 1 << 16
"""Words of EVT 2.1 that are looked at to tell their order."""


def read(path: Path, asked: Asked) -> Raw:  # noqa: ARG001 - the file says all that a reader can use
    """Read a RAW file.

    The sensor is what the header says, and unknown if it does not, as in files from before 2022. Memory: the
    mapped file, and 13 bytes an event.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no RAW file, or is encoded in another way, or in a way that cannot be told.
    """
    data = content(path)
    head = header(data)
    fields = _fields(head.values)
    encoding = _encoding(head.values, fields)
    size, count, fill = ENCODINGS[encoding]
    words, over = data[head.size :], (len(data) - head.size) % size
    order = _order(head.values, fields, encoding, words[: len(words) - over])
    many, early = count(words, *order)
    t, x, y = np.empty(many, np.int64), np.empty(many, np.uint16), np.empty(many, np.uint16)
    p = np.empty(many, np.bool_)
    zero = fill(words, t, x, y, p, *order)
    remarks = []
    if over:
        remarks.append(f"ends within a word, of which {over} bytes were left out")
    if early:
        remarks.append(
            f"has {early} events before the first word of their time or place, which were left out"
        )
    return Raw(t, x, y, p, "us", _sensor(head.values, fields), zero=zero, remarks=tuple(remarks))


def _fields(values: Mapping[str, str]) -> dict[str, str]:
    """Return the parts of the keyword ``format``, such as ``EVT3;height=720;width=1280``."""
    name, *others = values.get("format", "").split(";")
    pairs = (other.partition("=") for other in others)
    return {"name": name.strip().upper(), **{key.strip(): value.strip() for key, _, value in pairs}}


def _encoding(values: Mapping[str, str], fields: Mapping[str, str]) -> str:
    """Return the name of the encoding."""
    version = values.get("evt")
    name = fields["name"] or VERSIONS.get(version or "", "")
    if not name:
        said = f"% evt {version[:SHOWN]!r}" if version else "no line '% format' or '% evt'"
        raise ValueError(
            f"its header has {said}, and EVT2, EVT21 or EVT3 is expected: record or convert it anew"
        )
    if name not in ENCODINGS:
        raise ValueError(f"it is encoded as {name[:SHOWN]!r}, and EVT2, EVT21 and EVT3 are read: convert it")
    if version and VERSIONS.get(version, name) != name:
        raise ValueError(f"its header says both {name} and evt {version}: correct the line that is wrong")
    return name


def _order(
    values: Mapping[str, str], fields: Mapping[str, str], encoding: str, words: npt.NDArray[np.uint8]
) -> tuple[int, ...]:
    """Return where the upper half of a word begins, for EVT 2.1 only: what its functions take besides.

    A header that does not say it is one of older software. The words then tell: in the right order there are
    words of time, whose lower half is empty.
    """
    said = fields.get("endianness") or values.get("endianness")
    if said and said not in UPPER_HALF:
        raise ValueError(f"its words have the order {said[:SHOWN]!r}, and little and legacy are read")
    if encoding != "EVT21":
        if said == "legacy":
            raise ValueError(
                f"its header says that words of {encoding} have the legacy order, which none have"
            )
        return ()
    if said:
        return (UPPER_HALF[said],)
    halves = words[: 8 * LOOKED_AT].view("<u4").reshape(-1, 2)
    found = []
    for begin in UPPER_HALF.values():
        upper, lower = halves[:, begin // 4], halves[:, 1 - begin // 4]
        times = upper >> 28 == TIME_HIGH
        if times.any() and not lower[times].any():
            found.append(begin)
    if len(found) != 1:
        raise ValueError(
            "neither its header nor its first words say in which order the halves of a word of EVT 2.1 are: "
            "add ;endianness=little or ;endianness=legacy to the header's line '% format'"
        )
    return (found[0],)


def _sensor(values: Mapping[str, str], fields: Mapping[str, str]) -> tuple[int, int] | None:
    """Return width and height, or None where the header does not have both."""
    found = []
    if "width" in fields and "height" in fields:
        found.append((number("width", fields["width"]), number("height", fields["height"])))
    if "geometry" in values:
        parts = re.fullmatch("([0-9]{1,6})x([0-9]{1,6})", values["geometry"])
        if parts is None:
            said = values["geometry"][:SHOWN]
            raise ValueError(f"its header gives the geometry {said!r}, and WIDTHxHEIGHT is expected")
        found.append((int(parts[1]), int(parts[2])))
    if len(set(found)) > 1:
        both = " and ".join(f"{width} x {height}" for width, height in found)
        raise ValueError(f"its header says both {both} pixels: correct the line that is wrong")
    return found[0] if found else None
