"""A dataset of an HDF5 file, read without trusting what it claims."""

from __future__ import annotations

import math
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import h5py
    import numpy.typing as npt

RATIO = 1100
"""Bytes of a dataset for each byte of its file at most: gzip packs zeros 1,032 times."""

MOST_VALUES = 4
"""Numbers of an attribute at most."""

ECF = 0x8ECF
"""Prophesee's own filter."""


def read_dataset(dataset: h5py.Dataset, room: int, dimensions: tuple[int, ...] = (1,)) -> npt.NDArray[Any]:
    """Read a dataset.

    Args:
        dataset: the dataset.
        room: bytes of the file.
        dimensions: numbers of dimensions that it may have.

    Raises:
        ValueError: it has other dimensions, lies in another file, claims more than its file can hold, holds
            no numbers, or is compressed in an unknown way.
    """
    name = dataset.name[:60]
    if dataset.shape is None or dataset.ndim not in dimensions:
        shape = "none" if dataset.shape is None else list(dataset.shape)
        raise ValueError(
            f"the dataset {name} of its events has the shape {shape}, expected one value an event"
        )
    if dataset.is_virtual or dataset.external:
        raise ValueError(f"its dataset {name} lies in other files, which are not read")
    if dataset.dtype.hasobject:
        raise ValueError(f"its dataset {name} holds {dataset.dtype}, expected numbers")
    if dataset.nbytes > RATIO * room:
        raise ValueError(f"its dataset {name} claims {dataset.nbytes} bytes, more than its file can hold")
    _need_filters(dataset)
    values: npt.NDArray[Any] = dataset[()]
    return values


def read_attributes(thing: h5py.Group | h5py.Dataset, names: tuple[str, ...]) -> dict[str, Any]:
    """Return those attributes of a group or dataset that are a few numbers, or texts of fixed length.

    Others are left out: HDF5 2.0 does not come back from some damaged texts of variable length, or ends the
    process.
    """
    found = {}
    for name in names:
        if name in thing.attrs:
            attribute = thing.attrs.get_id(name)
            if attribute.dtype.kind in "iufS" and math.prod(attribute.shape) <= MOST_VALUES:
                found[name] = thing.attrs[name]
    return found


def _need_filters(dataset: h5py.Dataset) -> None:
    """Check that a dataset can be unpacked.

    Raises:
        ValueError: the filter is not installed.
    """
    import h5py  # noqa: PLC0415 - an extra

    properties = dataset.id.get_create_plist()
    for index in range(properties.get_nfilters()):
        code, _, _, name = properties.get_filter(index)
        if not h5py.h5z.filter_avail(code) and find_spec("hdf5plugin"):
            import hdf5plugin  # noqa: F401, PLC0415 - the import registers filters such as Blosc, of DSEC
        if not h5py.h5z.filter_avail(code):
            if code == ECF:
                raise ValueError(
                    "it is compressed by Prophesee's ECF, which is not installed: install the plugin of "
                    "github.com/prophesee-ai/hdf5_ecf, or convert the file with Metavision's tools"
                )
            called = name.decode("latin-1")[:40] or "without a name"
            raise ValueError(
                f"its dataset {dataset.name[:40]} is compressed by the filter {code} ({called}), which is "
                "not installed: pip install 'snnprune[events]' has the usual ones"
            )
