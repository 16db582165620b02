"""One of several processes of the run that takes a second; one may kill itself, or fail, in mid-epoch."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from snnprune.common.errors import UserError
from support import tiny_run

PROGRAM = (sys.executable, str(Path(__file__)))


def main() -> int:
    """Take part in a run on the data that tests have; TINY_DEATH says what is to go wrong (`prepare`)."""
    prepare(os.environ.get("TINY_DEATH", ""))
    from snnprune.training.distributed import member

    return member.main(sys.argv[1:])


def prepare(death: str) -> None:
    """Let a process end in the middle of an epoch: "kill" or "fail", and the numbers of all three."""
    if death:
        how, number, epoch, batch = death.split()
        if os.environ["RANK"] == number:
            {"kill": tiny_run.kill_in, "fail": fail_in}[how](int(epoch), int(batch))


def fail_in(epoch: int, batch: int) -> None:
    """Let this process end with a sentence in the middle of an epoch."""
    from snnprune.training.task import Task

    step = Task.training_step

    def failing(self: Task, given: Any, batch_idx: int) -> Any:
        if (self.current_epoch, batch_idx) == (epoch, batch):
            raise UserError("this process has had enough")
        return step(self, given, batch_idx)

    Task.training_step = failing  # type: ignore[method-assign]


if __name__ == "__main__":
    sys.exit(main())
