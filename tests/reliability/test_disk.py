"""A disk that is full, read-only or lost: a sentence, the last good checkpoint, and the same end later."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from snnprune import cli
from snnprune.runs import checkpoint
from snnprune.runs.folder import RunFolder
from snnprune.training import run
from snnprune.training.task import Task
from support.short_run import config, differences, forked, frames_of, go_on, result

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Count, Printed, Whole

TRACE = "Traceback (most recent call last)"


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[None]:
    """Mount a disk of ``size`` bytes in memory at ``folder``, which root may do."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    """Give a disk another size, or make it read-only."""
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def used(folder: Path) -> int:
    """Return the bytes that the files in ``folder`` take, but for a page and its pictures."""
    pages = {"report.html", "curves.png"}
    files = [file for file in folder.rglob("*") if file.is_file() and file.parent.name != "figures"]
    return sum(file.stat().st_size for file in files if file.name not in pages)


def attempt(out: Path, root: Path) -> tuple[int, str]:
    """Train in ``out``, or go on there, in a process of its own; return its exit code and what it said."""

    def trained() -> int:  # as `snnprune train` does, for a configuration that is no file
        cli.COMMANDS["train"] = lambda _: go_on(out, config(root, out.parent / "frames"))
        return cli.main(["train"])

    log = root.parent / f"{out.parent.name}-{out.name}.log"
    return forked(trained, log), log.read_text()


def full(folder: Path, root: Path, whole: Path, share: float) -> tuple[str, list[str]]:
    """Train on a disk that holds ``share`` of what a run needs, then give it room and go on.

    Returns:
        How the first attempt ended, and what is wrong, [] for nothing.
    """
    need = used(whole) + used(frames_of(whole))
    disk = folder / f"disk-{share:.2f}"
    with small_disk(disk, max(4096, int(share * need))):
        code, said = attempt(disk / "run", root)
        wrong = ["a traceback"] if TRACE in said else []
        lines = [line for line in said.splitlines() if line.startswith("snnprune: ")]
        if code not in (0, cli.WRONG_INPUT) or (code and not lines):
            wrong.append(f"ended with {code}")
        ended = lines[-1] if code and lines else "finished"
        kept = RunFolder(disk / "run")
        if kept.has_checkpoint:
            checkpoint.newest(kept.checkpoints)  # raises where none is whole
        remount(disk, f"size={4 * need}")
        code, said = attempt(disk / "run", root)
        if code:
            return ended, [*wrong, f"with room: ended with {code}: {said[-300:]}"]
        return ended, wrong + differences(result(whole), result(disk / "run"))


def read_only(folder: Path, root: Path) -> str:
    """Train on a disk that cannot be written; return what was said."""
    disk = folder / "read-only"
    with small_disk(disk, 2**20):
        remount(disk, "ro")
        code, said = attempt(disk / "run", root)
    if code != cli.WRONG_INPUT or TRACE in said:
        return f"WRONG: ended with {code}: {said[-300:]}"
    return said.splitlines()[-1]


def lost_data(folder: Path, root: Path, whole: Path) -> tuple[str, list[str]]:
    """Take the recordings away from a run that was stopped, and give them back; as `full` returns."""
    out = folder / "lost" / "run"
    stop = forked(lambda: _stopped_after(2, out, root), folder / "stopped.log")
    away = root.with_name("away")
    root.rename(away)
    try:
        code, said = attempt(out, away)
    finally:
        away.rename(root)
    wrong = [] if stop and code == cli.WRONG_INPUT and TRACE not in said else [f"ended with {stop}, {code}"]
    kept = checkpoint.newest(RunFolder(out).checkpoints)[1]["epoch"]
    wrong += [] if kept == 1 else [f"the checkpoint is of epoch {kept}"]
    code, _ = attempt(out, root)
    return said.splitlines()[-1], wrong + (differences(result(whole), result(out)) if not code else ["?"])


def _stopped_after(epochs: int, out: Path, root: Path) -> int:
    step = Task.training_step

    def stopping(self: Task, batch: object, batch_idx: int) -> object:
        if self.current_epoch == epochs:
            raise KeyboardInterrupt
        return step(self, batch, batch_idx)

    Task.training_step = stopping  # type: ignore[method-assign]
    run.train(config(root, out.parent / "frames"), out)
    return 0


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may mount a disk")
def test_a_full_disk_is_a_sentence_and_the_run_goes_on(
    whole_run: Whole, count: Count, printed: Printed, tmp_path: Path
) -> None:
    rows, same = [], "the same result"
    for number in range(count(2)):
        share = 0.02 + 1.1 * number / count(2)
        ended, wrong = full(tmp_path, whole_run.root, whole_run.out, share)
        rows.append((f"full at {share:.0%}", ended, ", ".join(wrong) or same))
    rows.append(("read-only", read_only(tmp_path, whole_run.root), "-"))
    ended, wrong = lost_data(tmp_path, whole_run.root, whole_run.out)
    rows.append(("data lost", ended, ", ".join(wrong) or same))
    hidden = [
        [cell.replace(str(tmp_path), "...").replace(str(whole_run.root.parent), "...") for cell in row]
        for row in rows
    ]
    printed(":disk | :what was said | :once there was room, or the data were back", hidden)
    assert [row for row in rows if "WRONG" in row[1] or row[2] not in ("-", same)] == []
