"""Frames kept in one file and read through a memory map.

A file is: the magic word, padding to 64 bytes, the frames (uint8, one sample after the other), a footer
(JSON: what the frames were made of and how, and the labels), and an end mark with the footer's length, a
checksum of frames and footer, and the magic word again. A truncated file has no end mark, and a damaged one
has another checksum: the user is warned, and the file is built again. Frames of other data or other settings
have another file name. A file is written under a temporary name and renamed, under a lock. No process
therefore sees half a file, and no two processes build the same file.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import struct
import warnings
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

from snnprune.common import document
from snnprune.common.errors import UserError, memory_full
from snnprune.common.phases import phase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path
    from typing import BinaryIO

    import numpy.typing as npt

FORMAT = 3
MAGIC = b"snnprune frames\n"
START = 64
END = struct.Struct("<QI16s")
# Bytes read at a time for the checksum of the whole file (two gigabytes a second if the file is in memory).
CHUNK = 2**20


@dataclass(frozen=True)
class Stored:
    """What a cache file holds.

    Attributes:
        frames: uint8 [N, ...], a read-only memory map (an empty array if N is 0).
        labels: int64 [N].
        skipped: files left out when it was built.
        remarks: what was noticed when it was built, a sentence each.
    """

    frames: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    skipped: tuple[str, ...]
    remarks: tuple[str, ...] = ()

    def none(self) -> Stored:
        """Return no samples, of the same shape."""
        return Stored(np.zeros((0, *self.frames.shape[1:]), np.uint8), np.zeros(0, np.int64), ())


@dataclass(frozen=True)
class Batch:
    """Samples on their way into the cache.

    Attributes:
        frames: uint8 [n, ...].
        labels: n integers.
        skipped: files that could not be read, left out.
        remarks: pairs of a file and what was noticed of it, the end of a sentence that begins with the file.
        share: of the work, where the whole is the ``total`` that `cached` is told; by default the samples and
            what was skipped.
    """

    frames: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    skipped: tuple[str, ...] = ()
    remarks: tuple[tuple[str, str], ...] = ()
    share: int | None = None


class Remarks:
    """Sentences on many files: those that differ in their numbers alone become one."""

    def __init__(self) -> None:
        self._first: dict[str, str] = {}
        self._files: dict[str, int] = {}

    def add(self, file: str, said: str) -> None:
        """Note what is said of a file."""
        kind = re.sub("[0-9][0-9,]*", "0", said)
        self._first.setdefault(kind, f"{file} {said}")
        self._files[kind] = self._files.get(kind, 0) + 1

    def sentences(self) -> list[str]:
        """Return a sentence for each kind: that on the first file, and how many others are like it."""
        return [
            sentence + (f" ({others:,} other{' is' if others == 1 else 's are'} like it)" if others else "")
            for kind, sentence in self._first.items()
            for others in [self._files[kind] - 1]
        ]


def cached(
    folder: Path, title: str, key: Mapping[str, Any], build: Callable[[], Iterable[Batch]], total: int
) -> Stored:
    """Open the cache of the frames that ``key`` describes. Build it first if it is absent or unusable.

    Args:
        folder: where cache files are.
        title: a readable beginning for the file's name.
        key: everything that the frames depend on, as values that JSON can hold.
        build: yields the samples, in order.
        total: number of samples, for the progress bar.

    Warns of a file that is damaged.

    Raises:
        UserError: the folder cannot be written, or its disk is full.
    """
    made_of = json.loads(json.dumps({"format": FORMAT, **key}))
    digest = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()
    path = folder / f"{re.sub(r'[^A-Za-z0-9.-]+', '-', title)}-{digest[:12]}.frames"
    stored = opened(path, made_of)
    if stored is None:
        try:
            with _locked(path):
                stored = opened(path, made_of)  # another process may have built it meanwhile
                if stored is None:
                    if path.exists():
                        warnings.warn(f"{path} is damaged or cut short, and is built anew", stacklevel=2)
                    phase(f"cutting {total:,} samples into frames, once: {path}")
                    _write(path, made_of, _shown(build(), title, total))
                    stored = opened(path, made_of)
        except OSError as error:
            if memory_full(error) is not None:
                raise
            raise UserError(
                f"frames could not be written to {path} ({error.strerror or error}): make room there, or "
                "pass --data.cache FOLDER"
            ) from error
    if stored is None:
        raise UserError(
            f"{path} was written and cannot be read back: pass --data.cache FOLDER on another disk"
        )
    return stored


def fingerprint(folder: Path, files: Iterable[Path]) -> str:
    """Return a hash of the names (relative to ``folder``), sizes and modification times of files."""
    digest = hashlib.sha256()
    for file in files:
        try:
            status = file.stat()
            seen = f"{status.st_size}\0{status.st_mtime_ns}"
        except OSError:  # a broken link, for instance: reading the file names it later
            seen = "unreadable"
        digest.update(f"{file.relative_to(folder).as_posix()}\0{seen}\n".encode())
    return digest.hexdigest()


def opened(path: Path, made_of: Mapping[str, Any]) -> Stored | None:
    """Open a cache file. Return None if it is absent, truncated, damaged or made of other data."""
    try:
        with path.open("rb") as file:
            footer = _footer(file)
    except (OSError, ValueError):  # a valid checksum does not prove valid content
        return None
    if footer is None or footer["made_of"] != made_of:
        return None
    labels = np.asarray(footer["labels"], dtype=np.int64)
    shape = (len(labels), *footer["shape"])
    frames = np.memmap(path, np.uint8, "r", START, shape) if len(labels) else np.zeros(shape, np.uint8)
    return Stored(frames, labels, tuple(footer["skipped"]), tuple(footer["remarks"]))


def _footer(file: BinaryIO) -> dict[str, Any] | None:
    size = file.seek(0, os.SEEK_END)
    if size < START + END.size:
        return None
    file.seek(size - END.size)
    length, checksum, mark = END.unpack(file.read(END.size))
    body = size - END.size - length
    if mark != MAGIC or body < START:
        return None
    file.seek(0)
    if file.read(len(MAGIC)) != MAGIC:
        return None
    file.seek(START)
    seen = 0
    for place in range(START, body, CHUNK):
        seen = zlib.crc32(file.read(min(CHUNK, body - place)), seen)
    text = file.read(length)
    if zlib.crc32(text, seen) != checksum:
        return None
    footer: dict[str, Any] = document.parse_json(text.decode())
    return footer


def _write(path: Path, made_of: Mapping[str, Any], batches: Iterable[Batch]) -> None:
    aside = path.with_suffix(".part")
    labels: list[int] = []
    skipped: list[str] = []
    remarks = Remarks()
    shape: list[int] = []
    checksum = 0
    try:
        with aside.open("wb") as file:
            file.write(MAGIC.ljust(START, b"\0"))
            for batch in batches:
                content = np.ascontiguousarray(batch.frames).tobytes()
                checksum = zlib.crc32(content, checksum)
                file.write(content)
                labels += [int(label) for label in batch.labels]
                skipped += batch.skipped
                for remark in batch.remarks:
                    remarks.add(*remark)
                shape = list(batch.frames.shape[1:])
            footer = {
                "made_of": made_of,
                "shape": shape,
                "labels": labels,
                "skipped": skipped,
                "remarks": remarks.sentences(),
            }
            text = json.dumps(footer).encode()
            file.write(text)
            file.write(END.pack(len(text), zlib.crc32(text, checksum), MAGIC))
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def _shown(batches: Iterable[Batch], title: str, total: int) -> Iterator[Batch]:
    """Pass the batches on, with a progress bar on a terminal."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"binning {title}", total=total)
        for batch in batches:
            yield batch
            done = len(batch.labels) + len(batch.skipped) if batch.share is None else batch.share
            bar.advance(task, done)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Wait until no other process builds ``path``. The lock file stays: without it two could enter."""
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
