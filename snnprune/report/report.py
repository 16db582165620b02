"""The page of a run or a bench."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snnprune.common.errors import UserError
from snnprune.report import bench_page, run_page
from snnprune.report.bench_files import is_bench

if TYPE_CHECKING:
    from pathlib import Path

    from snnprune.report.page import Written


def report(path: Path) -> Written:
    """Write ``report.html`` and ``figures/`` into the folder of a run or of a bench.

    Raises:
        UserError: the folder is neither of them, is not finished, has a damaged file, or cannot be written.
    """
    if not path.is_dir():
        raise UserError(f"there is no folder {path}: give one that `snnprune train` or `snnprune bench` made")
    if is_bench(path):
        return bench_page.write_report(path)
    return run_page.write_report(path)
