"""What lies between two batches, also where no hook of a callback is called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from snnprune.network import hooks
from snnprune.network.axes import tensors_in

if TYPE_CHECKING:
    from collections.abc import Callable

    import lightning
    from torch import nn
    from torch.utils.hooks import RemovableHandle


class BetweenBatches:
    """Calls a function between two batches, as seen from the network, where Lightning calls no callback.

    Lightning's tuner takes all callbacks out of the Trainer while it tries learning rates or batch sizes. A
    batch is over once a backward has come through the network, or the loops have counted on.

    Args:
        network: the network.
        trainer: the Trainer.
        callback: nothing is done while the Trainer has it.
        between: the function.
    """

    def __init__(
        self,
        network: nn.Module,
        trainer: lightning.Trainer,
        callback: lightning.Callback,
        between: Callable[[], None],
    ) -> None:
        self._trainer, self._callback, self._between = trainer, callback, between
        self._backwards = 0
        self._last: tuple[int, ...] | None = None

        def enter(module: nn.Module, _args: Any) -> None:
            if module is network and (self._last is not None or self._is_left_out()):
                self._look()

        def leave(module: nn.Module, _args: Any, output: Any) -> None:
            if module is network and self._is_left_out():
                for tensor in tensors_in(output):
                    if tensor.requires_grad:
                        tensor.register_hook(self._note_backward)

        self._handles: list[RemovableHandle] = [
            hooks.before(network, torch.compiler.disable(enter)),
            hooks.after(network, torch.compiler.disable(leave)),
        ]

    def remove(self) -> None:
        """Remove the hooks from the network."""
        for handle in self._handles:
            handle.remove()

    def _is_left_out(self) -> bool:
        return not any(callback is self._callback for callback in self._trainer.callbacks)  # type: ignore[attr-defined]

    def _note_backward(self, _gradient: Tensor) -> None:
        self._backwards += 1

    def _look(self) -> None:
        loop = self._trainer.fit_loop.epoch_loop
        counts = (loop.batch_progress.total.ready, loop.val_loop.batch_progress.total.ready)
        now = (*counts, self._backwards) if self._is_left_out() else None
        if now != self._last:  # also at the first batch after which the callback is back
            self._between()
        self._last = now
