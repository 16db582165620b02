"""A Sequential that runs a convolution, its batch norm, its LIF neurons and their pool in one pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from spikingjelly.activation_based import layer
from torch import nn

from snnprune.nn.fused.constants import Window
from snnprune.nn.fused.convolution import feeds
from snnprune.nn.fused.lif import LIFNode
from snnprune.nn.fused.mixing import Mixed, mixed
from snnprune.nn.fused.norm import normalises
from snnprune.nn.fused.once import once
from snnprune.nn.fused.watching import is_watched

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


LARGEST = 15
"""Largest side of a window whose maximum is taken in the same pass: its places are counted in a byte."""


class Pooling(Mixed):
    """Mixin for a class of Sequentials: the same forward in fewer passes.

    Layers stay in place, and each can be called alone. Neighbours are fused only if no hook reads a tensor
    between them at the time of the forward. Two kinds of hooks do not prevent this: a forward hook of neurons
    that has ``counts`` (see `LIFNode.counters`), and a forward pre-hook of a convolution with ``only_reads``
    True, which must return None.
    """

    def forward(self, x: Any) -> Any:
        """Call the layers one after the other, or several in one pass."""
        return run_all(list(self), x)  # type: ignore[call-overload]


def pooling(plain: Any) -> Any:
    """Return the class ``plain`` with the mixin `Pooling`."""
    return mixed(Pooling, plain)


def run_all(modules: Sequence[nn.Module], x: Any) -> Any:
    """Run ``modules`` on ``x``, several in one pass where that can be."""
    number = 0
    while number < len(modules):
        x, taken = run_on(modules[number:], x)
        number += taken
    return x


def run_on(modules: Sequence[nn.Module], x: Any) -> tuple[Any, int]:
    """Run the first of ``modules`` on ``x``, with the following ones that can run in the same pass.

    Returns:
        The output, and the number of modules that were run.
    """
    chain = Chain.of(modules, x)
    return (modules[0](x), 1) if chain is None else (chain.run(x), chain.taken)


@dataclass(frozen=True)
class Chain:
    """Neighbouring layers that run in one pass.

    Attributes:
        conv: a convolution, or None.
        norm: a batch norm behind it, or None.
        neurons: the neurons.
        square: side of the squares of an average pool behind them, 1 if there is none.
        window: of a maximum pool behind them, or None.
    """

    conv: Any
    norm: Any
    neurons: LIFNode
    square: int
    window: Window | None

    @classmethod
    def of(cls, modules: Sequence[nn.Module], x: Any) -> Chain | None:
        """Return the longest chain that begins with the first of ``modules``; None if that runs alone."""
        conv: Any = None
        norm: Any = None
        rest = list(modules)
        if len(rest) > 1 and isinstance(x, torch.Tensor) and _feeds_alone(rest[0], x):
            normed = len(rest) > 2 and normalises(rest[1], rest[0]) and not is_watched(rest[1])
            neurons: Any = rest[2] if normed else rest[1]
            if _is_free(neurons) and neurons.knows(x):
                conv, *rest = rest
                if normed:
                    norm, *rest = rest
        neurons, *behind = rest
        square, window = 1, None
        if behind and isinstance(x, torch.Tensor) and x.ndim == 5:
            places = x.shape[3:] if conv is None else _places(conv, x)
            square, window = square_behind(neurons, behind[0]), window_behind(neurons, behind[0])
            square = square if min(places) >= square else 1
            window = window if window is None or min(map(window.places, places)) > 0 else None
        if conv is None and square == 1 and window is None:
            return None
        assert isinstance(neurons, LIFNode)
        return cls(conv, norm, neurons, square, window)

    @property
    def taken(self) -> int:
        """Number of layers."""
        pooled = self.square > 1 or self.window is not None
        return 1 + (self.conv is not None) + (self.norm is not None) + pooled

    def run(self, x: Tensor, others: Tensor | None = None) -> Tensor:
        """Run the layers on ``x``, and serve the hooks that do not need what is between them.

        Args:
            x: [T, B, C, H, W].
            others: is added to the spikes, of their shape and dtype; only behind a convolution, without pool.
        """
        if self.conv is None:
            y = self.neurons.pooled_forward(x, self.square, self.window)
        else:
            for hook in self.conv._forward_pre_hooks.values():
                hook(self.conv, (x,))
            y = self.neurons.fed_forward(
                self.conv, x, self.square, norm=self.norm, window=self.window, others=others
            )
        for hook in self.neurons.counters():
            hook.counts(y, *(self.neurons._recorded or (None, None)))
        return y

    def run_joined(self, x: Tensor, others: Any) -> Tensor | None:
        """Return `run`, with ``others`` added to the spikes in the same pass; None if that cannot be."""
        if self.conv is None or self.taken > 2 + (self.norm is not None):
            return None
        shape = (*x.shape[:2], self.conv.out_channels, *_places(self.conv, x))
        known = type(others) is torch.Tensor and others.dtype == x.dtype and others.device == x.device
        return self.run(x, others) if known and others.shape == shape else None


def _feeds_alone(conv: Any, x: Tensor) -> bool:
    """Tell whether ``conv`` may feed neurons, and no hook reads what it puts out."""
    if not feeds(conv, x):
        return False
    readers = [hook for hook in conv._forward_pre_hooks.values() if getattr(hook, "only_reads", False)]
    return not is_watched(conv, len(readers))


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
    found = _pool(neurons, pool, layer.AvgPool2d, nn.AvgPool2d)
    return 1 if found is None else _side(found)


def window_behind(neurons: nn.Module, pool: Any) -> Window | None:
    """Return the windows whose maximum ``pool`` takes behind ``neurons``, None if they cannot be fused.

    The pool must be SpikingJelly's, or torch's alone in a ``SeqToANNContainer``. Its windows are squares
    without gaps inside.
    """
    found = _pool(neurons, pool, layer.MaxPool2d, nn.MaxPool2d)
    if found is None or found.ceil_mode or found.return_indices or _pair(found.dilation) != (1, 1):
        return None
    sides = [_pair(size) for size in (found.kernel_size, found.stride, found.padding)]
    if any(one != other for one, other in sides) or sides[0][0] > LARGEST:
        return None
    return Window(*(one for one, _ in sides))


def _pool(neurons: nn.Module, pool: Any, own: Any, plain: Any) -> Any:
    """Return the pool itself, of SpikingJelly's class ``own`` or torch's ``plain``, if nobody looks at it."""
    if not _is_free(neurons) or is_watched(pool):
        return None
    if type(pool) is layer.SeqToANNContainer and len(pool) == 1 and type(pool[0]) is plain:
        return None if is_watched(pool[0]) else pool[0]
    return pool if type(pool) in {own, once(own)} and pool.step_mode == "m" else None


def _side(pool: Any) -> int:
    """Return the side of the squares of a pool, 1 if they overlap, are padded or are not squares."""
    sizes = {*_pair(pool.kernel_size), *_pair(pool.stride)}
    plain = _pair(pool.padding) == (0, 0) and not pool.ceil_mode and pool.divisor_override is None
    return sizes.pop() if plain and len(sizes) == 1 else 1


def _pair(size: Any) -> tuple[int, int]:
    return tuple(size) if isinstance(size, (tuple, list)) else (size, size)
