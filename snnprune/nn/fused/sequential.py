"""A Sequential that runs a convolution, its LIF neurons and their average pool in one pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from spikingjelly.activation_based import layer
from torch import nn

from snnprune.nn.fused.convolution import feeds
from snnprune.nn.fused.lif import LIFNode
from snnprune.nn.fused.mixing import Mixed, mixed
from snnprune.nn.fused.once import once
from snnprune.nn.fused.watching import is_watched

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


class Pooling(Mixed):
    """Mixin for a class of Sequentials: the same forward in fewer passes.

    Layers stay in place, and each can be called alone. Neighbours are fused only if no hook reads a tensor
    between them at the time of the forward. Two kinds of hooks do not prevent this: a forward hook of neurons
    that has ``counts`` (see `LIFNode.counters`), and a forward pre-hook of a convolution with ``only_reads``
    True, which must return None.
    """

    def forward(self, x: Any) -> Any:
        """Call the layers one after the other, or several in one pass."""
        modules: list[nn.Module] = list(self)  # type: ignore[call-overload]
        number = 0
        while number < len(modules):
            x, taken = run_on(modules[number:], x)
            number += taken
        return x


def pooling(plain: Any) -> Any:
    """Return the class ``plain`` with the mixin `Pooling`."""
    return mixed(Pooling, plain)


def run_on(modules: Sequence[nn.Module], x: Any) -> tuple[Any, int]:
    """Run the first of ``modules`` on ``x``, with the following ones that can run in the same pass.

    Returns:
        The output, and the number of modules that were run.
    """
    first = modules[0]
    conv: Any = first if len(modules) > 1 and _may_feed(first, modules[1], x) else None
    neurons, *behind = modules if conv is None else modules[1:]
    square = 1
    if behind and isinstance(x, torch.Tensor) and x.ndim == 5:
        square = square_behind(neurons, behind[0])
        places = x.shape[3:] if conv is None else _places(conv, x)
        square = square if min(places) >= square else 1
    if conv is None and square == 1:
        return first(x), 1
    assert isinstance(neurons, LIFNode)
    if conv is None:
        x = neurons.pooled_forward(x, square)
    else:
        for hook in conv._forward_pre_hooks.values():
            hook(conv, (x,))
        x = neurons.fed_forward(conv, x, square)
    for hook in neurons.counters():
        hook.counts(x, *(neurons._recorded or (None, None)))
    return x, 1 + (conv is not None) + (square > 1)


def _may_feed(conv: Any, neurons: Any, x: Any) -> bool:
    """Tell whether a convolution and the neurons behind it may be fused: no hook reads in between."""
    if not isinstance(x, torch.Tensor) or not feeds(conv, x) or not _is_free(neurons):
        return False
    readers = [hook for hook in conv._forward_pre_hooks.values() if getattr(hook, "only_reads", False)]
    return not is_watched(conv, len(readers)) and neurons.knows(x)


def _places(conv: Any, x: Tensor) -> list[int]:
    """Return height and width of the output of ``conv``."""
    return [
        (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
        for size, padding, dilation, kernel, stride in zip(
            x.shape[3:], conv.padding, conv.dilation, conv.kernel_size, conv.stride, strict=True
        )
    ]


def _is_free(neurons: Any) -> bool:
    """Tell whether these are fused neurons in multi-step mode whose hooks, if any, need counts only."""
    fused = type(neurons) is LIFNode and neurons.step_mode == "m"
    return fused and not is_watched(neurons, len(neurons.counters()))


def square_behind(neurons: nn.Module, pool: Any) -> int:
    """Return the side of the squares that ``pool`` averages behind ``neurons``, 1 if they cannot be fused.

    The pool must be SpikingJelly's, or torch's alone in a ``SeqToANNContainer``, with adjacent squares.
    """
    if not _is_free(neurons) or is_watched(pool):
        return 1
    if type(pool) is layer.SeqToANNContainer and len(pool) == 1 and type(pool[0]) is nn.AvgPool2d:
        return 1 if is_watched(pool[0]) else _side(pool[0])
    known = type(pool) in {layer.AvgPool2d, once(layer.AvgPool2d)}
    return _side(pool) if known and pool.step_mode == "m" else 1


def _side(pool: Any) -> int:
    """Return the side of the squares of a pool, 1 if they overlap, are padded or are not squares."""
    sizes = {*_pair(pool.kernel_size), *_pair(pool.stride)}
    plain = _pair(pool.padding) == (0, 0) and not pool.ceil_mode and pool.divisor_override is None
    return sizes.pop() if plain and len(sizes) == 1 else 1


def _pair(size: Any) -> tuple[int, int]:
    return tuple(size) if isinstance(size, (tuple, list)) else (size, size)
