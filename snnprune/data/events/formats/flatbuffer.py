"""Fields of flatbuffers (flatbuffers.dev, "Internals"), each offset held within the buffer."""

from __future__ import annotations

import struct


def number(form: str, buffer: bytes, at: int) -> int:
    """Return a number.

    Args:
        form: its format, as the module struct has it.
        buffer: the flatbuffer, or what it lies in.
        at: where the number begins.

    Raises:
        ValueError: that is outside the buffer.
    """
    if not 0 <= at <= len(buffer) - struct.calcsize(form):
        raise ValueError("an offset points outside")
    found: int = struct.unpack_from("<" + form, buffer, at)[0]
    return found


def root(buffer: bytes, at: int, identifier: bytes) -> int:
    """Return where the root table begins.

    Args:
        buffer: what the flatbuffer lies in.
        at: where the flatbuffer begins, behind a prefix with its size.
        identifier: four bytes that name its schema.

    Raises:
        ValueError: the flatbuffer has another schema, or the table lies outside.
    """
    if buffer[at + 4 : at + 8] != identifier:
        raise ValueError(f"it is no {identifier.decode()}")
    return at + number("I", buffer, at)


def field(buffer: bytes, table: int, index: int) -> int | None:
    """Return where a field of a table begins, or None where the table leaves it out.

    Raises:
        ValueError: an offset points outside the buffer.
    """
    offsets = table - number("i", buffer, table)
    slot = 4 + 2 * index
    if slot + 2 > number("H", buffer, offsets):
        return None
    place = number("H", buffer, offsets + slot)
    return table + place if place else None


def vector(buffer: bytes, at: int, size: int) -> tuple[int, int]:
    """Return where the elements of a vector begin, and how many there are.

    Args:
        buffer: the flatbuffer, or what it lies in.
        at: the field with the vector's offset.
        size: bytes of an element.

    Raises:
        ValueError: the elements lie outside the buffer.
    """
    begin = at + number("I", buffer, at)
    many = number("I", buffer, begin)
    if begin + 4 + many * size > len(buffer):
        raise ValueError("a vector reaches outside")
    return begin + 4, many
