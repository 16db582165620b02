"""Event files of every format that is read, damaged at random, and the bounds within which they are read."""

from __future__ import annotations

import re
import tempfile
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from snnprune.data.events.reading import FORMATS, read
from snnprune.data.events.stream import Asked
from support import event_files

if TYPE_CHECKING:
    from collections.abc import Callable

GOLDEN = Path(__file__).parents[1] / "tests" / "golden" / "events"
LARGEST_SEED = 1 << 14
"""Bytes of a golden file that is still damaged: of a large one, most bytes are never changed."""

SENSOR = (346, 260)
ASKED = Asked(sensor=SENSOR)
"""What is said of golden files; others are drawn for their sensor."""

BYTES, TIMES = 1 << 21, 2000
"""Memory that a file of n bytes may take: BYTES + TIMES n.

A compressed file may be a thousand times smaller than what is in it. A length that a file only claims to have
is not allocated.
"""

NUMBERS = [
    b"0",
    b"-1",
    b"1",
    b"65535",
    b"65536",
    b"4294967295",
    b"99999999999999999999",
    b"nan",
    b"1e999",
    b"",
]


class Seed(NamedTuple):
    """A good file: its format, where it is from, the ending of its name, its bytes, what is said of it."""

    title: str
    source: str
    suffix: str
    content: bytes
    asked: Asked = ASKED

    def __str__(self) -> str:
        return f"{self.title}, {self.source}"


def seeds() -> list[Seed]:
    """Return good files of every format: what the writers write, and small golden ones."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for known in FORMATS:
            for writer in event_files.WRITERS.get(known.title, ()):
                if writer.suffix not in known.suffixes:
                    continue
                path = Path(folder) / f"seed{writer.suffix}"
                writer.write(path, replace(event_files.drawn(12, (256, 240), gap=3_000), sensor=SENSOR))
                said = writer.said(SENSOR)
                found.append(Seed(known.title, str(writer), writer.suffix, path.read_bytes(), said))
            golden = (path for path in sorted(GOLDEN.glob("*")) if path.suffix in known.suffixes)
            found += [
                Seed(known.title, path.name, path.suffix, path.read_bytes())
                for path in golden
                if path.stat().st_size <= LARGEST_SEED
            ]
    return found


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Return ``content`` with up to four things wrong."""
    out = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        at = int(rng.integers(0, max(1, len(out))))
        _DAMAGES[rng.integers(len(_DAMAGES))](out, at, rng)
    return bytes(out)


def _change(out: bytearray, at: int, rng: np.random.Generator) -> None:
    out[at : at + 1] = bytes([rng.integers(256)])


def _fill(out: bytearray, at: int, rng: np.random.Generator) -> None:
    out[at : at + int(rng.choice([1, 2, 4, 8]))] = bytes([rng.choice([0, 127, 128, 255])]) * int(
        rng.choice([4, 8])
    )


def _cut(out: bytearray, at: int, rng: np.random.Generator) -> None:
    del out[at : at + int(rng.integers(1, 40))]


def _insert(out: bytearray, at: int, rng: np.random.Generator) -> None:
    out[at:at] = rng.bytes(int(rng.integers(1, 12)))


def _repeat(out: bytearray, at: int, rng: np.random.Generator) -> None:
    out[at:at] = bytes(out[at : at + int(rng.integers(1, 40))]) * int(rng.integers(1, 30))


def _end(out: bytearray, at: int, rng: np.random.Generator) -> None:
    del out[at:]


def _number(out: bytearray, at: int, rng: np.random.Generator) -> None:
    """Put another number in place of the next one in digits."""
    digits = re.compile(rb"[0-9]+").search(out, at)
    if digits:
        out[digits.start() : digits.end()] = NUMBERS[rng.integers(len(NUMBERS))]


_DAMAGES: tuple[Callable[[bytearray, int, np.random.Generator], None], ...] = (
    _change,
    _change,
    _fill,
    _cut,
    _insert,
    _repeat,
    _end,
    _number,
)


def look(path: Path, content: bytes, asked: Asked) -> None:
    """Write a file, read it, and see that what is read is what a gate lets through.

    Raises:
        MemoryError: more memory was taken than a file of its size may take.
        Exception: whatever a reader raises; a UserError is an answer.
    """
    path.write_bytes(content)
    tracemalloc.start()
    try:
        found = read(path, asked)
        assert len({len(found[name]) for name in "txyp"}) == 1
        assert found.t[0] == 0
        assert (np.diff(found.t) >= 0).all()
        assert found.x.max() < 346
        assert found.y.max() < 260
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        if peak > BYTES + TIMES * len(content):
            raise MemoryError(f"a file of {len(content)} bytes took {peak} bytes of memory")
