"""One run of a bench, as a process of its own: `python -m snnprune.bench.cell FOLDER [PID]`.

A crash, a kill or a memory leak then costs one cell. The process ends with the one that started it, so that a
bench that is killed leaves no process that trains on and locks folders.
"""

from __future__ import annotations

import sys
from pathlib import Path

from snnprune.common.child import ORPHANED, WRONG_INPUT, be_interruptible, end_with
from snnprune.common.errors import UserError


def main(arguments: list[str]) -> int:
    """Bring the run in folder ``arguments[0]`` to its end.

    Returns:
        The exit code: 0; 2 for input that cannot be used, with one sentence on stderr; 3 if the process
        ``arguments[1]``, which started this one, is gone.
    """
    if len(arguments) > 1 and not end_with(int(arguments[1])):
        return ORPHANED
    be_interruptible()
    from snnprune.training import run  # noqa: PLC0415 - slow, so the parent is looked for first

    try:
        # A page takes four seconds, and most are never opened: `snnprune report CELL` writes one on demand.
        run.resume(Path(arguments[0]), page=False)
    except UserError as error:
        sys.stderr.write(f"snnprune: {error}\n")
        return WRONG_INPUT
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
