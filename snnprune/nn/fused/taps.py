"""The gradient of a convolution's weight as one matrix product for each place of its kernel.

oneDNN computes it with loops over places, and pads them. Where images are small and channels many, it spends
most of its time on the padding: 25 ms for 512 x 512 channels of 2 x 2 places, where the products take 8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch import Tensor

DENSE = 1 << 12
"""Pairs of channels for each place of the output from which products are faster."""


def pays(gradient: Tensor, weight: Tensor, arguments: tuple[Any, ...]) -> bool:
    """Tell whether `weight_gradient` is faster than PyTorch's own, and applies.

    Args:
        gradient: of the output, [N, O, H', W'].
        weight: [O, I, h, w].
        arguments: stride, padding, dilation and groups of the convolution.
    """
    _, _, dilation, groups = arguments
    places = gradient.shape[2] * gradient.shape[3]
    return groups == 1 and set(dilation) == {1} and weight.shape[0] * weight.shape[1] >= DENSE * places


def weight_gradient(gradient: Tensor, images: Tensor, weight: Tensor, arguments: tuple[Any, ...]) -> Tensor:
    """Return the gradient of ``weight``.

    Args:
        gradient: of the output, [N, O, H', W'].
        images: the input, [N, I, H, W].
        weight: [O, I, h, w].
        arguments: stride, padding, dilation (1) and groups (1) of the convolution.
    """
    stride, padding = arguments[:2]
    outputs, inputs, height, width = weight.shape
    g, x = gradient.permute(0, 2, 3, 1), images.permute(0, 2, 3, 1)
    found = weight.new_zeros(height, width, outputs, inputs)
    for dy in range(height):
        to_y, of_y = _meet(g.shape[1], x.shape[1], dy, stride[0], padding[0])
        for dx in range(width):
            to_x, of_x = _meet(g.shape[2], x.shape[2], dx, stride[1], padding[1])
            rows, columns = g[:, to_y, to_x].reshape(-1, outputs), x[:, of_y, of_x].reshape(-1, inputs)
            torch.mm(rows.T, columns, out=found[dy, dx])
    return found.permute(2, 3, 0, 1).contiguous()


def _meet(outputs: int, inputs: int, place: int, stride: int, padding: int) -> tuple[slice, slice]:
    """Return the outputs to which a place of the kernel leads from inside of the image, and those inputs."""
    low = max(0, -((place - padding) // stride))
    high = max(low, min(outputs, (inputs - 1 - place + padding) // stride + 1))
    start = low * stride - padding + place
    return slice(low, high), slice(start, start + max(0, high - low - 1) * stride + (high > low), stride)
