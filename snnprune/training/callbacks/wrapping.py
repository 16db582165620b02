"""Remove the wrapper for distributed training (DDP) while the network is cut."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lightning.pytorch.strategies import DDPStrategy
from torch.nn.parallel import DistributedDataParallel

if TYPE_CHECKING:
    from collections.abc import Iterator

    import lightning


def can_unwrap(trainer: lightning.Trainer) -> bool:
    """Tell whether each process of ``trainer`` holds the whole network, in a wrapper that can be removed."""
    return isinstance(trainer.strategy, DDPStrategy)


@contextmanager
def unwrapped(trainer: lightning.Trainer) -> Iterator[None]:
    """Remove the wrapper, and put on a new one at the end, with gradient buckets of the new size.

    Use it between two batches, in all processes. A single process has no wrapper.
    """
    strategy = trainer.strategy
    wrapper = strategy.model
    if not (isinstance(strategy, DDPStrategy) and isinstance(wrapper, DistributedDataParallel)):
        yield
        return
    strategy.model = wrapper.module
    del wrapper
    gc.collect()  # the wrapper is in reference cycles and holds old tensors until collected
    try:
        yield
    finally:
        strategy.configure_ddp()
