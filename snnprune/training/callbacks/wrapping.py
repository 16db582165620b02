"""The wrapper that lets several processes train one network, off while the network is cut."""

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
    """Tell whether the processes of ``trainer`` each hold the whole network, in a wrapper that comes off."""
    return isinstance(trainer.strategy, DDPStrategy)


@contextmanager
def unwrapped(trainer: lightning.Trainer) -> Iterator[None]:
    """Take the wrapper off, and put a new one on at the end, with buckets of gradients as large as need be.

    Between two batches, in all processes. Without several processes there is no wrapper.
    """
    strategy = trainer.strategy
    wrapper = strategy.model
    if not (isinstance(strategy, DDPStrategy) and isinstance(wrapper, DistributedDataParallel)):
        yield
        return
    strategy.model = wrapper.module
    del wrapper
    gc.collect()  # it is in reference cycles, and its buckets hold the old tensors until it is gone
    try:
        yield
    finally:
        strategy.configure_ddp()
