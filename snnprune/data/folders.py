"""Folders: where data sets are searched, and where cached frames are stored."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from snnprune.common.errors import UserError
from snnprune.data.source import HALVES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from snnprune.data.source import Half, HalfSource

VARIABLE = "SNNPRUNE_DATA"

FETCH = ", or let it be fetched with --data.download true"


def root_given(root: str | Path | None) -> Path | None:
    """Return the folder of data sets: the one given, else the one that SNNPRUNE_DATA names, else None."""
    given = root or os.environ.get(VARIABLE)
    return Path(given).expanduser().absolute() if given else None


def search(root: Path | None, names: Sequence[str], holds: Callable[[Path, Half], bool]) -> Path | None:
    """Find the folder of a data set in ``root``: ``root`` itself, a folder in it, or one a level deeper.

    A folder with both halves of the data set comes before one with the training half, and that before one
    with the test half.

    Args:
        root: the folder to search, or None for no folder.
        names: possible names of the folder, best first.
        holds: tells whether a folder has the layout of a half of the data set.
    """
    if root is None or not root.is_dir():
        return None
    candidates = [root, *(root / name for name in names)]
    candidates += [deep for name in names for deep in sorted(root.glob(f"*/{name}"))]
    sets = [{half for half in HALVES if holds(folder, half)} for folder in candidates]
    best = max(sets, key=lambda halves: (len(halves), "train" in halves))
    return candidates[sets.index(best)] if best else None


def held(source: HalfSource, root: Path | None, halves: Iterable[Half] = HALVES) -> Path:
    """Return the folder in ``root`` that holds some halves of a data set.

    Args:
        source: the data set, with the method ``missing`` of `snnprune.data.source.HalfSource`.
        root: the folder to search, or None for no folder.
        halves: that have to be there. A data set without the method ``absent`` has no halves.

    Raises:
        UserError: the data set or one of these halves is not there.
    """
    folder = source.found(root)
    if folder is None:
        raise source.missing(root)
    for half in halves if hasattr(source, "absent") else ():
        error = source.absent(folder, half)
        if error is not None:
            raise error
    return folder


def missing(title: str, root: Path | None, expected: str, home: str, *, downloads: bool) -> UserError:
    """Return the error for a data set that is not on disk. It says where to put it and where to get it."""
    ask = FETCH if downloads else ""
    if root is None:
        return UserError(
            f"{title} needs a folder: pass --data.root FOLDER or set {VARIABLE}, so that FOLDER/{expected} "
            f"is there; get it from {home}{ask}"
        )
    absent = "is not there" if root.is_dir() else f"there is no folder {root}"
    named = f" ({VARIABLE} names {root})" if root == root_given(None) else ""
    return UserError(
        f"{title} is expected in {root / expected}{named}, and {absent}: get it from {home}{ask}"
    )


def incomplete(title: str, what: str, expected: Path, home: str, *, downloads: bool) -> UserError:
    """Return the error for a data set of which a half is on disk, and the half that is needed is not.

    Args:
        title: of the data set.
        what: is missing, such as "test recordings".
        expected: where it is expected.
        home: where to get the data set.
        downloads: whether it can be fetched.
    """
    ask = FETCH if downloads else ""
    return UserError(
        f"{title}: expected the {what} in {expected}, which is not there: get it from {home}{ask}"
    )


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
