"""Unpack untrusted archives: no member is written outside the folder, and none can fill the disk.

An archive is unpacked into a temporary folder and moved into place when it is complete. A process that is
killed therefore leaves no incomplete data set behind.
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
"""Errors that reading an archive may raise. Each reader has errors of its own for damage."""

RATIO = 100
"""Bytes that a byte of an archive may unpack to. For recordings it is 2 to 5, for a bomb a thousand."""

ROOM = 2**28
"""Bytes that any archive may unpack to, however small: small archives pack better."""

CHUNK = 2**20
HEADER = 2**20
"""Largest header (a long name and the like) of a tar archive. Its reader loads headers into memory."""

EXTRA = {
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
}
"""Types of such headers."""

OPENERS = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open, b"\xfd7": lzma.open}
"""Openers by the first two bytes. Anything else is read as a tar archive without compression."""


class BombError(OSError):
    """An archive that unpacks to far more than any data set does."""


class _Bounded(io.RawIOBase):
    """A stream that returns at most ``room`` bytes."""

    def __init__(self, stream: IO[bytes], room: int) -> None:
        self._stream = stream
        self._left = room

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        got = self._stream.read(size)
        self._left -= len(got)
        if self._left < 0:
            raise BombError(f"it unpacks to more than {RATIO} times its size")
        return got


class _Member(tarfile.TarInfo):
    """A member whose header is checked before its content is read."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        member = super().frombuf(buf, encoding, errors)
        if member.size > HEADER and member.type in EXTRA:
            raise BombError(
                f"one of its headers has {member.size:,} bytes, and at most {HEADER:,} are expected"
            )
        if member.type == tarfile.GNUTYPE_SPARSE:
            raise BombError("it contains sparse files, whose size has no limit")
        return member


def room_for(archive: Path) -> int:
    """Return how many bytes ``archive`` may unpack to."""
    return max(ROOM, RATIO * archive.stat().st_size)


@contextmanager
def tar(archive: Path) -> Iterator[tarfile.TarFile]:
    """Open a tar archive, compressed or not, to read it from beginning to end.

    Raises:
        `DAMAGED`: the archive is damaged or a bomb. Reading its members may raise it, too.
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
        OSError: the archive is damaged, unpacks to far more than its size, conflicts with files that are
            there, or the disk is full.
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
                    raise BombError(f"{archive.name} unpacks to more than {RATIO} times its size")
                file.write(chunk)


def inside(name: str, archive: Path) -> PurePosixPath:
    """Return the name of a member as a path that stays inside the folder.

    Raises:
        ValueError: the name leads outside.
    """
    place = PurePosixPath(name)
    if place.is_absolute() or ".." in place.parts or "\\" in name or "\0" in name or not place.parts:
        raise ValueError(f"{archive.name} has a member called {name!r}, which leads out of its folder")
    return place


def _move(part: Path, target: Path) -> None:
    """Move ``part`` to ``target``. Merge it into folders that exist, but never follow a link."""
    if target.is_symlink():
        raise OSError(
            f"{target} is a link, and unpacked files would be written to its target: remove the link"
        )
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
