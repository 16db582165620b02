"""Make the objects of a run from its configuration: task, loaders and the pruning callback."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch.utils.data import DataLoader

from snnprune import data
from snnprune.common import ranks
from snnprune.common.errors import UserError
from snnprune.common.seeds import Stream
from snnprune.config.changes import Changes
from snnprune.config.check import check_method, options_of_run
from snnprune.config.names import METHODS, build
from snnprune.export.limits import check_nir
from snnprune.network.activity import SynapticActivity
from snnprune.nn.device import device_of
from snnprune.nn.plasticity import LocalNetwork
from snnprune.nn.run_network import build_network
from snnprune.training.callbacks.pruning import PruningCallback
from snnprune.training.local import LocalTask
from snnprune.training.sampler import EpochSampler, SharedBatches
from snnprune.training.task import Task

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from snnprune.config.schema import MethodConfig, RunConfig

HELD_OUT = 500
"""Samples of the validation set, about, on which the loss of a layer alone is looked at."""


def task(config: RunConfig, splits: data.Splits) -> Task:
    """Return the network with weights drawn from the seed, ready to be trained.

    Raises:
        UserError: ``train.export_check`` names a format that cannot hold the network, or as `LocalTask`.
    """
    model = build_network(config, splits.shape, len(splits.classes))
    if config.train.export_check == "nir":
        check_nir(model)
    return LocalTask(config, model) if isinstance(model, LocalNetwork) else Task(config, model)


def loader(
    frames: data.FrameSet, config: RunConfig, *, shuffled: bool = False, shared: bool = False
) -> DataLoader[Any]:
    """Return batches of ``frames``; the last batch may be shorter.

    If the last training batch would have a single sample, it is left out; it is another sample in each epoch.
    A batch norm has no variance over one sample and one place.

    Args:
        frames: the samples.
        config: of the run.
        shuffled: in the order of the epoch, for training, and with the changes of ``data.augment``, which are
            made to recordings only.
        shared: only the part of this process, if there are several: a share of each training batch, or
            whole batches in turn for validation and test. No sample is given to two processes.
    """
    size = config.train.batch_size
    samples = _augmented(frames, config) if shuffled else frames
    order = EpochSampler(len(frames), config.train.seed, with_epoch=samples is not frames)
    if shared and ranks.world_size() > 1:
        rank, world_size = ranks.rank(), ranks.world_size()
        starts = range(rank * size, len(frames), world_size * size)
        own: Any = [list(range(start, min(start + size, len(frames)))) for start in starts]
        if shuffled:
            own = SharedBatches(order, size, rank, world_size)
        return DataLoader(
            samples, batch_sampler=own, collate_fn=data.as_is, pin_memory=device_of(config) == "cuda"
        )
    return DataLoader(
        samples,
        batch_size=size,
        drop_last=shuffled and len(frames) > size and len(frames) % size == 1,
        sampler=order if shuffled else None,
        collate_fn=data.as_is,
        pin_memory=device_of(config) == "cuda",
    )


def _augmented(frames: data.FrameSet, config: RunConfig) -> data.FrameSet | data.AugmentedSet:
    if config.data.augment is None or len(frames.shape) != 4:
        return frames
    return data.AugmentedSet(frames, Changes.of(config.data.augment), config.train.seed)


def held_out_loss(task: Task, frames: data.FrameSet) -> Callable[[nn.Module], float]:
    """Return what returns the loss of a network on the first samples of ``frames``, about `HELD_OUT`.

    Args:
        task: of the run.
        frames: samples that are held out of training, as the validation set is.
    """

    def loss(model: nn.Module) -> float:
        total, seen = 0.0, 0
        for place, (shown, labels) in enumerate(loader(frames, task.run_config)):
            if seen >= HELD_OUT:
                break
            encoded = task.encode(shown.to(task.device), Stream.VALIDATION, place)
            own = task.loss(task.scores(model, encoded), labels.to(task.device))
            total, seen = total + len(labels) * float(own), seen + len(labels)
        if not seen:
            raise UserError(
                "scope sensitivity needs a validation set, and it is empty: raise data.validation"
            )
        return total / seen

    return loss


def activity(pruning: PruningCallback) -> Callable[[], SynapticActivity]:
    """Return what returns the synaptic activity of the network that is pruned, by its present masks."""
    known: list[tuple[object, SynapticActivity]] = []

    def current() -> SynapticActivity:
        pruner = pruning.pruner
        assert pruner is not None
        version = pruner.masks.factors()  # another one after each change
        if not known or known[0][0] is not version:
            known[:] = [(version, SynapticActivity(pruner.model, pruner.topology, pruner.masks.alive))]
        return known[0][1]

    return current


def pruning(
    method: MethodConfig, example: Tensor, seed: int, held_out: Callable[[nn.Module], float] | None = None
) -> PruningCallback:
    """Return the callback of ``method``. Methods with options ``target`` and ``structured`` get these.

    It logs nothing, because the record of a run does. ``compact_every`` does not apply to a method that may
    wake dead units or has a state that cannot be cut.
    """
    check_method(method)
    options = options_of_run(method)
    asked = build(METHODS, "method", method.name, options)
    every = method.compact_every if asked.units_stay_dead and asked.can_shrink else None
    return PruningCallback(
        method.name,
        example_input=example,
        seed=seed,
        compact_every=every,
        log=False,
        held_out_loss=held_out,
        **options,
    )
