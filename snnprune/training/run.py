"""A run from its configuration to its files: train, resume, evaluate.

Lightning trains; what is here decides what goes into the Trainer and into the run's folder.
"""

from __future__ import annotations

import csv
import inspect
import logging
import signal
import warnings
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import lightning
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins.environments import LightningEnvironment
from rich.console import Console
from torch.utils.data import DataLoader

from snnprune import data, models
from snnprune.config import MethodConfig
from snnprune.errors import UserError
from snnprune.models import firing
from snnprune.registry import METHODS, pick
from snnprune.training import atomic, checkpoint
from snnprune.training.callback import PruningCallback
from snnprune.training.check import check
from snnprune.training.checkpoint import AtomicCheckpoints
from snnprune.training.folder import RunFolder
from snnprune.training.progress import EpochBar
from snnprune.training.record import History, Record
from snnprune.training.seeds import EpochSampler, Stream
from snnprune.training.summary import summarise
from snnprune.training.table import comparison
from snnprune.training.task import Task

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torch import Tensor

    from snnprune.config import RunConfig

Summary = dict[str, Any]
DENSE = "dense"
INTERRUPTED = 130  # what a shell reports of a program that Ctrl-C ended


def train(config: RunConfig, out: Path) -> Summary:
    """Train a run in folder ``out`` and return its summary.

    A finished run of the same configuration is shown again, an unfinished one continued.

    Raises:
        UserError: a setting out of range, a folder that cannot be used, data not found, or a loss that is
            not finite.
    """
    check(config)
    with RunFolder(out) as folder:
        folder.claim(config)
        return _complete(config, folder)


def resume(run: Path) -> Summary:
    """Continue a killed run from the start of the epoch it was killed in, and return its summary.

    Raises:
        UserError: as `train`, or ``run`` is not the folder of a run.
    """
    folder = RunFolder(run)
    config = folder.read_config()
    check(config)
    with folder:
        return _complete(config, folder)


def evaluate(run: Path) -> dict[str, Any]:
    """Measure the saved network of a run on its test set.

    Raises:
        UserError: ``run`` is not the folder of a run, or has no checkpoint yet.
    """
    folder = RunFolder(run)
    config = folder.read_config()
    check(config)
    if not folder.last.is_file():
        raise UserError(f"{run} has no checkpoint yet: finish an epoch with `snnprune train --resume {run}`")
    saved = checkpoint.load(folder.last)
    splits = _splits(config)
    task = _task(config, splits)
    try:
        task.load_state_dict(saved["state_dict"])
    except (KeyError, RuntimeError) as error:
        raise UserError(
            f"the checkpoint {folder.last} is not one of the network in {folder.config}: it was changed since"
        ) from error
    device = torch.device(_device(config))
    task.to(device).eval()
    task.on_test_epoch_start()
    with torch.inference_mode():
        for number, (frames, labels) in enumerate(_loader(splits.test, config)):
            task.test_step((frames.to(device), labels.to(device)), number)
    task.on_test_epoch_end()
    result = {
        "run": str(run),
        "dataset": config.data.name,
        "split": "test",
        "samples": len(splits.test),
        "epoch": int(saved["epoch"]) + 1,
        "accuracy": task.measured["test_accuracy"],
        "loss": task.measured["test_loss"],
    }
    Console().print(
        f"{run}, after epoch {result['epoch']}: test accuracy {result['accuracy']:.2%} on "
        f"{result['samples']} samples of {result['dataset']}, loss {result['loss']:.4f}",
        highlight=False,
        soft_wrap=True,
    )
    return result


def _complete(config: RunConfig, folder: RunFolder) -> Summary:
    """Bring the run and its dense twin to their end, whatever of them is there already."""
    console = Console()
    try:
        summary = _fit(config, folder, console)
        shown, twin = [summary], None
        if config.train.twin and config.method.name != DENSE:
            alone = replace(config.train, twin=False)
            dense = replace(config, method=MethodConfig(name=DENSE, target=None), train=alone)
            with RunFolder(folder.twin) as twin:
                twin.claim(dense)
                shown.insert(0, _fit(dense, twin, console))
    except SystemExit as stop:  # Lightning's answer to Ctrl-C, after which the signal would stay ignored
        signal.signal(signal.SIGINT, signal.default_int_handler)
        console.print(
            f"stopped; `snnprune train --resume {folder.path}` goes on", highlight=False, soft_wrap=True
        )
        raise SystemExit(INTERRUPTED) from stop
    _picture(folder, twin, summary)
    console.print(comparison(shown))
    _say_where(folder, twin, console)
    return summary


