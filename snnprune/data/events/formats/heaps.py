"""Global heaps of HDF5 files, checked before the library HDF5 walks through them.

HDF5 2.0 never returns from a heap with an object of no size. Source: HDF5 File Format Specification, "III.E.
Disk Format: Level 1E - Global Heap". Files whose lengths have 8 bytes are meant, as all tools write them.
"""

from __future__ import annotations

import mmap
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SIGNATURE = b"GCOL\x01\x00\x00\x00"
HEADER = 16
"""Bytes of the header of a heap, and of that of an object in it."""


def check(path: Path) -> None:
    """Check that the objects of each global heap follow each other to its end.

    Raises:
        ValueError: they do not.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        if not path.stat().st_size:
            raise ValueError("it is empty")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            at = content.find(SIGNATURE)
            while at >= 0:
                _check(content, at)
                at = content.find(SIGNATURE, at + 1)


def _check(content: mmap.mmap, heap: int) -> None:
    if heap + HEADER > len(content):
        raise ValueError(f"it is damaged: its heap at byte {heap} is cut short")
    end = heap + int(struct.unpack_from("<Q", content, heap + 8)[0])
    if end > len(content):
        raise ValueError(f"it is damaged: its heap at byte {heap} reaches beyond the file")
    at = heap + HEADER
    while at + HEADER <= end:
        number, size = struct.unpack_from("<H6xQ", content, at)
        room = HEADER + size + -size % 8 if number else size
        if room < HEADER:
            raise ValueError(f"it is damaged: an object of its heap at byte {heap} has no size")
        at += room
