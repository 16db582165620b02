"""The network of a run: weights from the seed, accelerated layers, and the precision of the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from snnprune.nn import models

if TYPE_CHECKING:
    from typing import TypeVar

    from torch import nn

    from snnprune.config.schema import RunConfig
    from snnprune.nn.models.notation import Network

    Made = TypeVar("Made", bound=nn.Module)


def build_network(config: RunConfig, shape: tuple[int, int, int], classes: int) -> Network:
    """Return the network with weights drawn from the seed, accelerated and in the precision of the run.

    Args:
        config: of the run.
        shape: channels (polarities), height and width of one frame.
        classes: number of output neurons.

    Raises:
        UserError: as `snnprune.nn.models.build`.
    """
    torch.manual_seed(config.train.seed)
    return accelerated(models.build(config.model, shape, classes), config)


def accelerated(model: Made, config: RunConfig) -> Made:
    """Return ``model`` accelerated and in the precision of the run, in place."""
    spiking = bool(getattr(model, "spiking", True))
    if config.model.accelerate and spiking:
        from snnprune.nn.fused import accelerate  # noqa: PLC0415 - imports SpikingJelly, and ANNs need none

        accelerate(model, channels_last=True)
    if config.train.precision != "float32" and spiking:
        from snnprune.nn.fused import keep_precise  # noqa: PLC0415

        keep_precise(model)
    return model


def plain(model: nn.Module, config: RunConfig) -> nn.Module:
    """Return ``model`` with SpikingJelly's own neurons, in place."""
    if config.model.accelerate and getattr(model, "spiking", False):
        from snnprune.nn.fused import restore  # noqa: PLC0415

        restore(model)
    return model


def reset(model: nn.Module) -> None:
    """Reset the neurons of a run's network (all modules with a ``reset``), if it is spiking."""
    if getattr(model, "spiking", True):
        from spikingjelly.activation_based import functional  # noqa: PLC0415 - slow, and ANNs need none

        functional.reset_net(model)
