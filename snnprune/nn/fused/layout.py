"""The memory layout of a tensor [T, ...], so that kernels can read it without a copy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    import numpy as np

LINE = 64
"""Bytes of a cache line."""

_VIEWS = {"ExpandBackward0", "UnsqueezeBackward0"}


@dataclass(frozen=True)
class Layout:
    """The layout of one time step in memory: dense, with any order of axes.

    Attributes:
        shape: of a step.
        strides: of a step, in elements.
    """

    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @classmethod
    def of(cls, step: torch.Tensor) -> Layout:
        """Return the layout of ``step``, or the usual layout if ``step`` has gaps or overlaps."""
        shape, strides = tuple(step.shape), step.stride()
        dense = 1
        for axis in sorted((a for a in range(step.ndim) if shape[a] > 1), key=lambda a: strides[a]):
            if strides[axis] != dense:
                return cls.usual(shape)
            dense *= shape[axis]
        return cls(shape, strides)

    @classmethod
    def usual(cls, shape: tuple[int, ...]) -> Layout:
        """Return the layout in which the last axis is innermost."""
        strides = tuple(math.prod(max(n, 1) for n in shape[a + 1 :]) for a in range(len(shape)))
        return cls(shape, strides)

    @property
    def size(self) -> int:
        """Number of values in a step."""
        return math.prod(self.shape)

    @property
    def is_usual(self) -> bool:
        """Whether the last axis is innermost, the one before it next, and so on."""
        return self.holds(self.usual(self.shape).strides)

    @property
    def is_channels_last(self) -> bool:
        """Whether a step [B, C, H, W] has its channels innermost."""
        _, channels, height, width = self.shape
        return self.holds((channels * height * width, 1, channels * width, channels))

    def holds(self, strides: tuple[int, ...]) -> bool:
        """Tell whether ``strides`` mean the same order; strides of axes of length 1 do not matter."""
        return all(n == 1 or a == b for n, a, b in zip(self.shape, self.strides, strides, strict=True))

    def empty(self, steps: int, dtype: torch.dtype, device: torch.device | str = "cpu") -> torch.Tensor:
        """Return [steps, ...] of this layout."""
        strides = (max(self.size, 1), *self.strides)
        return torch.empty_strided((steps, *self.shape), strides, dtype=dtype, device=device)

    def step(self, dtype: torch.dtype, device: torch.device | str = "cpu") -> torch.Tensor:
        """Return [...] of this layout, a tensor of its own."""
        return torch.empty_strided(self.shape, self.strides, dtype=dtype, device=device)

    def flat(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``x`` [T, ...] as [T, size] in this layout's order, or [1, size] if all steps are equal.

        It is copied only if its own layout differs.
        """
        x = x.detach()
        if x.shape[0] > 1 and x.stride(0) == 0:
            x = x[:1]
        steps = x.shape[0]
        if not self.holds(x.stride()[1:]) or (steps > 1 and x.stride(0) != self.size):
            x = self.empty(steps, x.dtype, x.device).copy_(x)
        return x.as_strided((steps, self.size), (max(self.size, 1), 1))

    def array(self, x: torch.Tensor) -> np.ndarray[Any, Any]:
        """Return `flat` as an array that shares memory with it; floats of 16 bits become 32."""
        x = self.flat(x)
        return (x.float() if x.element_size() == 2 else x).numpy()


def is_constant(x: torch.Tensor) -> bool:
    """Tell whether ``x`` [T, ...] is the same memory at every step (``expand``)."""
    return x.ndim > 0 and x.shape[0] > 1 and x.stride(0) == 0


def shown(x: torch.Tensor) -> torch.Tensor | None:
    """Return the tensor [...] that ``x`` [T, ...] repeats at every step, in its graph, or None.

    None means that ``x`` is not constant in time, or that the tensor from which it was expanded is not
    certain. The gradient then needs a time axis.
    """
    if not is_constant(x):
        return None
    if not (x.requires_grad and torch.is_grad_enabled()):
        return x.detach()[0]
    base = x._base
    if base is None or base.data_ptr() != x.data_ptr() or base.shape != x.shape[1:]:
        return None
    if base.stride() != x.stride()[1:]:
        return None
    node = x.grad_fn
    while node is not None and node is not base.grad_fn and node.name() in _VIEWS:
        node = node.next_functions[0][0]
    leads = node is base.grad_fn if base.grad_fn is not None else getattr(node, "variable", None) is base
    return base if leads else None
