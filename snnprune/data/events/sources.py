"""Where recordings to look at come from: one file, the folder of a public data set, or one's own folder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from snnprune.common.errors import UserError
from snnprune.config.names import DATASETS
from snnprune.data.events import reading
from snnprune.data.events.framing import asked
from snnprune.data.events.interval import interval
from snnprune.data.events.layouts import PARTS, TABLE, Listing, Recording, natural
from snnprune.data.events.listing import listed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from snnprune.config.schema import DataConfig
    from snnprune.data.events.stream import Stream

    Read = Callable[[Recording], Stream]


@dataclass(frozen=True)
class Found:
    """Recordings, and how they are read.

    Attributes:
        listing: the recordings.
        read: returns the events of one of them, or raises a UserError that names it.
        title: the name of a public data set; "" for others.
    """

    listing: Listing
    read: Read
    title: str = ""


def found(path: Path, config: DataConfig) -> Found:
    """Find the recordings at ``path``, a file or a folder.

    A file is one recording, or a part of SHD or SSC. A folder of files alone is one class. The folder of a
    public data set whose parts bear names of their own is read as that data set is. Every other folder is
    listed as `listed` does.

    Raises:
        UserError: there is nothing at ``path``, or the folder has no recordings in any known layout.
    """
    own = within_intervals(reading.reader(asked(config)))
    if not path.exists():
        raise UserError(f"there is no file or folder {path}: give a recording, or a folder of them")
    try:
        if path.is_file():
            alone = Listing(path.parent, (path.name,), (Recording(path, 0),))
            return _of_many(path) or Found(alone, own)
        return _public(path) or Found(_flat(path) or listed(path, config), own)
    except OSError as error:
        raise UserError(f"the folder {error.filename or path} cannot be read: {error.strerror}") from error


def _public(folder: Path) -> Found | None:
    """Return the recordings of a public data set, where the folder is that of one."""
    if any(path.name.lower() in PARTS for path in folder.iterdir()):
        return None
    for entry in DATASETS.values():
        source = entry.load()
        if hasattr(source, "listing") and source.found(folder) == folder:
            return Found(source.listing(folder), source.reader(), source.title)
    return None


def _of_many(file: Path) -> Found | None:
    """Return the recordings of a file, where a public data set has all of a part in it."""
    public = _public(file.parent)
    own = () if public is None else tuple(r for r in public.listing.recordings if r.path.parent == file)
    return replace(public, listing=replace(public.listing, recordings=own)) if public and own else None


def _flat(folder: Path) -> Listing | None:
    """List the files of a folder without folders as one class."""
    paths = [path for path in folder.iterdir() if not path.name.startswith(".")]
    if not paths or any(path.is_dir() or path.name == TABLE for path in paths):
        return None
    paths.sort(key=lambda path: natural(path.name))
    return Listing(folder, (folder.resolve().name,), tuple(Recording(path, 0) for path in paths))


def within_intervals(read: Read) -> Read:
    """Return ``read``, of whose events those of a labelled interval are left."""

    def of(recording: Recording) -> Stream:
        try:
            return interval(read(recording), recording)[0]
        except ValueError as error:
            raise UserError(f"{recording.path} {error}") from error

    return of
