"""A disk that is full, read-only or lost: a sentence, the last good checkpoint, and the same end later."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kills import config, differences, forked, result

from snnprune import cli
from snnprune.common.errors import UserError
from snnprune.runs import checkpoint
from snnprune.runs.folder import RunFolder
from snnprune.training import run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TRACE = "Traceback (most recent call last)"


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[None]:
    """Mount a disk of ``size`` bytes in memory at ``folder``, which root may do.

    Raises:
        UserError: it cannot be mounted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        raise UserError("no disk could be mounted (mount -t tmpfs): run this as root")
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

    def command(given: list[str]) -> int:  # what `snnprune train` does, for a configuration that is no file
        del given
        run.resume(out) if (out / "config.yaml").exists() else run.train(
            config(root, out.parent / "frames"), out
        )
        return 0

    def trained() -> int:
        run._picture = run._page = lambda *_: None  # type: ignore[assignment]
        cli.COMMANDS["train"] = command
        return cli.main(["train"])

    log = root.parent / f"{out.parent.name}-{out.name}.log"
    return forked(trained, log), log.read_text()


def full(folder: Path, root: Path, whole: Path, share: float) -> tuple[str, list[str]]:
    """Train on a disk that holds ``share`` of what a run needs, then give it room and go on.

    Returns:
        How the first attempt ended, and what is wrong, [] for nothing.
    """
    need = used(whole) + used(whole.with_name(f"{whole.name}-frames"))
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
        return ended, wrong + differences(result(whole), result(disk / "run"), page=False)


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
    return said.splitlines()[-1], wrong + (
        differences(result(whole), result(out), page=False) if not code else ["?"]
    )


def _stopped_after(epochs: int, out: Path, root: Path) -> int:
    from snnprune.training.task import Task

    step = Task.training_step

    def stopping(self: Task, batch: object, batch_idx: int) -> object:
        if self.current_epoch == epochs:
            raise KeyboardInterrupt
        return step(self, batch, batch_idx)

    Task.training_step = stopping  # type: ignore[method-assign]
    run.train(config(root, out.parent / "frames"), out)
    return 0
