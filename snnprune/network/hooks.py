"""Hooks on a user's network that stay where they are: its copies and files are without them.

Python asks `copyreg.dispatch_table` how objects of a class are copied and pickled, whichever library does it.
A class that has hooks of this file is entered there, once: what is written is what the class itself would
write, less these hooks. So a file of a network that is watched needs no snnprune to be read.
"""

from __future__ import annotations

import copyreg
import sys
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from snnprune.common.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn
    from torch.utils.hooks import RemovableHandle

_KEPT_IN = (
    "_forward_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called", "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
)  # fmt: skip
"""Attributes of a module that hold its hooks, or facts about them, by number."""


class _HasNoNameError(UserError, AttributeError):
    """Says what to do to those who need a name, and that there is none to those who would like one."""


class Hook(partial[Any]):
    """A hook that is not copied: ``Hook(call)`` does what ``call`` does.

    Attributes:
        only_reads: it is a pre-hook that layers fused with others may call by themselves.
        counts: what layers of neurons fused with others call in place of the hook.
        series: what fused neurons that are wired to themselves call with all time steps, in place of the hook
            at every step: ``series(module, activity)``, [T, B, ...].
    """

    only_reads: bool
    counts: Callable[..., None]
    series: Callable[..., None]

    @property
    def __name__(self) -> str:
        """A name is what `torch.jit.script` asks a hook for first."""
        raise _HasNoNameError(
            "torch.jit.script cannot take hooks, and this network is watched: script copy.deepcopy(model), "
            "which has none, or close the pruner or counter first"
        )

    # Where a class has a way of its own to be copied, a copy gets a hook of Python's own, which does nothing.

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return nullcontext().__exit__

    def __reduce__(self) -> Any:
        return getattr, (nullcontext(), "__exit__")


def before(module: nn.Module, hook: Callable[..., Any], *, with_kwargs: bool = False) -> RemovableHandle:
    """Call ``hook(module, args)``, or ``hook(module, args, kwargs)``, before each forward of ``module``."""
    _leave_out(type(module))
    return module.register_forward_pre_hook(_own(hook), with_kwargs=with_kwargs)


def after(module: nn.Module, hook: Callable[..., Any], *, always: bool = False) -> RemovableHandle:
    """Call ``hook(module, args, output)`` after each forward; ``always`` also after one that has failed."""
    _leave_out(type(module))
    return module.register_forward_hook(_own(hook), always_call=always)


def _own(hook: Callable[..., Any]) -> Hook:
    if isinstance(hook, Hook):
        return hook
    # `torch.compile` would complain of what hooks do; where it is not in use, it takes a second to import.
    return Hook(torch.compiler.disable(hook) if "torch._dynamo" in sys.modules else hook)


def _leave_out(kind: type[nn.Module]) -> None:
    if kind not in copyreg.dispatch_table:  # a way that the user has entered is the user's
        copyreg.pickle(kind, _without_hooks)


def _without_hooks(module: nn.Module) -> Any:
    """Return how to make ``module`` again, as its class says, less the hooks of this file."""
    made = module.__reduce_ex__(2)
    ours = {
        number
        for held in (module._forward_hooks, module._forward_pre_hooks)
        for number, hook in held.items()
        if isinstance(hook, Hook)
    }
    if not ours or len(made) < 3 or not isinstance(made[2], dict):
        return made
    state = dict(made[2])
    for name in _KEPT_IN:
        if name in state:
            state[name] = type(state[name])((k, v) for k, v in state[name].items() if k not in ours)
    return (*made[:2], state, *made[3:])
