"""Archives that anybody may have packed: nothing of them lands outside their folder, or fills the disk.

An archive is unpacked aside and moved into place when it is whole, so that a kill leaves no half of a data
set that looks like one.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import tempfile
import zipfile
import zlib
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

DAMAGED = (OSError, EOFError, ValueError, tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)
"""What reading an archive may raise. Its readers know several words for one thing."""

RATIO = 100
"""Bytes that a byte of an archive may become. Recordings become 2 to 5, a bomb a thousand."""

ROOM = 2**28
"""Bytes that any archive may become: small ones pack better."""

CHUNK = 2**20
HEADER = 2**20
"""Bytes of a long name and the like in a tar archive, which its reader takes into memory whole."""

EXTRA = {
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
}
"""Types of such headers."""

OPENERS = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open, b"\xfd7": lzma.open}
"""By the first two bytes; anything else is taken for a tar archive that is not packed."""


class BombError(OSError):
    """An archive that becomes far larger than any data set does."""


class _Bounded(io.RawIOBase):
    """A stream that gives no more than ``room`` bytes."""

    def __init__(self, stream: IO[bytes], room: int) -> None:
        self._stream = stream
        self._left = room

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        got = self._stream.read(size)
        self._left -= len(got)
        if self._left < 0:
            raise BombError(f"it becomes more than {RATIO} times as large as it is")
        return got


class _Member(tarfile.TarInfo):
    """A member whose header is looked at before what belongs to it is read."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        member = super().frombuf(buf, encoding, errors)
        if member.size > HEADER and member.type in EXTRA:
            raise BombError(f"a header of it has {member.size:,} bytes")
        if member.type == tarfile.GNUTYPE_SPARSE:
            raise BombError("it has files with holes, which may be as large as they like")
        return member


def room_for(archive: Path) -> int:
    """Return how many bytes ``archive`` may become."""
    return max(ROOM, RATIO * archive.stat().st_size)


@contextmanager
def tar(archive: Path) -> Iterator[tarfile.TarFile]:
    """Open a tar archive, packed or not, to be read from its beginning to its end.

    Raises:
        `DAMAGED`: it is damaged, or a bomb; also while its members are read.
    """
    with archive.open("rb") as file:
        opener = OPENERS.get(file.read(2))
        file.seek(0)
        stream: IO[bytes] = file if opener is None else opener(file)  # type: ignore[operator]
        bounded = _Bounded(stream, room_for(archive))
        with tarfile.open(fileobj=bounded, mode="r|", tarinfo=_Member) as opened:
            yield opened


def unpack(archive: Path, folder: Path) -> None:
    """Write the plain files of a zip or tar archive under ``folder``, all of them or none.

    Links and devices are left out.

    Raises:
        ValueError: a member's name leads out of ``folder``.
        OSError: the archive is damaged, becomes far larger than it is, is in the way of what is there, or
            there is no room.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".unpacking.") as aside:
        try:
            _write(archive, Path(aside))
        except (
            EOFError,
            tarfile.TarError,
            zipfile.BadZipFile,
            zlib.error,
            lzma.LZMAError,
            RuntimeError,
        ) as error:
            raise OSError(f"{archive} is damaged: {error}") from error
        for part in Path(aside).iterdir():
            _move(part, folder / part.name)


def _write(archive: Path, folder: Path) -> None:
    room = room_for(archive)
    for name, content in _zipped(archive) if zipfile.is_zipfile(archive) else _tarred(archive):
        target = folder / inside(name, archive)
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            for chunk in iter(lambda content=content: content.read(CHUNK), b""):  # type: ignore[misc]
                room -= len(chunk)
                if room < 0:
                    raise BombError(f"{archive.name} becomes more than {RATIO} times as large as it is")
                file.write(chunk)


def inside(name: str, archive: Path) -> PurePosixPath:
    """Return the name of a member as a path that stays where it is put.

    Raises:
        ValueError: it leads elsewhere.
    """
    place = PurePosixPath(name)
    if place.is_absolute() or ".." in place.parts or "\\" in name or "\0" in name or not place.parts:
        raise ValueError(f"{archive.name} has a member called {name!r}, which leads out of its folder")
    return place


def _move(part: Path, target: Path) -> None:
    """Put ``part`` where it belongs; into folders that are there, but never through a link."""
    if target.is_symlink():
        raise OSError(f"{target} is a link, and what was unpacked would go where it leads: remove it")
    if part.is_dir() and target.is_dir():
        for inner in part.iterdir():
            _move(inner, target / inner.name)
    else:
        part.replace(target)


def _zipped(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with zipfile.ZipFile(archive) as file:
        for member in file.infolist():
            mode = member.external_attr >> 16
            if not member.is_dir() and (mode & 0o170000) in (0, 0o100000):
                with file.open(member) as content:
                    yield member.filename, content


def _tarred(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with tar(archive) as file:
        for member in file:
            content = file.extractfile(member) if member.isfile() else None
            if content is not None:
                yield member.name, content
