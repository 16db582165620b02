"""A run from its configuration to its files: train and resume.

`fit` trains one network. This module adds the run folder, the dense twin, and messages to the user.
"""

from __future__ import annotations

import errno
import signal
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from snnprune import data
from snnprune.common import atomic, ranks
from snnprune.common.console import say
from snnprune.common.errors import MemoryFullError, UserError, in_one_line, memory_full
from snnprune.common.phases import phase, told
from snnprune.config.check import check, check_names
from snnprune.config.schema import UNDIVIDED, MethodConfig
from snnprune.runs import checkpoint
from snnprune.runs.folder import RunFolder
from snnprune.training.distributed import group
from snnprune.training.distributed.launch import launch
from snnprune.training.fit import fit
from snnprune.training.table import comparison, shortfall

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike

    from snnprune.config.schema import RunConfig
    from snnprune.data import Splits
    from snnprune.runs.summary import Summary

DENSE = "dense"
NO_PLACE = {
    *atomic.FULL,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
    errno.ENOENT,
    errno.ESTALE,
}
"""Error numbers of a full disk, or of a disk or folder that is gone or not writable."""
INTERRUPTED = 130  # the exit code of a program that Ctrl-C ended


def train(
    config: RunConfig, out: str | PathLike[str], *, splits: Splits | None = None, page: bool = True
) -> Summary | None:
    """Train a run in folder ``out`` and return its summary.

    A finished run of the same configuration is shown again. An unfinished one is continued. With several
    processes, rank 0 returns the summary and the others None.

    Args:
        config: of the run.
        out: its folder.
        splits: the data, if they were made by hand; ``config.data`` then says how they are encoded. To
            resume or evaluate such a run, pass them again.
        page: whether to draw the pictures and write the page at the end. A run that starts its processes by
            itself always does.

    Raises:
        UserError: a setting out of range, a folder that cannot be used, data not found, or a loss that is
            not finite.

    Examples:
        >>> import numpy as np
        >>> import snnprune
        >>> images = np.random.default_rng(0).integers(0, 256, (30, 1, 8, 8), dtype=np.uint8)
        >>> samples = snnprune.data.FrameSet(images, np.arange(30) % 3)
        >>> splits = snnprune.Splits(samples, samples, samples, ("a", "b", "c"), (1, 8, 8), events=False)
        >>> config = snnprune.RunConfig(
        ...     model=snnprune.ModelConfig("mlp-ann", hidden=20),
        ...     method=snnprune.MethodConfig("magnitude", target=0.5),
        ...     train=snnprune.TrainConfig(epochs=3, twin=False, device="cpu"),
        ... )
        >>> summary = snnprune.train(config, "runs/by-hand", splits=splits)
        [...]
        >>> round(summary["pruning_rate"], 2)
        0.5
    """
    _look(config, splits)
    config, run = config.located(), Path(out)
    with _forsaken_if_refused(RunFolder(run)):
        if group.is_launcher(config):
            _refuse_to_share(splits)
            with RunFolder(run) as folder:
                folder.claim(config)
            return _launch(config, run)
        with group.joined(config, run):
            return _train(config, run, splits, page=page)


@contextmanager
def _forsaken_if_refused(folder: RunFolder) -> Iterator[None]:
    """Leave no folder behind of a run that is refused before it has trained or measured anything."""
    fresh = not folder.path.exists()
    try:
        yield
    except UserError:
        if fresh:
            folder.forsake()
        raise


def _look(config: RunConfig, splits: Splits | None) -> None:
    """Check a configuration, and that its data are there, before anything is written."""
    check(config, data=splits is None)
    check_names(config, data=splits is None)
    if splits is None:
        data.look(config.data)


def _train(config: RunConfig, out: Path, splits: Splits | None, *, page: bool) -> Summary | None:
    """Train in this process of the run. Rank 0 holds the folder."""
    with _held(RunFolder(out), config) as folder:
        return _complete(config, folder, splits, page=page)


def _refuse_to_share(splits: Splits | None) -> None:
    if splits is not None:
        raise UserError(
            "splits that were made by hand do not reach the processes that train.devices asks for: give the "
            "data a name, data.name mypackage.module:Mine, or train with train.devices 1"
        )


def _launch(config: RunConfig, out: Path) -> Summary | None:
    launch(out, config.train.devices)
    return RunFolder(out).read_summary()


@contextmanager
def _held(folder: RunFolder, config: RunConfig) -> Iterator[RunFolder]:
    """Hold the folder of a run of ``config``. Rank 0 holds it for all processes."""
    if not ranks.is_first():
        yield folder
        return
    with folder:
        folder.claim(config)
        yield folder


def resume(run: str | PathLike[str], *, splits: Splits | None = None, page: bool = True) -> Summary | None:
    """Continue a run from the start of the epoch in which it was killed or stopped, and return its summary.

    Args:
        run: its folder.
        splits: the data, if they were made by hand.
        page: whether to draw the pictures and write the page at the end.

    Raises:
        UserError: as `train`, or ``run`` is not the folder of a run.

    Examples:
        >>> import snnprune
        >>> snnprune.resume("runs/none")
        Traceback (most recent call last):
            ...
        snnprune.common.errors.UserError: [...]
    """
    path = Path(run)
    config = RunFolder(path).read_config()
    _look(config, splits)
    if group.is_launcher(config):
        _refuse_to_share(splits)
        return _launch(config, path)
    with group.joined(config, path):
        return _train(config, path, splits, page=page)


