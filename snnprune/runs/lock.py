"""One process at a time in a folder."""

from __future__ import annotations

import errno
import fcntl
import os
from typing import TYPE_CHECKING

from snnprune.common.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import IO, Self

LOCK = ".lock"
"""Name of the file that is locked."""


class FolderLock:
    """A context that locks a folder against other processes.

    Args:
        path: the folder; it is made on entry if it is not there.
        what: what the folder holds, such as "run".

    Raises:
        UserError: on entry, when the folder cannot be written or another process holds it.
    """

    def __init__(self, path: Path, what: str) -> None:
        self.path, self.what = path, what
        self._lock: IO[str] | None = None

    def __enter__(self) -> Self:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            # Do not follow a link: its target would be emptied.
            descriptor = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
            lock = os.fdopen(descriptor, "r+")
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            lock.close()
            raise UserError(
                f"the {self.what} folder {self.path} is in use by another process ({holder}): wait for it, "
                "or choose another with --out"
            ) from error
        lock.truncate(0)
        lock.write(f"pid {os.getpid()}")
        lock.flush()
        self._lock = lock
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # The file stays: removing it would let two processes lock two files of the same name.
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def look_where(self) -> None:
        """Check that the folder can be written, without writing.

        Raises:
            UserError: it cannot.
        """
        there = self.path.absolute()
        try:
            while not there.exists():
                there = there.parent
            if not there.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            if not os.access(there, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> UserError:
        return UserError(
            f"cannot write in the {self.what} folder {self.path}: {error.strerror}; choose another with --out"
        )
