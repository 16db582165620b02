"""Train one network, from the start or from its last checkpoint, to its summary."""

from __future__ import annotations

import logging
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning
import numpy as np
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins.environments import LightningEnvironment

from snnprune import data
from snnprune.common import atomic, ranks
from snnprune.common.console import say
from snnprune.common.errors import CompactionError
from snnprune.common.phases import phase
from snnprune.export import save
from snnprune.export.measure import measure
from snnprune.network import firing
from snnprune.nn import norms
from snnprune.nn.device import device_of, use_threads
from snnprune.nn.run_network import plain
from snnprune.pruning import compact
from snnprune.pruning.oversights import TargetMissedWarning
from snnprune.runs import checkpoint
from snnprune.runs.about import About
from snnprune.runs.predictions import Predictions
from snnprune.runs.summary import summarise
from snnprune.training import assembly, initial
from snnprune.training.callbacks.dynamics import Dynamics
from snnprune.training.callbacks.operations import CountOperations
from snnprune.training.callbacks.record import Record
from snnprune.training.distributed import group
from snnprune.training.example import write_example
from snnprune.training.memory import PeakMemory
from snnprune.training.progress import EpochBar
from snnprune.training.rehearsal import first_batch, rehearse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console
    from torch import Tensor, nn

    from snnprune.config.schema import RunConfig
    from snnprune.data import Splits
    from snnprune.export.measure import Measured
    from snnprune.pruning import Pruner
    from snnprune.runs.epochs import History
    from snnprune.runs.folder import RunFolder
    from snnprune.runs.summary import Summary
    from snnprune.training.task import Task