def _complete(
    config: RunConfig, folder: RunFolder, splits: Splits | None = None, *, page: bool = True
) -> Summary | None:
    """Complete the run and its dense twin, from whatever state they are in."""
    console = Console(quiet=not ranks.is_first())
    with told(lambda what: say(console, what, style="dim")):
        return _brought_to_its_end(config, folder, console, splits, page=page)


def _brought_to_its_end(
    config: RunConfig, folder: RunFolder, console: Console, splits: Splits | None, *, page: bool
) -> Summary | None:
    twin: RunFolder | None = None
    try:
        summary = fit(config, folder, console, splits)
        shown = [summary]
        if config.train.twin and config.method.name != DENSE:
            alone = replace(config.train, twin=False)
            unpruned = MethodConfig(DENSE, target=None, structured=UNDIVIDED)
            dense = replace(config, method=unpruned, train=alone)
            with _held(RunFolder(folder.twin), dense) as twin:
                shown.insert(0, fit(dense, twin, console, splits))
    except SystemExit as stop:  # Lightning raises it for Ctrl-C, and leaves the signal ignored
        signal.signal(signal.SIGINT, signal.default_int_handler)
        say(console, _stopped(folder, twin))
        raise SystemExit(INTERRUPTED) from stop
    except (MemoryError, RuntimeError, OSError) as error:
        reason = memory_full(error)
        if reason is not None:
            raise MemoryFullError(_too_large(reason, config, folder, twin)) from error
        if not isinstance(error, OSError) or error.errno not in NO_PLACE:
            raise
        raise UserError(
            f"the run in {folder.path} cannot go on ({error.strerror}): {_saved(folder, twin)}; free some "
            f"space or restore the folder, then go on with `snnprune train --resume {folder.path}`"
        ) from error
    if summary is None:  # in the other processes of a run
        return None
    if page:
        _show(folder, console)
    console.print(comparison([each for each in shown if each is not None]))
    missed = shortfall(summary)
    if missed is not None:
        say(console, f"warning: {missed}", style="yellow")
    _say_where(folder, twin, console)
    return summary


def _stopped(folder: RunFolder, twin: RunFolder | None) -> str:
    return f"stopped: {_saved(folder, twin)}; `snnprune train --resume {folder.path}` goes on from there"


def _too_large(reason: str, config: RunConfig, folder: RunFolder, twin: RunFolder | None) -> str:
    """Return a sentence for full memory: what to lower, and how to go on with the run."""
    batch, steps = config.train.batch_size, config.data.time_steps
    lower = f"lower --train.batch_size ({batch}) or --data.time_steps ({steps})"
    if config.train.precision == "float32":
        lower += ", or take --train.precision bf16"
    inner = folder if twin is None else twin
    if twin is None and not inner.has_checkpoint:
        return f"the memory is full ({reason}): {lower}"
    return (
        f"the memory is full ({reason}): {lower}, in a new folder with --out; or free some memory, since "
        f"{_saved(folder, twin)}, and `snnprune train --resume {folder.path}` goes on from there"
    )


def _saved(folder: RunFolder, twin: RunFolder | None) -> str:
    """Return a clause on how much of a run is saved."""
    inner = folder if twin is None else twin
    name = "the run" if twin is None else "the pruned network is finished, and its dense twin"
    if not inner.has_checkpoint:
        return f"{name} has no finished epoch yet"
    _, saved, _ = checkpoint.newest(inner.checkpoints)
    return f"{name} is saved up to the end of epoch {saved['epoch'] + 1}"


def _show(folder: RunFolder, console: Console) -> None:
    """Write the page of a run and its first picture. Print a warning if that fails."""
    from snnprune.report.report import report  # noqa: PLC0415 - matplotlib, at the end of a run only

    phase("drawing the pictures and the page")
    accuracy = folder.path / "figures" / "accuracy.png"
    try:
        if not folder.report.exists():
            for sentence in report(folder.path).failures:
                say(console, f"warning: {sentence}", style="yellow")
        if accuracy.exists() and not folder.curves.exists():
            atomic.write(folder.curves, lambda file: file.write(accuracy.read_bytes()))
    except MemoryError:
        raise
    except Exception as error:  # a failure of the page must not fail the run
        reason = (
            str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {in_one_line(error)}"
        )
        say(console, f"warning: no {folder.report.name} was written: {reason}", style="yellow")


def _say_where(folder: RunFolder, twin: RunFolder | None, console: Console) -> None:
    lines = [f"files in {folder.path}:"]
    lines += [
        f"  {path.relative_to(folder.path)}  {what}"
        for path, what in (
            (folder.summary, "the numbers"),
            (folder.metrics, "one row per epoch"),
            (folder.report, "the page for a browser: numbers and pictures; figures/ has them for a paper"),
            (folder.curves, "accuracy and share pruned, as a picture"),
            (folder.network, "the compact network, with model.json; snnprune.load reads both"),
            (folder.last, "the network as it was trained, and all that resuming needs"),
            (folder.config, "the configuration, resolved"),
        )
        if path.exists()
    ]
    if twin is not None:
        lines.append(f"  {twin.path.relative_to(folder.path)}/  the dense twin, a run of its own")
    say(console, "\n".join(lines))
