"""One process of a run on this machine: `python -m snnprune.training.distributed.member FOLDER PID FILE`.

It ends when the process that started it ends.
"""

from __future__ import annotations

import sys
from pathlib import Path

from snnprune.common.child import LOST, ORPHANED, WRONG_INPUT, be_interruptible, end_with
from snnprune.common.errors import UserError


def main(arguments: list[str]) -> int:
    """Take part in the run in folder ``arguments[0]``.

    Returns:
        The exit code: 0; 2 for input that cannot be used, with one sentence in the file ``arguments[2]``; 3
        if the process ``arguments[1]``, which started this one, has ended; 4 if another process of the run
        has.
    """
    if not end_with(int(arguments[1])):
        return ORPHANED
    be_interruptible()
    from snnprune.training import run  # noqa: PLC0415 - the parent may be gone by the time this is read
    from snnprune.training.distributed.group import LostProcessError  # noqa: PLC0415

    try:
        run.resume(Path(arguments[0]))
    except LostProcessError:
        return LOST  # the process that started this one reports what happened to the other
    except UserError as error:
        Path(arguments[2]).write_text(str(error), encoding="utf-8")
        return WRONG_INPUT
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
