"""A batch norm between a convolution and LIF neurons, as the neurons' kernels take it.

The kernels multiply and add as they read the output of the convolution, so normalised currents are never
stored. In the backward they are computed again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from spikingjelly.activation_based import layer

from snnprune.nn.fused.kernels import norm_kernels

if TYPE_CHECKING:
    from torch import Tensor


def normalises(module: Any, conv: Any) -> bool:
    """Tell whether ``module`` is a batch norm that may be computed in the neurons behind it.

    It must be SpikingJelly's own (a norm over several processes is not), in multi-step mode, for the channels
    of ``conv``, with all of its tensors on the CPU in the dtype of the weight of ``conv``.
    """
    if type(module) is not layer.BatchNorm2d or module.step_mode != "m":
        return False
    weight = conv.weight
    tensors = (module.weight, module.bias, module.running_mean, module.running_var)
    return all(
        type(t) in {torch.Tensor, torch.nn.Parameter}
        and t.device.type == "cpu"
        and t.dtype == weight.dtype
        and t.shape == weight.shape[:1]
        for t in tensors
        if t is not None
    ) and (module.running_mean is None) == (module.running_var is None)


@dataclass(frozen=True)
class Norm:
    """What a batch norm does in one forward.

    Attributes:
        scale, shift: each channel is multiplied with, and gets added, [C].
        mean: that is subtracted, [C].
        steep: 1 / sqrt(variance + eps), [C].
        values: how many values of a channel mean and variance are taken over; 0 if they are constants.
    """

    scale: Tensor
    shift: Tensor
    mean: Tensor
    steep: Tensor
    values: int

    @classmethod
    def of(cls, module: layer.BatchNorm2d, value: Tensor, repeats: int) -> Norm:
        """Return what ``module`` does with ``value``, and update its running statistics as it would.

        Args:
            module: the batch norm.
            value: [N, C, H, W], its input.
            repeats: how often it gets each of these images: T if they are shown at every step.

        Raises:
            ValueError: training on a single value per channel, as torch says it.
        """
        values = value.numel() // value.shape[1]
        by_batch = module.training or module.running_mean is None
        with torch.no_grad():
            if by_batch:
                if values * repeats == 1:
                    torch.nn.functional.batch_norm(value, None, None, training=True)  # raises its error
                mean, variance = _statistics(module, value, values, repeats)
            else:
                mean, variance = module.running_mean, module.running_var
            scale, shift, steep = (torch.empty_like(mean) for _ in range(3))
            norm_kernels().coefficients(
                _array(mean), _array(variance), module.eps, _array(module.weight, mean),
                _array(module.bias, mean), scale.numpy(), shift.numpy(), steep.numpy(),
            )  # fmt: skip
        return cls(
            scale, shift, mean.clone() if mean is module.running_mean else mean, steep, values * by_batch
        )

    def passed_on(self, total: Tensor, product: Tensor) -> tuple[Tensor, Tensor]:
        """Return what mean and variance pass on to each value (see `cpu_norm.through`), [C].

        Args:
            total: sum of the gradients of normalised values, over all values of a channel.
            product: the same times the value less the mean.
        """
        if not self.values:
            return torch.zeros_like(total), torch.zeros_like(product)
        return total / self.values, product * self.steep.double().square() / self.values


def _statistics(module: layer.BatchNorm2d, value: Tensor, values: int, repeats: int) -> tuple[Tensor, Tensor]:
    """Return mean and variance of the batch, [C], and update what ``module`` keeps of them."""
    factor = 0.0 if module.momentum is None else module.momentum
    kept = module.training and module.track_running_stats
    if kept and module.num_batches_tracked is not None:
        module.num_batches_tracked.add_(1)
        if module.momentum is None:
            factor = 1.0 / float(module.num_batches_tracked)
    if repeats == 1 or not kept or module.running_mean is None:
        mean, variance = (module.running_mean, module.running_var) if kept else (None, None)
        return torch.batch_norm_update_stats(value, mean, variance, factor)
    mean, variance = torch.batch_norm_update_stats(value, None, None, factor)
    seen = values * repeats
    for known, new in ((module.running_mean, mean), (module.running_var, variance * (seen / (seen - 1)))):
        known.mul_(1 - factor).add_(new, alpha=factor)
    return mean, variance


def _array(vector: Tensor | None, like: Tensor | None = None) -> np.ndarray[Any, Any]:
    """Return [C] as an array, an empty one for None."""
    if vector is None:
        assert like is not None
        return np.zeros(0, like.numpy().dtype)
    return vector.detach().contiguous().numpy()
