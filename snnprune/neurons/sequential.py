"""A Sequential in which LIF neurons and the average pool behind them are one pass over memory."""

from __future__ import annotations

import functools
from typing import Any

from spikingjelly.activation_based import layer
from torch import nn
from torch.nn.modules import module as torch_module

from snnprune.neurons.lif import LIFNode
from snnprune.neurons.once import once

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class Pooling:
    """Mixed into a class of Sequentials: what its forward computes, with fewer passes.

    Layers are where they were and each is itself when called alone. A LIF layer and its pool run as one only
    if nobody looks at either, by a hook that is there at the time of the forward.
    """

    plain: type[nn.Sequential]

    def forward(self, x: Any) -> Any:
        """Call the layers one after the other, or two at once."""
        modules: list[nn.Module] = list(self)  # type: ignore[call-overload]
        number = 0
        while number < len(modules):
            here = modules[number]
            square = square_behind(here, modules[number + 1]) if number + 1 < len(modules) else 1
            if square > 1 and x.ndim == 5 and min(x.shape[3:]) >= square:
                assert isinstance(here, LIFNode)
                x = here.pooled_forward(x, square)
                for hook in here.counters():
                    hook.counts(here, *(here._recorded or ()))
                number += 2
            else:
                x = here(x)
                number += 1
        return x

    def __reduce_ex__(self, _protocol: Any) -> Any:
        """Let copies and files name the plain class: this one is made while the program runs."""
        return _again, (self.plain,), self.__dict__


def _again(plain: type) -> Any:
    return pooling(plain).__new__(pooling(plain))


@functools.cache
def pooling(plain: Any) -> Any:
    """Return the class of Sequentials like ``plain`` that is mixed with `Pooling`."""
    return type(plain.__name__, (Pooling, plain), {"plain": plain, "__module__": plain.__module__})


def square_behind(neurons: nn.Module, pool: Any) -> int:
    """Return the side of the squares that ``pool`` averages behind ``neurons``, 1 if the two stay two.

    The pool is SpikingJelly's, or torch's alone in a ``SeqToANNContainer``, with squares side by side.
    """
    if type(neurons) is not LIFNode or neurons.step_mode != "m":
        return 1
    if _is_watched(neurons, len(neurons.counters())) or _is_watched(pool):
        return 1
    if type(pool) is layer.SeqToANNContainer and len(pool) == 1 and type(pool[0]) is nn.AvgPool2d:
        return 1 if _is_watched(pool[0]) else _side(pool[0])
    known = type(pool) in {layer.AvgPool2d, once(layer.AvgPool2d)}
    return _side(pool) if known and pool.step_mode == "m" else 1


def _side(pool: Any) -> int:
    """Return the side of the squares of a pool, 1 where they overlap, are padded or no squares."""
    sizes = {*_pair(pool.kernel_size), *_pair(pool.stride)}
    plain = _pair(pool.padding) == (0, 0) and not pool.ceil_mode and pool.divisor_override is None
    return sizes.pop() if plain and len(sizes) == 1 else 1


def _pair(size: Any) -> tuple[int, int]:
    return tuple(size) if isinstance(size, (tuple, list)) else (size, size)


def _is_watched(module: nn.Module, content: int = 0) -> bool:
    """Tell whether more hooks than those ``content`` with counts see what goes into or out of ``module``."""
    everywhere = ("_global_forward_hooks", "_global_forward_pre_hooks", "_global_backward_hooks")
    return sum(len(getattr(module, hooks)) for hooks in _HOOKS) > content or any(
        getattr(torch_module, hooks) for hooks in everywhere
    )
