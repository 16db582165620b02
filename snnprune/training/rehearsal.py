"""The pruner of a run, made before anything is trained or written, so that it can refuse what it is asked."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from snnprune import data
from snnprune.common.errors import UserError
from snnprune.common.seeds import Stream
from snnprune.network.untouched import same_dice
from snnprune.training import assembly

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor, nn

    from snnprune.config.schema import MethodConfig, RunConfig
    from snnprune.training.task import Task


def first_batch(task: Task, splits: data.Splits, config: RunConfig) -> Tensor:
    """Return the first training batch of a run, as the network takes it."""
    return task.encode(next(iter(assembly.loader(splits.train, config)))[0], Stream.TRAIN, 0, 0)


def rehearse(
    task: Task, example: Tensor, method: MethodConfig, epochs: int, held_out: Callable[[nn.Module], float]
) -> None:
    """Make the pruner of a run, and let it go again.

    Args:
        task: with the network, as it is before the first epoch.
        example: a batch that the network takes.
        method: of the run.
        epochs: length of the run.
        held_out: returns the loss of a network on samples that are held out of training.

    Raises:
        UserError: the method cannot prune this network as it is asked to: its target cannot be reached, for
            instance, or the run is too short.
    """
    with same_dice([example.device]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the pruner that trains says it again
        pruner = assembly.pruning(method, example, 0, held_out).restored(task.model, example, epochs)
    task.check(pruner.method, method.name)


def rehearse_all(config: RunConfig, methods: Mapping[str, MethodConfig]) -> None:
    """Rehearse runs that differ in their method alone.

    Args:
        config: what they have in common.
        methods: of the runs, by the name that a message gives them.

    Raises:
        UserError: the data cannot be read, or as `rehearse`, with the name of the run.
    """
    splits = data.read(config.data)
    task = assembly.task(config, splits)
    example = first_batch(task, splits, config)
    held_out = assembly.held_out_loss(task, splits.validation)
    for name, method in methods.items():
        try:
            rehearse(task, example, method, config.train.epochs, held_out)
        except UserError as error:
            raise UserError(f"{name}: {error}") from error
