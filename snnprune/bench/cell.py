"""One run of a bench, as a process of its own: `python -m snnprune.bench.cell FOLDER [PID]`.

A crash, a kill or a leak then costs one cell. The process ends with the one that started it, so that a bench
killed for good leaves nobody who trains on and holds folders.
"""

from __future__ import annotations

import sys
from pathlib import Path

from snnprune.common.child import ORPHANED, WRONG_INPUT, be_interruptible, end_with
from snnprune.common.errors import UserError


def main(arguments: list[str]) -> int:
    """Bring the run in folder ``arguments[0]`` to its end.

    Returns:
        The exit code: 0, 2 with one sentence on stderr for input that cannot be used, 3 where the process
        ``arguments[1]``, which started this one, is gone.
    """
    if len(arguments) > 1 and not end_with(int(arguments[1])):
        return ORPHANED
    be_interruptible()
    from snnprune.training import run  # noqa: PLC0415 - the parent may be gone by the time this is read

    try:
        # A page takes four seconds, and nobody opens dozens: `snnprune report CELL` draws the one that is.
        run.resume(Path(arguments[0]), page=False)
    except UserError as error:
        sys.stderr.write(f"snnprune: {error}\n")
        return WRONG_INPUT
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