PRECISIONS: dict[str, Any] = {"float32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
"""Lightning's names of precisions; "mixed" means weights in float32, and layers under autocast."""


def fit(
    config: RunConfig, folder: RunFolder, console: Console, given: Splits | None = None
) -> Summary | None:
    """Train until the last epoch, starting from the folder's checkpoint if there is one. Return the summary.

    With several processes, rank 0 measures and writes; the others return None.

    Args:
        config: of the run.
        folder: of the run.
        console: for messages.
        given: the data, if they were made by hand.

    Raises:
        UserError: the data cannot be read, the loss is not finite, or files cannot be written.
    """
    first = ranks.is_first()
    finished = folder.read_summary() if first else None
    begun = first and finished is None and _begun(folder, console)
    over, begun = map(bool, ranks.from_first([finished is not None, begun]))
    if over:
        say(console, f"{folder.path} is finished: nothing to train")
        return finished
    use_threads(config)
    splits = data.read(config.data, given)
    phase(f"building {config.model.name}: the first forward ever compiles the neurons")
    task = assembly.task(config, splits)
    example = first_batch(task, splits, config)
    held_out = assembly.held_out_loss(task, splits.validation)
    pruning = assembly.pruning(config.method, example, config.train.seed, held_out)
    task.activity = assembly.activity(pruning) if task.spiking else None
    task.masks = lambda: None if pruning.pruner is None else pruning.pruner.masks
    if not begun:
        rehearse(task, example, config.method, config.train.epochs, held_out)
        if config.train.init is not None:
            pruning.inherited = initial.load(task.model, Path(config.train.init))
        _warn_of_firing(task, example, console)
    if ranks.world_size() > 1:
        norms.synchronise(task.model)
    memory = PeakMemory(device_of(config))
    bar = EpochBar(console, config.method.name, config.train.epochs)
    dynamics = Dynamics(pruning, folder.dynamics)
    record = Record(folder, pruning, bar.show)
    count = f"{config.train.epochs} epochs of {len(splits.train):,} samples"
    phase(f"training with {config.method.name}: {count}")
    with _quiet():
        trainer = _trainer(config, folder, [pruning, CountOperations(pruning), dynamics, bar, record])
        trainer.fit(
            task,
            assembly.loader(splits.train, config, shuffled=True, shared=True),
            [assembly.loader(part, config, shared=True) for part in (splits.validation, splits.test)],
            ckpt_path=folder.last if begun else None,
            weights_only=True,
        )
    if not first:
        return None
    norms.separate(task.model)
    pruner = pruning.restored(task.model, example, config.train.epochs)
    peak = memory.megabytes()
    small = _smallest(task.model, pruner, folder, console)
    phase("measuring the trained network and the compact one")
    measured = measure(task.model, small, pruner, splits, config)
    measured.summary["machine"]["peak_memory_mb"] = peak
    measured.summary["targets"] = _targets(pruner)
    predictions = Predictions(np.array(measured.labels), np.array(measured.answers))
    atomic.write_text(folder.predictions, predictions.csv())
    dynamics.write()
    write_example(folder.example, task, splits)
    about = About.of(config, splits, spiking=task.spiking)
    save(plain(small, config), folder.network, about.text())
    return _finish(config, folder, record.history, measured)


def _begun(folder: RunFolder, console: Console) -> bool:
    """Tell whether there is a checkpoint to go on from. Replace a damaged one by the one before.

    Raises:
        UserError: there are checkpoints, and all of them are damaged.
    """
    if not folder.has_checkpoint:
        if folder.metrics.exists():
            say(console, f"warning: {folder.path} has no checkpoint: the run begins anew", style="yellow")
        return False
    whole, saved, wrong = checkpoint.newest(folder.checkpoints)
    for sentence in wrong:
        say(console, f"warning: {sentence}", style="yellow")
    if wrong:
        aside = folder.last.with_suffix(".damaged")
        folder.last.replace(aside)
        say(
            console,
            f"warning: the file is now {aside.name}, and the run goes on from the checkpoint before, after "
            f"epoch {saved['epoch'] + 1}",
            style="yellow",
        )
    if whole != folder.last:
        whole.replace(folder.last)
    return True


def _warn_of_firing(task: Task, example: Tensor, console: Console) -> None:
    for layer in firing.check(task.model, example):
        if layer.state != "ok":
            say(console, f"warning: {layer}", style="yellow")


def _smallest(model: nn.Module, pruner: Pruner, folder: RunFolder, console: Console) -> nn.Module:
    """Return the compact network, or the masked one if compaction could change its outputs."""
    try:
        return compact(model, pruner.masks)
    except CompactionError as error:
        say(
            console,
            f"warning: {error}; {folder.network.name} holds the masked network in full size",
            style="yellow",
        )
        return model


def _targets(pruner: Pruner) -> dict[str, dict[str, float | None]] | None:
    """Return what was asked for and what was pruned, by measure; None where weights are the only measure."""
    aims = {target.measure: target.rate for target in pruner.method.aims}
    if set(aims) <= {"weights"}:
        return None
    last = pruner.history[-1].left if len(pruner.history) else {}
    reached = {name: 1.0 - left for name, left in last.items()} | pruner.reached()
    return {name: {"asked": rate, "pruned": reached.get(name)} for name, rate in aims.items()}


def _finish(config: RunConfig, folder: RunFolder, history: History, measured: Measured) -> Summary:
    # If a run is killed between its last checkpoint and its table, the checkpoint has all rows.
    atomic.write_text(folder.metrics, history.csv())
    summary = summarise(config, history, device_of(config), measured.summary)
    folder.write_summary(summary)
    return summary


def _trainer(config: RunConfig, folder: RunFolder, callbacks: list[lightning.Callback]) -> lightning.Trainer:
    return lightning.Trainer(
        accelerator=device_of(config),
        precision=PRECISIONS[config.train.precision],
        max_epochs=config.train.epochs,
        callbacks=callbacks,
        logger=TensorBoardLogger(folder.path, name="tensorboard", version=""),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=folder.path,
        **_processes(config, checkpoint.AtomicCheckpoints(folder.previous)),
    )


def _processes(config: RunConfig, files: checkpoint.AtomicCheckpoints) -> dict[str, Any]:
    """Return the Trainer's settings of devices and plugins."""
    if ranks.world_size() > 1:
        return group.strategy(config) | {"plugins": [files]}
    # One process on one device, also inside of a cluster job.
    return {"devices": 1, "plugins": [files, LightningEnvironment()]}


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide Lightning's messages on hardware, tips and workers."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\.")
            warnings.filterwarnings("ignore", category=TargetMissedWarning)  # the final table says it
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