def _fit(config: RunConfig, folder: RunFolder, console: Console) -> Summary:
    finished = folder.read_summary()
    if finished is not None:
        console.print(f"{folder.path} is finished: nothing to train", highlight=False, soft_wrap=True)
        return finished
    splits = _splits(config)
    task = _task(config, splits)
    frames, _ = splits.train.__getitems__(list(range(min(config.train.batch_size, len(splits.train)))))
    example = task.encode(frames, Stream.TRAIN, 0, 0)
    begun = folder.last.is_file()
    if not begun:
        for layer in firing.check(task.model, example):
            if layer.state != "ok":
                console.print(f"[yellow]warning:[/] {layer}", highlight=False, soft_wrap=True)
    pruning = _pruning(config.method, example, config.train.seed)
    bar = EpochBar(console, config.method.name, config.train.epochs)
    record = Record(folder, pruning, bar.show)
    with _quiet():
        trainer = _trainer(config, folder, [pruning, bar, record])
        trainer.fit(
            task,
            _loader(splits.train, config, shuffled=True),
            [_loader(splits.validation, config), _loader(splits.test, config)],
            ckpt_path=folder.last if begun else None,
            weights_only=True,
        )
    return _finish(config, folder, record.history, _device(config))


def _finish(config: RunConfig, folder: RunFolder, history: History, device: str) -> Summary:
    # A run killed between its last checkpoint and its table has all it needs in the checkpoint.
    atomic.write_text(folder.metrics, history.csv())
    summary = summarise(config, history, device)
    folder.write_summary(summary)
    return summary


def _splits(config: RunConfig) -> data.Splits:
    if config.train.threads is not None:
        torch.set_num_threads(config.train.threads)
    splits = data.load(config.data)
    for name in ("train", "validation", "test"):
        if len(getattr(splits, name)) == 0:
            raise UserError(
                f"the {name} set of '{config.data.name}' is empty, and a run needs all three: look at "
                f"data.validation (it is {config.data.validation}) and at what the data folder holds"
            )
    return splits


def _task(config: RunConfig, splits: data.Splits) -> Task:
    torch.manual_seed(config.train.seed)
    return Task(config, models.build(config.model, splits.shape, len(splits.classes)))


def _loader(frames: data.FrameSet, config: RunConfig, *, shuffled: bool = False) -> DataLoader[Any]:
    return DataLoader(
        frames,
        batch_size=config.train.batch_size,
        sampler=EpochSampler(len(frames), config.train.seed) if shuffled else None,
        collate_fn=data.as_is,
        pin_memory=_device(config) == "cuda",
    )


def _device(config: RunConfig) -> str:
    if config.train.device != "auto":
        return config.train.device
    return "cuda" if torch.cuda.is_available() else "cpu"


def _pruning(method: MethodConfig, example: Tensor, seed: int) -> PruningCallback:
    known = inspect.signature(pick(METHODS, "method", method.name).load()).parameters
    general = {"target": method.target, "structured": method.structured}
    options = {name: value for name, value in general.items() if name in known} | method.options
    return PruningCallback(method.name, example_input=example, seed=seed, **options)


def _trainer(config: RunConfig, folder: RunFolder, callbacks: list[lightning.Callback]) -> lightning.Trainer:
    return lightning.Trainer(
        accelerator=_device(config),
        devices=1,
        max_epochs=config.train.epochs,
        callbacks=callbacks,
        logger=TensorBoardLogger(folder.path, name="tensorboard", version=""),
        # One process on one device, whatever cluster this is started in.
        plugins=[AtomicCheckpoints(), LightningEnvironment()],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=folder.path,
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's notes on hardware, tips and workers from a person who did not ask for Lightning."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\.")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _picture(folder: RunFolder, twin: RunFolder | None, summary: Summary) -> None:
    if folder.curves.exists():
        return
    from snnprune.report import curves  # noqa: PLC0415 - matplotlib, at the end of a run only

    curves.draw(
        folder.curves,
        _read_rows(folder),
        method=summary["method"],
        dense=None if twin is None else _read_rows(twin),
        title=f"{summary['model']} on {summary['dataset']}",
    )


def _read_rows(folder: RunFolder) -> list[dict[str, float]]:
    with folder.metrics.open(encoding="utf-8", newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def _say_where(folder: RunFolder, twin: RunFolder | None, console: Console) -> None:
    lines = [f"files in {folder.path}:"]
    lines += [
        f"  {path.relative_to(folder.path)}  {what}"
        for path, what in (
            (folder.summary, "the numbers"),
            (folder.metrics, "a row an epoch"),
            (folder.curves, "the picture"),
            (folder.last, "the network and all that resuming needs"),
            (folder.config, "the configuration, resolved"),
        )
    ]
    if twin is not None:
        lines.append(f"  {twin.path.relative_to(folder.path)}/  the dense twin, a run of its own")
    console.print("\n".join(lines), highlight=False, soft_wrap=True)
