"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from contextlib import suppress
from typing import IO, TYPE_CHECKING

from snnprune.common.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Error numbers where a disk, a quota or a file is full."""

ASIDE = ".part"
"""Ending of a file that is not whole yet; its name begins with a dot."""


def write(path: Path, fill: Callable[[IO[bytes]], object], before: Path | None = None) -> None:
    """Write a file beside ``path`` with ``fill``, sync it to the disk, then rename it to ``path``.

    A process that is killed leaves the old file or the new one, never a part.

    Args:
        path: the file.
        fill: writes the content into an open file.
        before: the path that the old file is moved to. A process that is killed may leave the old file there
            and nothing at ``path``.

    Raises:
        UserError: the folder cannot be written, or the disk is full.
    """
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}{ASIDE}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("x+b") as file:  # a new file, with the rights that every new file gets here
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        if before is not None and path.exists():
            path.replace(before)
        aside.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        mend = "free some space" if error.errno in FULL else "make the folder writable"
        raise UserError(
            f"cannot write {path}: {error.strerror or error}; {mend} or choose another --out"
        ) from error
    finally:
        with suppress(OSError):  # a folder that cannot be written was said above
            aside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, whole or not at all."""
    write(path, lambda file: file.write(text.encode()))


def sweep(folder: Path) -> None:
    """Remove unfinished files of killed processes in ``folder`` and below. No process may write there."""
    for left in folder.rglob(f".*{ASIDE}"):
        left.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
