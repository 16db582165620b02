"""A file of events, of any format that is known, becomes a stream behind the gate."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from snnprune.common.errors import UserError, in_one_line
from snnprune.data.events.gate import admitted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from snnprune.data.events.layouts import Recording
    from snnprune.data.events.stream import Asked, Raw, Stream


@dataclass(frozen=True)
class Format:
    """A format of event files.

    Attributes:
        title: its name in messages.
        suffixes: endings of its files, in small letters.
        place: "module:function" of its reader, below `snnprune.data.events.formats`. It is called with the
            path and what the user says of the file, and returns `Raw`. It raises ValueError (whose message is
            the end of a sentence that begins with the file) or OSError for a file that cannot be read.
    """

    title: str
    suffixes: tuple[str, ...]
    place: str

    def read(self, path: Path, asked: Asked) -> Raw:
        """Return the columns of a file."""
        module, _, name = self.place.partition(":")
        raw: Raw = getattr(importlib.import_module(f"{__package__}.formats.{module}"), name)(path, asked)
        return raw


FORMATS: tuple[Format, ...] = (
    Format("AEDAT4", (".aedat4",), "aedat4:read"),
    Format("AEDAT", (".aedat",), "aedat:read"),
    Format("Event Stream", (".es",), "event_stream:read"),
    Format("HDF5", (".h5", ".hdf5"), "hdf5:read"),
    Format("numpy", (".npy",), "arrays:npy"),
    Format("numpy", (".npz",), "arrays:npz"),
    Format("text", (".csv", ".txt", ".tsv"), "text:read"),
    Format("Prophesee RAW", (".raw",), "evt:read"),
    Format("Prophesee DAT", (".dat",), "dat:read"),
    Format("ATIS", (".bin",), "atis:read"),
)
"""Every format that is read. A new one is a reader in `formats`, and a line here."""


def format_of(path: Path) -> Format | None:
    """Return the format that the ending of a file's name stands for, or None."""
    ending = path.suffix.lower()
    return next((known for known in FORMATS if ending in known.suffixes), None)


def reader(asked: Asked, form: Format | None = None) -> Callable[[Recording], Stream]:
    """Return a function that reads the file of a recording, as `read` does.

    Of a file of which an interval is asked for, the events are kept until another file is: a table names the
    intervals of a long recording one behind the other.
    """
    last: dict[Path, Stream] = {}

    def of(recording: Recording) -> Stream:
        if recording.path in last:
            return last[recording.path]
        last.clear()
        stream = read(recording.path, asked, form)
        if recording.start is not None or recording.end is not None:
            last[recording.path] = stream
        return stream

    return of


def read(path: Path, asked: Asked, form: Format | None = None) -> Stream:
    """Read the events of a file.

    Args:
        path: a file of one of `FORMATS`.
        asked: what the user says of files that do not say it themselves.
        form: its format, where the ending does not tell.

    Raises:
        UserError: the format is not known, or the file is damaged or does not pass the gate. The message
            names the file, what is wrong and what to do.
    """
    known = form or format_of(path)
    if known is None:
        endings = ", ".join(sorted(suffix for form in FORMATS for suffix in form.suffixes))
        raise UserError(f"{path} is in no format that is read: the ending must be one of {endings}")
    if path.exists() and not path.is_file():
        raise UserError(f"{path} must be a file of events, and is a folder, a pipe or a device: remove it")
    try:
        return admitted(known.read(path, asked), asked)
    except (ValueError, OSError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else in_one_line(error)
        raise UserError(f"{path} is not a usable {known.title} recording: {why}") from error
