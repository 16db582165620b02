"""A cell of a bench on stripes: `snnprune.bench.cell`, which may be made to fail or to dawdle.

BENCH_FAIL and BENCH_SLOW name cells: the first ends with an error, the second takes its time over each batch
after the first epoch.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from snnprune.bench import cell
from support import tiny_run


def dawdle() -> None:
    from snnprune.training.task import Task

    step = Task.training_step

    def slow(self: Task, batch: Any, batch_idx: int) -> Any:
        if self.current_epoch > 0:
            time.sleep(0.5)
        return step(self, batch, batch_idx)

    Task.training_step = slow  # type: ignore[method-assign]


def main() -> int:
    name = Path(sys.argv[1]).name
    if name in os.environ.get("BENCH_FAIL", "").split():
        tiny_run.STRIPES.fault = "the recordings are gone"
    if name in os.environ.get("BENCH_SLOW", "").split():
        dawdle()
    return cell.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
