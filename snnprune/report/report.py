"""The page of a folder, whatever it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snnprune.errors import UserError
from snnprune.report import run_page

if TYPE_CHECKING:
    from pathlib import Path


def report(path: Path) -> Path:
    """Write ``report.html`` and ``figures/`` into the folder of a finished run, and return the page's path.

    Raises:
        UserError: the folder is no run, is not finished, has a damaged file, or cannot be written.
    """
    if not path.is_dir():
        raise UserError(f"there is no folder {path}: give the folder of a run, as `snnprune train` makes it")
    return run_page.write_report(path)
