"""Copy a network, so that the copy shares nothing with it."""

from __future__ import annotations

import copy
import inspect
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from snnprune.common.errors import UserError, first_line, memory_full
from snnprune.network.axes import tensors_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import nn

    Network = TypeVar("Network", bound=nn.Module)


class UncopiedError(UserError):
    """A module cannot be copied.

    Attributes:
        fault: class of the module, and why.
    """

    fault = ""


def duplicate(model: Network) -> Network:
    """Return a copy of ``model`` without the hooks of a pruner; ``model`` does not change.

    ``copy.deepcopy`` fails on tensors with a graph (a neuron's state after a batch), so only their values are
    copied.

    Raises:
        UncopiedError: a module cannot be copied.
    """
    memo: dict[int, Any] = {}
    for module in model.modules():
        for tensor in tensors_in(vars(module)):
            if tensor.grad_fn is not None:
                memo[id(tensor)] = tensor.detach().clone()
    try:
        twin = copy.deepcopy(model, memo)
    except Exception as error:
        if memory_full(error) is not None:
            raise
        raise _not_copied(model) from error
    for module in twin.modules():
        for hooks in (module._forward_pre_hooks, module._forward_hooks):
            for key in [k for k, hook in hooks.items() if _is_ours(hook)]:
                del hooks[key]
    return twin


def _not_copied(model: nn.Module) -> UncopiedError:
    """Return an error that says which module of ``model`` cannot be copied, and what to do without a copy."""
    name, kind, reason = "", type(model).__name__, ""
    for inner, module in model.named_modules():
        try:
            copy.deepcopy(module)
        except Exception as error:  # the innermost one that fails comes last
            name, kind, reason = inner, type(module).__name__, first_line(error)
    fault = f"cannot be copied by copy.deepcopy ({reason})"
    said = UncopiedError(
        f"{name or 'the network'} ({kind}) {fault}: mend its class, or cut the network itself, with "
        "Pruner.compact() or compact(..., inplace=True)"
    )
    said.fault = f"{kind} {fault}"
    return said


_RESETS = ("reset_mem", "reset_states")
"""How neurons of other libraries are put at rest: snntorch's, and sinabs's."""


def reset_states(model: nn.Module) -> None:
    """Put the neurons of ``model`` at rest: those of SpikingJelly, and modules with a reset of their own."""
    for module in model.modules():
        if isinstance(getattr(module, "_memories", None), dict):
            module.reset()  # type: ignore[operator]
        else:
            for reset in resets_of(module):
                reset()


def resets_of(module: nn.Module) -> Iterator[Callable[[], Any]]:
    """Yield the methods of a module of another library that put it at rest and need no argument."""
    for name in _RESETS:
        reset = getattr(module, name, None)
        if callable(reset):
            with suppress(TypeError, ValueError):  # it wants arguments, or has no signature
                inspect.signature(reset).bind()
                yield reset


def states_in(model: nn.Module) -> Iterator[dict[str, Any]]:
    """Yield the mappings, by name, that hold the neuron states which `reset_states` puts at rest."""
    for module in model.modules():
        if isinstance(getattr(module, "_memories", None), dict):
            yield module._memories  # type: ignore[misc]
        elif any(resets_of(module)):
            yield from (vars(module), module._buffers)


def _is_ours(hook: Any) -> bool:
    return str(getattr(hook, "__module__", "")).startswith("snnprune.")
