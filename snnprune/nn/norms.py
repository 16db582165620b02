"""Batch norms that compute mean and variance over the batches of all processes.

torch's ``SyncBatchNorm`` runs on GPUs only, and takes the time axis of SpikingJelly's multi-step norms for
samples. The norms of this module work with any batch norm class on any device.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

from snnprune.common.ranks import world_size

if TYPE_CHECKING:
    from torch import Tensor

    Model = TypeVar("Model", bound=nn.Module)


class _Total(torch.autograd.Function):
    """Sum over processes. The loss of each process depends on it, so the gradient is the sum of theirs."""

    @staticmethod
    def forward(_: Any, own: Tensor) -> Tensor:
        """Add up."""
        total = own.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        """Add up the gradients."""
        total = gradient.contiguous().clone()
        distributed.all_reduce(total)
        return total


class Synchronised(_BatchNorm):
    """The batch norm of torch, over the samples of all processes.

    Let x be the N values of a channel in all samples, places and time steps of all processes::

        y = (x - mean) / sqrt(var + eps) weight + bias,  mean = sum x / N,  var = sum (x - mean)^2 / N

    Shares of a batch may have different sizes. In evaluation mode or one process, it is the plain norm.
    """

    plain: Any

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x [N, C, ...]."""
        if not self.training or world_size() == 1:
            return super().forward(x)
        self._check_input_dim(x)
        dims = [0, *range(2, x.ndim)]
        shape = [1, -1] + [1] * (x.ndim - 2)
        precise = x if x.element_size() >= 4 else x.float()
        own = precise.new_tensor([x.numel() / x.shape[1]])
        total: Tensor = _Total.apply(torch.cat([precise.sum(dims), own]))
        values = total[-1].detach()
        mean = total[:-1] / values
        centred = precise - mean.view(shape)
        variance: Tensor = _Total.apply(centred.square().sum(dims)) / values
        self._remember(mean.detach(), variance.detach(), float(values))
        y = centred * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            y = y * self.weight.view(shape) + self.bias.view(shape)
        return y.to(x.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, values: float) -> None:
        """Update the running statistics as torch does, with the unbiased variance."""
        if not self.track_running_stats or self.running_mean is None:
            return
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        rate = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        unbiased = variance * (values / max(values - 1.0, 1.0))
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), rate)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), rate)


@functools.cache
def _synchronised(plain: Any) -> Any:
    # After the plain class, before torch's: SpikingJelly's handling of time comes first.
    return type(plain.__name__, (plain, Synchronised), {"plain": plain, "__module__": plain.__module__})


def synchronise(model: Model) -> Model:
    """Make the batch norms of ``model`` use the samples of all processes, in place, and return the model.

    Modules are not replaced: they change their class. So references to them, their keys and their step modes
    stay valid. A norm sends two small messages in the forward and two in the backward.
    """
    for module in model.modules():
        if isinstance(module, _BatchNorm) and not isinstance(module, (Synchronised, nn.SyncBatchNorm)):
            kind: Any = type(module)
            module.__class__ = _synchronised(kind)
    return model


def separate(model: Model) -> Model:
    """Undo `synchronise`, in place, and return the model."""
    for module in model.modules():
        if isinstance(module, Synchronised):
            module.__class__ = module.plain
    return model
