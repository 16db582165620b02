"""For what reasons a test may be skipped: a machine lacks something that `make test` does not install.

Anything else is a mistake that would hide: a dependency that cannot be imported, a folder of data whose name
has a slip in it, a method that refuses each network. A test that is skipped for another reason fails.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

NO_DATA = "needs real data: SNNPRUNE_DATA names no folder"

REASONS = (
    re.escape(NO_DATA),
    r"no [\w-]+ in /.*",  # a folder of real data need not hold all of them
    r"needs Debian's chromium.*",
    r"needs pip install snnprune\[docs\]",
    r"needs (snntorch|norse|sinabs|aedat|neurobench): pip install \1",
    r"needs (timm|pytorch_optimizer|schedulefree|heavyball|bitsandbytes|torchao): pip install \1",
    r"needs (faery|expelliarmus|dv-processing): pip install \1",
    r"there is no GPU here",
    r"only root may mount a disk",
    r"there is no (gcc|clang|arm-none-eabi-gcc|qemu-arm|nm) here",
    r"this system does not fork",
    r"looks at /proc, and asks Linux to end orphans",
    r"the mark of the highest size is Linux's",
    r"elsewhere the count cannot be started anew",
    r"Triton has no wheel for this system",
)
"""All that a machine may lack, as regular expressions."""


def failed_if_unexplained(report: Any) -> Any:
    """Return pytest's report of a test or a file; as a failure where it was skipped for another reason."""
    if report.skipped and not hasattr(report, "wasxfail"):
        wrong = complaint(report.longrepr[2])
        if wrong is not None:
            report.outcome, report.longrepr = "failed", wrong
    return report


def complaint(reason: str) -> str | None:
    """Return what is wrong with skipping a test for ``reason``; None where nothing is."""
    said = reason.removeprefix("Skipped: ")
    if any(re.fullmatch(known, said) for known in REASONS):
        return None
    return f"skipped, and not for what a machine may lack (support/absences.py): {said}"


def real_data() -> Path | None:
    """Return the folder of real data; None where none is named.

    Raises:
        NotADirectoryError: SNNPRUNE_DATA names what is no folder.
    """
    named = os.environ.get("SNNPRUNE_DATA")
    if not named:
        return None
    if not Path(named).is_dir():
        raise NotADirectoryError(f"SNNPRUNE_DATA names {named}, which is no folder")
    return Path(named)
