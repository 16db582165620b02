"""Folders: where data sets are searched, and where cached frames are stored."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from snnprune.common.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

VARIABLE = "SNNPRUNE_DATA"


def root_given(root: str | Path | None) -> Path | None:
    """Return the folder of data sets: the one given, else the one that SNNPRUNE_DATA names, else None."""
    given = root or os.environ.get(VARIABLE)
    return Path(given).expanduser().absolute() if given else None


def search(root: Path | None, names: Sequence[str], holds: Callable[[Path], bool]) -> Path | None:
    """Find the folder of a data set in ``root``: ``root`` itself, a folder in it, or one a level deeper.

    Args:
        root: the folder to search, or None for no folder.
        names: possible names of the folder, best first.
        holds: tells whether a folder has the data set's layout.
    """
    if root is None or not root.is_dir():
        return None
    candidates = [root, *(root / name for name in names)]
    candidates += [deep for name in names for deep in sorted(root.glob(f"*/{name}"))]
    return next((folder for folder in candidates if holds(folder)), None)


def missing(title: str, root: Path | None, expected: str, home: str, *, downloads: bool) -> UserError:
    """Return the error for a data set that is not on disk. It says where to put it and where to get it."""
    ask = ", or let it be fetched with --data.download true" if downloads else ""
    if root is None:
        return UserError(
            f"{title} needs a folder: pass --data.root FOLDER or set {VARIABLE}, so that FOLDER/{expected} "
            f"is there; get it from {home}{ask}"
        )
    absent = "is not there" if root.is_dir() else f"there is no folder {root}"
    return UserError(f"{title} is expected in {root / expected}, and {absent}: get it from {home}{ask}")


def cache_folder(cache: str | None) -> Path:
    """Return the folder for cached frames. Create it if it does not exist.

    Raises:
        UserError: it cannot be written.
    """
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(cache).expanduser() if cache else Path(base) / "snnprune"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error
    if not os.access(folder, os.W_OK):
        raise _unwritable(folder, PermissionError("permission denied"))
    return folder


def _unwritable(folder: Path, error: OSError) -> UserError:
    reason = error.strerror or str(error)
    return UserError(
        f"frames are cached in {folder}, which cannot be written ({reason}): pass --data.cache FOLDER"
    )
