"""What a configuration is made into before training starts: data, network, loaders, the pruning callback."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader

from snnprune import data
from snnprune.common import ranks
from snnprune.common.errors import UserError
from snnprune.config.check import check_method
from snnprune.config.names import METHODS, build, options_of
from snnprune.export.limits import check_nir
from snnprune.nn import models
from snnprune.training.callbacks.pruning import PruningCallback
from snnprune.training.sampler import EpochSampler, SharedBatches
from snnprune.training.task import Task

if TYPE_CHECKING:
    from torch import Tensor, nn

    from snnprune.config.schema import MethodConfig, RunConfig


def device(config: RunConfig) -> str:
    """Return "cpu" or "cuda": what is asked for, or the GPU where there is one."""
    if config.train.device != "auto":
        return config.train.device
    return "cuda" if torch.cuda.is_available() else "cpu"


def splits(config: RunConfig, given: data.Splits | None = None) -> data.Splits:
    """Read the data, or take those that are ``given``; with the threads that are asked for.

    Raises:
        UserError: as `snnprune.data.load`, or one of the three sets is empty.
    """
    if config.train.threads is not None:
        torch.set_num_threads(config.train.threads)
    read = data.load(config.data) if given is None else given
    for name in ("train", "validation", "test"):
        if len(getattr(read, name)) == 0:
            raise UserError(
                f"the {name} set of '{config.data.name}' is empty, and a run needs all three: look at "
                f"data.validation (it is {config.data.validation}) and at what the data folder holds"
            )
    return read


def task(config: RunConfig, splits: data.Splits) -> Task:
    """Return the network with weights that the seed decides, ready to be trained.

    Raises:
        UserError: ``train.export_check`` names a format that could not hold it.
    """
    torch.manual_seed(config.train.seed)
    model = models.build(config.model, splits.shape, len(splits.classes))
    if config.train.export_check == "nir":
        check_nir(model)
    if config.model.accelerate and model.spiking:
        from snnprune.nn.fused import accelerate  # noqa: PLC0415 - imports SpikingJelly, and ANNs need none

        accelerate(model, channels_last=True)
    if config.train.precision != "float32" and model.spiking:
        from snnprune.nn.fused import keep_precise  # noqa: PLC0415

        keep_precise(model)
    return Task(config, model)


def plain(model: nn.Module, config: RunConfig) -> nn.Module:
    """Return ``model`` with SpikingJelly's own neurons, in place."""
    if config.model.accelerate and getattr(model, "spiking", False):
        from snnprune.nn.fused import restore  # noqa: PLC0415

        restore(model)
    return model


def loader(
    frames: data.FrameSet, config: RunConfig, *, shuffled: bool = False, shared: bool = False
) -> DataLoader[Any]:
    """Return batches of ``frames``, the last one as short as it comes out.

    A sample that would train alone is left out, another one in each epoch: over one sample and one place a
    batch norm has no variance.

    Args:
        frames: the samples.
        config: of the run.
        shuffled: in the order of the epoch, to train on.
        shared: only what this one of several processes has to do: a share of each training batch, or every
            so many of the other batches, whole. No sample is seen by two.
    """
    size = config.train.batch_size
    if shared and ranks.world_size() > 1:
        me, count = ranks.rank(), ranks.world_size()
        starts = range(me * size, len(frames), count * size)
        own: Any = [list(range(start, min(start + size, len(frames)))) for start in starts]
        if shuffled:
            own = SharedBatches(EpochSampler(len(frames), config.train.seed), size, me, count)
        return DataLoader(
            frames, batch_sampler=own, collate_fn=data.as_is, pin_memory=device(config) == "cuda"
        )
    return DataLoader(
        frames,
        batch_size=size,
        drop_last=shuffled and len(frames) > size and len(frames) % size == 1,
        sampler=EpochSampler(len(frames), config.train.seed) if shuffled else None,
        collate_fn=data.as_is,
        pin_memory=device(config) == "cuda",
    )


def pruning(method: MethodConfig, example: Tensor, seed: int) -> PruningCallback:
    """Return the callback of ``method``; target and structured go to the methods that know them.

    The network is not cut for a method that wakes the dead, or has a state that cannot be cut.
    """
    known = options_of(METHODS, "method", method.name)
    check_method(method)
    general = {"target": method.target, "structured": method.structured}
    options = {name: value for name, value in general.items() if name in known} | method.options
    asked = build(METHODS, "method", method.name, options)
    every = method.compact_every if asked.permanent and asked.can_shrink else None
    return PruningCallback(method.name, example_input=example, seed=seed, compact_every=every, **options)
