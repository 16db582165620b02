"""Recordings of ASL-DVS: MATLAB files of columns ts, x, y and pol, of a DAVIS240C.

The files count y from the bottom (Tonic and SpikingJelly both turn it), and it is turned here. x is left as
it is, as Tonic does; SpikingJelly mirrors it. Which of the two shows a right hand has not been seen.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from snnprune.common.errors import in_one_line
from snnprune.data.events.formats.columns import raw

if TYPE_CHECKING:
    from pathlib import Path

    from snnprune.data.events.stream import Asked, Raw

COLUMNS = {"t": "ts", "x": "x", "y": "y", "p": "pol"}
HEIGHT = 180


def read(path: Path, asked: Asked) -> Raw:  # noqa: ARG001 - the format says everything
    """Read a recording.

    Raises:
        ValueError: it is no MATLAB file, or lacks a column.
        OSError: it cannot be read.
    """
    from scipy.io import loadmat  # noqa: PLC0415 - slow to import

    try:
        found: dict[str, Any] = loadmat(path, variable_names=list(COLUMNS.values()))
    except OSError:
        raise
    except Exception as error:  # damage shows as an error of zlib, struct or of any index
        raise ValueError(f"it is no MATLAB file that scipy can read: {in_one_line(error)}") from error
    columns = {}
    for name, own in COLUMNS.items():
        if own not in found:
            raise ValueError(f"it has no variable {own}")
        columns[name] = np.ravel(found[own])
        if columns[name].dtype.kind not in "biuf":
            raise ValueError(f"its variable {own} is no array of numbers")
    events = raw(columns, "us")
    return replace(events, y=HEIGHT - 1 - events.y.astype(np.float64))
