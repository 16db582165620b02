"""Events in numpy's files: structured arrays, tables with a row for each event, or an array for each column.

https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html. Objects are never loaded.
"""

from __future__ import annotations

import zipfile
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from snnprune.common.errors import in_one_line
from snnprune.data.events.formats.columns import named, positions, raw
from snnprune.data.events.formats.streams import chosen

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from snnprune.data.events.stream import Asked, Raw

DESCRIPTIONS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
"""Readers of an array's description by the version of the format."""


def npy(path: Path, asked: Asked) -> Raw:
    """Read a .npy file.

    Raises:
        ValueError: it is damaged, holds objects, or is no table of events.
        OSError: it cannot be read.
    """
    # As a memory map: a header may claim far more than the file holds, and a map allocates nothing for it.
    try:
        table = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError:
        raise
    except Exception as error:  # numpy reads a header as Python, and fails as tokenisers and parsers do
        if "Python objects" in str(error):
            raise ValueError("it holds Python objects, which are never loaded: write numbers") from error
        raise ValueError(f"it is cut short or damaged: {in_one_line(error)}") from error
    if not isinstance(table, np.ndarray):
        raise ValueError("it is an archive of arrays: its name must end in .npz")  # noqa: TRY004 - of a file
    return from_table(np.asarray(table), asked)


def npz(path: Path, asked: Asked) -> Raw:
    """Read a .npz file: one array a column, or one array of all; of several such arrays one is asked for.

    Raises:
        ValueError: it is damaged, holds objects or no events, or several arrays could be the events.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                return _from_archive(archive, asked)
        except ValueError:
            raise
        except Exception as error:  # damage shows as an error of zipfile, zlib, struct, a parser or a seek
            raise ValueError(f"it cannot be unpacked: {in_one_line(error)}") from error


def _from_archive(archive: zipfile.ZipFile, asked: Asked) -> Raw:
    """Return the columns of an archive's arrays.

    Raises:
        ValueError: it holds no events, or several arrays could be the events.
    """
    members = {name.removesuffix(".npy"): name for name in archive.namelist() if name.endswith(".npy")}
    columns = named(members)
    if columns is not None and asked.stream is None:
        return raw({column: _column(_member(archive, members[name])) for column, name in columns.items()})
    tables = [name for name in members if _holds_events(archive, members[name])]
    if not tables:
        raise ValueError(f"it has no events: its arrays are {', '.join(members)[:80] or 'none'}")
    return from_table(_member(archive, members[chosen(tables, asked.stream)]), asked)


def from_table(table: npt.NDArray[Any], asked: Asked) -> Raw:
    """Return the columns of a structured array, or of a table with a row for each event.

    Raises:
        ValueError: it is neither, or it is not known what its columns hold.
    """
    names = table.dtype.names
    if names is not None:
        if table.ndim != 1:
            raise ValueError(
                f"its structured array has the shape {list(table.shape)}, expected one dimension"
            )
        places = positions(len(names), names, asked.columns)
        return raw({column: _column(table[names[place]]) for column, place in places.items()})
    if table.ndim != 2 or table.dtype.kind not in "biuf":
        raise ValueError(
            f"it is an array of {table.dtype} of the shape {list(table.shape)}, expected a structured array "
            "or a table of numbers with a row for each event"
        )
    many, wide = table.shape
    if many == 4 < wide and len(asked.columns or ()) != wide:
        raise ValueError(f"its table of {many} x {wide} has a column for each event: transpose it")
    places = positions(wide, None, asked.columns)
    return raw({column: _column(table[:, place]) for column, place in places.items()})


def _column(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a column in the machine's order of bytes, and a view of it where it has that.

    Raises:
        ValueError: it does not have one number for each event.
    """
    if values.ndim != 1:
        raise ValueError(f"a column has the shape {list(values.shape)}, expected one number for each event")
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _description(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return the shape, the order and the type of the array that follows in a stream."""
    version = np.lib.format.read_magic(stream)
    reader = DESCRIPTIONS.get(version)
    if reader is None:
        raise ValueError(f"an array is of version {version} of the format, expected 1.0 or 2.0")
    shape, fortran, dtype = reader(stream)
    return shape, fortran, dtype


def _holds_events(archive: zipfile.ZipFile, member: str) -> bool:
    """Return whether an array may be a table of events."""
    with archive.open(member) as stream:
        shape, _, dtype = _description(stream)
    return (dtype.names is not None and len(shape) == 1) or (len(shape) == 2 and dtype.kind in "biuf")


def _member(archive: zipfile.ZipFile, member: str) -> npt.NDArray[Any]:
    """Unpack an array.

    What its header claims is never allocated: what is there is unpacked, and then compared.

    Raises:
        ValueError: it holds objects, or not what its header claims.
    """
    with archive.open(member) as stream:
        shape, fortran, dtype = _description(stream)
        if dtype.hasobject:
            raise ValueError(f"its array {member} holds Python objects, which are never loaded")
        size = int(np.prod(shape, dtype=object)) * dtype.itemsize
        content = stream.read(size) if size else b""
        if len(content) != size:
            raise ValueError(f"its array {member} has {len(content)} bytes, and its header says {size}")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")
