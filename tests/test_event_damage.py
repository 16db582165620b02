"""Damaged event files: what is whole is read, the rest is refused in a sentence, and nothing else happens."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
import pytest

from snnprune.common.errors import UserError
from snnprune.data.events import reading
from snnprune.data.events.stream import Asked, Stream
from support import event_tables

if TYPE_CHECKING:
    from pathlib import Path

MANY = 7
SENSOR = (240, 180)
EVENTS = Stream(
    np.arange(MANY) * 1000,
    np.arange(MANY, dtype=np.uint16),
    np.arange(MANY, dtype=np.uint16) * 2,
    np.arange(MANY) % 2 > 0,
    SENSOR,
    first=5000,
)
FORMATS = {
    "csv": (".csv", Asked(SENSOR)),
    "text": (".txt", Asked()),
    "npy_structured": (".npy", Asked(SENSOR)),
    "npy_table": (".npy", Asked(SENSOR, columns=("t", "x", "y", "p"))),
    "npz": (".npz", Asked(SENSOR)),
    "h5_group": (".h5", Asked(SENSOR)),
    "h5_compound": (".hdf5", Asked(SENSOR)),
    "es": (".es", Asked()),
    "aedat2": (".aedat", Asked()),
    "aedat31": (".aedat", Asked()),
    "aedat4": (".aedat4", Asked()),
}
LONGEST = 400
"""Characters of a sentence behind the file's name, and it is none."""


def good(name: str, tmp_path: Path) -> tuple[Path, bytes]:
    path = tmp_path / f"a{FORMATS[name][0]}"
    getattr(event_tables, name)(path, EVENTS)
    return path, path.read_bytes()


def read(path: Path, asked: Asked) -> Stream | None:
    """Read a file, or None where it is refused in a sentence."""
    try:
        return reading.read(path, asked)
    except UserError as error:
        said = str(error)
    assert "\n" not in said
    assert len(said) < len(str(path)) + LONGEST
    return None


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_cut_at_every_byte(name: str, tmp_path: Path) -> None:
    path, content = good(name, tmp_path)
    step = max(1, len(content) // 300)  # HDF5 has thousands of bytes
    for size in range(0, len(content), step):
        path.write_bytes(content[:size])
        found = read(path, FORMATS[name][1])
        if found is not None and name in ("aedat2", "aedat31", "aedat4"):
            assert found.t.tolist() == EVENTS.t[: len(found)].tolist()
            assert found.x.tolist() == EVENTS.x[: len(found)].tolist()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("aedat2", "ends within an event, which was left out"),
        ("aedat31", "ends within a packet, of which whole events were read"),
        ("aedat4", "ends within a packet, which was left out"),
    ],
)
def test_what_is_whole_is_read(name: str, said: str, tmp_path: Path) -> None:
    path, content = good(name, tmp_path)
    if name == "aedat4":
        event_tables.aedat4(path, EVENTS, packet=1)
        content = path.read_bytes()
    path.write_bytes(content[:-3])
    found = reading.read(path, FORMATS[name][1])
    assert found.x.tolist() == EVENTS.x[: MANY - 1].tolist()
    assert found.remarks == (said,)


@pytest.mark.parametrize("name", FORMATS)
def test_a_byte_changed(name: str, tmp_path: Path) -> None:
    path, content = good(name, tmp_path)
    draw = random.Random(0)
    places = range(len(content)) if len(content) < 400 else sorted(draw.sample(range(len(content)), 300))
    for place in places:
        value = draw.choice([0, 255, content[place] ^ 1])
        path.write_bytes(content[:place] + bytes([value]) + content[place + 1 :])
        read(path, FORMATS[name][1])


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_many_changes(name: str, tmp_path: Path) -> None:
    path, content = good(name, tmp_path)
    draw = random.Random(name)
    for _ in range(5000):
        changed = bytearray(content)
        for _ in range(draw.randint(1, 4)):
            place = draw.randrange(len(changed) or 1)
            kind = draw.random()
            if kind < 0.6 and changed:
                changed[place] = draw.choice([draw.randrange(256), 0, 127, 128, 255])
            elif kind < 0.8:
                del changed[place : place + draw.randint(1, 40)]
            else:
                changed[place:place] = draw.randbytes(draw.randint(1, 12))
        path.write_bytes(changed)
        read(path, FORMATS[name][1])


@pytest.mark.parametrize("ending", sorted({ending for ending, _ in FORMATS.values()}))
@pytest.mark.parametrize(
    "content", [b"", b"\0", b"\0" * 5000, b"#!AER-DAT4.0\r\n" + b"\xff" * 50, b"\xff" * 500]
)
def test_files_of_nothing(ending: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"a{ending}"
    path.write_bytes(content)
    assert read(path, Asked(SENSOR, columns=("t", "x", "y", "p"))) is None


@pytest.mark.parametrize("ending", sorted({ending for ending, _ in FORMATS.values()}))
def test_what_is_no_file(ending: str, tmp_path: Path) -> None:
    assert read(tmp_path / f"none{ending}", Asked(SENSOR)) is None
    (tmp_path / f"folder{ending}").mkdir()
    assert read(tmp_path / f"folder{ending}", Asked(SENSOR)) is None
