"""The bytes of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt


def content(path: Path) -> npt.NDArray[np.uint8]:
    """Map the bytes of a file into memory, to be read only.

    Raises:
        OSError: the file is not there, or may not be read.
        ValueError: it is no regular file, or is empty.
    """
    size = path.stat().st_size
    if not path.is_file():
        raise ValueError("it is not a regular file")
    if not size:
        raise ValueError("it is empty")
    return np.asarray(np.memmap(path, np.uint8, "r"))
