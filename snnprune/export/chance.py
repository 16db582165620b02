"""What neurons read, and what a network answers, if all of them fire by chance: the same in every network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from snnprune.common.errors import UserError, first_line
from snnprune.network.axes import tensors_in
from snnprune.network.duplicate import reset_states

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor, nn


def frames_like(example: Tensor) -> Tensor:
    """Return frames of zeros and ones, float64, in the shape and on the device of ``example``."""
    coin = torch.Generator().manual_seed(0)
    return (torch.rand(example.shape, generator=coin) < 0.5).double().to(example.device)


def currents(
    model: nn.Module, neurons: Iterable[str], frames: Tensor
) -> tuple[dict[str, Tensor], list[Tensor]]:
    """Return what each layer of neurons reads, and the network's answers.

    Args:
        model: a network in multi-step mode.
        neurons: names of its layers of neurons, whose spikes are drawn by lot in place of what they put out.
        frames: [T, B, ...].

    Raises:
        UserError: the forward fails.
    """
    read: dict[str, list[Tensor]] = {}

    def hook(name: str, seed: int) -> Any:
        coin = torch.Generator().manual_seed(seed)

        def fire(_module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
            read.setdefault(name, []).append(args[0].detach().clone())
            return (torch.rand(output.shape, generator=coin) < 0.5).to(output)

        return fire

    handles = [
        model.get_submodule(name).register_forward_hook(hook(name, seed))
        for seed, name in enumerate(neurons, start=1)
    ]
    try:
        answers = tensors_in(model(frames))
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"the network cannot be looked into: {first_line(error)} (its forward on {frames.dtype})"
        ) from error
    finally:
        for handle in handles:
            handle.remove()
        reset_states(model)
    return {name: torch.stack(parts) for name, parts in read.items()}, answers
