"""Which calls of a network's layers are training, whichever way the network was called."""

from __future__ import annotations

import copy
import sys
from typing import TYPE_CHECKING, Any
from weakref import WeakMethod

import torch

from snnprune.network.hooks import Hook, before
from snnprune.network.untouched import is_looked_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FrameType

    from torch import nn

is_exporting: Callable[[], bool] = getattr(torch.compiler, "is_exporting", lambda: False)  # from torch 2.7 on


def is_training(model: nn.Module) -> bool:
    """Tell whether a layer of ``model`` that is called now belongs to a forward that is trained on.

    That is so in training mode and with gradients. A recomputation during a backward (checkpointing) is not a
    forward of its own. The forward that it repeats may have run without gradients, inside an autograd
    function (reentrant checkpointing). A network that is traced, exported or mapped over samples one by one
    (``torch.vmap``) is shown no batch.
    """
    if not model.training or torch._C._current_graph_task_id() != -1:
        return False
    if torch._C._is_tracing() or is_exporting() or _is_mapped():
        return False
    return torch.is_grad_enabled() or _is_inside_a_function()


def _is_mapped() -> bool:
    transforms = torch._C._functorch.get_interpreter_stack()
    return any(t.key() == torch._C._functorch.TransformType.Vmap for t in transforms or ())


def _is_inside_a_function() -> bool:
    """Tell whether an autograd function that will get a gradient is computing its forward."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if code.co_name == "forward" and code.co_argcount:
            context = frame.f_locals.get(code.co_varnames[0])
            if isinstance(context, torch.autograd.function.FunctionCtx):
                return bool(context.next_functions)  # type: ignore[attr-defined]
        frame = frame.f_back
    return False


def uncompiled(hook: Callable[..., Any]) -> Any:
    """Return ``hook`` for `torch.compile` to call as it is: what a hook notes is no part of a graph."""
    return torch.compiler.disable(hook)


class ForwardWatch:
    """Hooks that note whether the network was trained on since they were last asked.

    Args:
        model: the network.
        layers: names of its layers that are watched.
        begin: a method that is called at the first layer that is trained on; its object is not kept alive.
        first: a method that is called once, at the first layer that is called at all.

    Attributes:
        seen: whether one was; whoever asks sets it back.
    """

    def __init__(
        self, model: nn.Module, layers: Iterable[str], begin: Callable[[], None], first: Callable[[], None]
    ) -> None:
        self.model, self.layers = model, list(layers)
        self.seen = False
        self.call(begin, first)
        self._hook()

    def call(self, begin: Callable[[], None], first: Callable[[], None]) -> None:
        """Have these called from now on; a copy of a watch calls nothing until it is told what."""
        self._begin: WeakMethod[Callable[[], None]] | None = WeakMethod(begin)
        self._first: WeakMethod[Callable[[], None]] | None = WeakMethod(first)

    def _hook(self) -> None:
        def hook(module: nn.Module, _args: Any) -> None:
            if self._first is not None and id(module) in mine and not is_looked_at():
                first, self._first = self._first(), None
                if first is not None:
                    first()
            if not self.seen and id(module) in mine and is_training(self.model):
                self.seen = True
                begin = self._begin() if self._begin is not None else None
                if begin is not None:
                    begin()

        reader = Hook(uncompiled(hook))
        reader.only_reads = True
        reader.series = reader
        modules = [self.model.get_submodule(name) for name in self.layers]
        mine = {id(module) for module in modules}  # and no replica, which shares the hooks
        self._handles = [before(module, reader) for module in modules]

    def __deepcopy__(self, memo: dict[int, Any]) -> ForwardWatch:
        """Return the same for a copy of the model."""
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        twin.model, twin._begin, twin._first = copy.deepcopy(self.model, memo), None, None
        twin.layers, twin.seen = list(self.layers), self.seen
        twin._handles = []
        if self._handles:
            twin._hook()
        return twin

    def close(self) -> None:
        """Remove every hook."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
