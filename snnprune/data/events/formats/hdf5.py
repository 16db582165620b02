"""Events in HDF5: datasets of columns in a group, a compound dataset, or a table, in the layouts in use.

| Layout | Where | Times |
| --- | --- | --- |
| DSEC | group `events` with x, y, t, p; `t_offset` is added | microseconds |
| M3ED | groups `prophesee/left` and `right` with x, y, t, p beside `ms_map_idx` | microseconds |
| Prophesee | compound dataset `CD/events` | microseconds |
| MVSEC | tables `davis/left/events` and `right`, columns x, y, t, p | seconds |
| others | a group, compound dataset or table with the names of `columns`, at any depth | as the user says |

Links are not followed: a file is read from itself alone. Attributes that are texts of variable length are not
read, as HDF5 2.0 does not survive some damaged ones: where only such a one names the sensor, the user has to.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from snnprune.common.errors import UserError, in_one_line
from snnprune.common.extras import need
from snnprune.data.events.formats import heaps
from snnprune.data.events.formats.columns import named, positions, raw
from snnprune.data.events.formats.datasets import read_attributes, read_dataset
from snnprune.data.events.formats.streams import chosen

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import h5py
    import numpy.typing as npt

    from snnprune.data.events.stream import Asked, Raw, Unit

MVSEC = re.compile(r"davis/(left|right)/events")
MARKS = ("t_offset", "ms_to_idx", "ms_map_idx")
"""Datasets beside the events, or beside their group, by which DSEC and M3ED are known."""

SIZES = (("width", "height"), ("sensor_width", "sensor_height"))
PAIRS = ("geometry", "sensor_resolution", "resolution", "sensor_size")
"""Names in use for the sensor's size, as two numbers and as a pair."""


SHOWN = 40
"""Characters of a list that a message repeats."""


@dataclass(frozen=True)
class Place:
    """One stream of events.

    Attributes:
        path: of the group or dataset in the file.
        columns: the dataset of each column, or none for a compound dataset or a table.
        whole: the compound dataset or the table, or none.
    """

    path: str
    columns: dict[str, h5py.Dataset] = field(default_factory=dict)
    whole: h5py.Dataset | None = None


def read(path: Path, asked: Asked) -> Raw:
    """Read an HDF5 file.

    Raises:
        UserError: h5py is not installed.
        ValueError: it is damaged, has no events or several streams, or is compressed in an unknown way.
        OSError: it cannot be read.
    """
    need("events", "an HDF5 file", "h5py")
    import h5py  # noqa: PLC0415 - an extra

    heaps.check(path)
    try:
        with h5py.File(path, "r") as file:
            return _read(file, asked)
    except (ValueError, OSError, UserError):
        raise
    except Exception as error:  # what h5py raises for damage depends on where it is
        raise ValueError(f"it is damaged: {in_one_line(error)}") from error


def _datasets(file: h5py.File) -> tuple[dict[str, h5py.Dataset], list[str]]:
    """Return the datasets of a file by their paths, and the paths of its links."""
    import h5py  # noqa: PLC0415

    datasets: dict[str, h5py.Dataset] = {}
    links: list[str] = []

    def seen(name: str, thing: h5py.Group | h5py.Dataset) -> None:
        if isinstance(thing, h5py.Dataset):
            datasets[name] = thing

    def linked(name: str, link: h5py.HardLink | h5py.SoftLink | h5py.ExternalLink) -> None:
        if not isinstance(link, h5py.HardLink):
            links.append(name)

    file.visititems(seen)
    file.visititems_links(linked)
    return datasets, links


def _places(datasets: dict[str, h5py.Dataset]) -> Iterator[Place]:
    """Yield the streams of events."""
    groups: dict[str, dict[str, h5py.Dataset]] = {}
    for path, dataset in datasets.items():
        group, _, name = path.rpartition("/")
        groups.setdefault(group, {})[name] = dataset
        names = dataset.dtype.names
        is_table = name == "events" and dataset.ndim == 2 and dataset.dtype.kind in "biuf"
        if is_table or (names is not None and named(names) is not None):
            yield Place(path, whole=dataset)
    for group, members in groups.items():
        columns = named(members)
        if columns is not None:
            yield Place(group or "/", {column: members[name] for column, name in columns.items()})


def _nothing(datasets: dict[str, h5py.Dataset], links: list[str]) -> str:
    """Return why there are no events."""
    found = ", ".join(sorted(datasets))[:SHOWN] or "no datasets"
    linked = f"; links are not followed: {', '.join(links)[:SHOWN]}" if links else ""
    return (
        "no group or compound dataset has t, x, y and p, and no table is called events; it has "
        f"{found}{linked}"
    )


