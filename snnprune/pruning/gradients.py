"""Hooks on parameters that keep the gradients of what is dead at zero."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import ref

from torch import nn
from torch.utils.hooks import unserializable_hook

from snnprune.pruning.masks import erased

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor
    from torch.utils.hooks import RemovableHandle

    from snnprune.pruning.masks import Masks


class DeadGradients:
    """Sets the gradients of pruned entries to zero within the backward, before they reach ``.grad``.

    Whatever reads gradients between the backward and the step of the optimiser then sees those of the living
    alone: a norm to clip by, a loss scaler, an average over processes, an optimiser that mixes entries. Only
    a parameter with a mask carries a hook, which comes before the hooks that others put on it.
    """

    def __init__(self) -> None:
        self._masks: Masks | None = None
        self._followed: Mapping[str, Tensor] | None = None
        self._hooked: dict[str, tuple[nn.Parameter, RemovableHandle]] = {}

    def follow(self, masks: Masks) -> None:
        """Take the entries that ``masks`` holds at zero; hooks change only where masks did."""
        self._masks, factors = masks, masks.factors()
        if factors is self._followed:
            return
        self._followed = factors
        state = masks.model.state_dict(keep_vars=True) if factors else {}
        for key, (parameter, handle) in [*self._hooked.items()]:
            if key not in factors or state[key] is not parameter:
                handle.remove()
                del self._hooked[key]
        for key in factors:
            parameter = state[key]
            if isinstance(parameter, nn.Parameter) and _learns(parameter) and key not in self._hooked:
                self._hooked[key] = parameter, self._hook(key, parameter)

    def _hook(self, key: str, parameter: nn.Parameter) -> RemovableHandle:
        own = ref(self)  # without close(), the pruner goes when nobody holds it

        @unserializable_hook
        def hook(gradient: Tensor) -> Tensor:
            gradients = own()
            return gradient if gradients is None else gradients._silence(key, gradient)

        trained = parameter.requires_grad
        parameter.requires_grad_(True)  # a layer that is frozen for a while keeps the hook
        handle: RemovableHandle = parameter.register_hook(hook)
        parameter.requires_grad_(trained)
        hooks = parameter._backward_hooks or {}
        for other in [key for key in hooks if key != handle.id]:
            hooks[other] = hooks.pop(other)  # moves it behind this one
        return handle

    def _silence(self, key: str, gradient: Tensor) -> Tensor:
        factor = self._masks.factors().get(key) if self._masks is not None else None
        return gradient if factor is None else erased(gradient, factor)

    def close(self) -> None:
        """Remove every hook."""
        for _, handle in self._hooked.values():
            handle.remove()
        self._hooked, self._followed = {}, None


def _learns(parameter: Tensor) -> bool:
    return parameter.is_floating_point() or parameter.is_complex()