def _read(file: h5py.File, asked: Asked) -> Raw:
    """Read the stream of events of a file, or that which is asked for.

    Raises:
        ValueError: there is none, or several; or it cannot be read.
    """
    datasets, links = _datasets(file)
    places = {place.path: place for place in _places(datasets)}
    if not places:
        raise ValueError(_nothing(datasets, links))
    place = places[chosen(sorted(places), asked.stream)]
    room = file.id.get_filesize()
    if place.whole is None:
        found = {column: read_dataset(dataset, room) for column, dataset in place.columns.items()}
    else:
        found = _split(place, read_dataset(place.whole, room, dimensions=(1, 2)), asked)
    group = "" if place.path == "/" else place.path
    around = [group, group.rpartition("/")[0], ""]
    marks = {mark for mark in MARKS for base in around[:2] if f"{base}/{mark}".lstrip("/") in datasets}
    unit: Unit | None = None
    if MVSEC.fullmatch(place.path) and place.whole is not None:
        unit = "s"
    elif marks or place.path == "CD/events":
        unit = "us"
    if "t_offset" in marks:
        found["t"] = _shifted(found["t"], datasets, around)
    return raw(found, unit, _sensor(file, datasets, around, found))


def _split(place: Place, table: npt.NDArray[Any], asked: Asked) -> dict[str, npt.NDArray[Any]]:
    """Return the columns of a compound dataset or of a table.

    Raises:
        ValueError: it is not known what the columns of the table hold.
    """
    if table.dtype.names is not None:
        names = table.dtype.names
        places = positions(len(names), names, asked.columns)
        return {column: table[names[at]] for column, at in places.items()}
    columns = ("x", "y", "t", "p") if MVSEC.fullmatch(place.path) else asked.columns
    places = positions(table.shape[1] if table.ndim == 2 else 1, None, columns)
    return {column: table[:, at] for column, at in places.items()}


def _shifted(
    t: npt.NDArray[Any], datasets: dict[str, h5py.Dataset], around: list[str]
) -> npt.NDArray[np.int64]:
    """Return times with DSEC's offset added.

    Raises:
        ValueError: the times or the offset are not whole numbers of 63 bits.
    """
    path = next(path for base in around if (path := f"{base}/t_offset".lstrip("/")) in datasets)
    offset = datasets[path]
    if offset.shape not in ((), (1,)) or offset.dtype.kind not in "iu" or t.dtype.kind not in "iu":
        raise ValueError(f"its dataset {path} and its times must be whole numbers, the first a single one")
    shift = int(np.ravel(offset[()])[0])
    if not (0 <= shift < 2**62) or (len(t) and not (int(t.min()) >= 0 and int(t.max()) < 2**62)):
        raise ValueError(f"its dataset {path} is {shift}, and no time")
    return t.astype(np.int64) + shift


def _sensor(
    file: h5py.File, datasets: dict[str, h5py.Dataset], around: list[str], found: dict[str, npt.NDArray[Any]]
) -> tuple[int, int] | None:
    """Return the size of the sensor that attributes or datasets around the events say, or None."""
    for base in around:
        attributes = read_attributes(file[base or "/"], (*PAIRS, *itertools.chain(*SIZES)))
        for name in PAIRS:
            for path in (f"{base}/{name}", f"{base}/calib/{name}"):
                dataset = datasets.get(path.lstrip("/"))
                if dataset is not None and dataset.shape == (2,):
                    attributes.setdefault(name, dataset[()])
        for width, height in SIZES:
            if width in attributes and height in attributes:
                return _whole(attributes[width]), _whole(attributes[height])
        for name in PAIRS:
            if name in attributes:
                return _pair(attributes[name], found)
    return None


def _whole(value: Any) -> int:
    """Return an attribute as a whole number.

    Raises:
        ValueError: it is none.
    """
    number = np.ravel(np.asarray(value))
    if number.shape != (1,) or number.dtype.kind not in "iuf" or number[0] != int(number[0]):
        raise ValueError(f"it gives {str(value)[:30]!r} as a size of the sensor")
    return int(number[0])


def _pair(value: Any, found: dict[str, npt.NDArray[Any]]) -> tuple[int, int] | None:
    """Return width and height of a pair.

    In a text such as 640x480 the width comes first. Of two numbers, either does, in files of different tools:
    the order is taken in which all events fit, if they fit in one order only.

    Raises:
        ValueError: it is no pair of numbers.
    """
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    if isinstance(text, str):
        written = re.fullmatch(r"\D*(\d{1,6})\D+(\d{1,6})\D*", text)
        if written is None:
            raise ValueError(f"it gives {text[:30]!r} as the size of the sensor")
        return int(written[1]), int(written[2])
    numbers = np.ravel(np.asarray(value))
    if numbers.shape != (2,):
        raise ValueError(f"it gives {str(value)[:30]!r} as the size of the sensor")
    one, other = (_whole(number) for number in numbers)
    if not len(found["x"]) or found["x"].dtype.kind not in "iuf" or found["y"].dtype.kind not in "iuf":
        return None
    x, y = found["x"].max(), found["y"].max()
    fitting = {(width, height) for width, height in ((one, other), (other, one)) if x < width and y < height}
    return fitting.pop() if len(fitting) == 1 else None
