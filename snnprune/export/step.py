"""One time step of a spiking network as a function: (x, states) -> (y, states)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from snnprune.common.errors import UserError, first_line, memory_full
from snnprune.export.arithmetic import arithmetic
from snnprune.export.chance import frames_like
from snnprune.export.graph import plain
from snnprune.export.limits import SILENT
from snnprune.network.cells import is_cell
from snnprune.network.leaves import is_multi_step, is_recurrent, spiking_base
from snnprune.nn.rnn import RNN, RNNCell

if TYPE_CHECKING:
    from torch import Tensor

    from snnprune.export.arithmetic import Arithmetic


LEAST = 3
"""Time steps of the comparison, at least: what comes back two steps later is seen in the third."""


class Step(nn.Module):
    """One time step of ``model``: frames [B, C, H, W] and states to outputs [B, K] and states.

    Args:
        model: a spiking network; a plain copy of it is used. In multi-step mode it is called with T = 1.

    Raises:
        UserError: a layer has a state whose arithmetic is unknown.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.net = plain(model)
        _refuse_cells(self.net)
        found = {name: module for name, module in self.net.named_modules() if _has_states(module)}
        self.multi = any(is_multi_step(module) for module in found.values())
        made: dict[str, Arithmetic] = {}
        for name, module in reversed(found.items()):  # neurons in a recurrent layer come before it
            made[name] = arithmetic(module, name)
            self.net.set_submodule(name, made[name])
        # In a tuple, since the layers have their places in ``net``.
        self._layers = tuple(reversed(made.items()))

    @property
    def states(self) -> list[tuple[str, str, float]]:
        """Name of a layer, letter of its state, and what this begins with, for all states."""
        return [
            (name, letter, rest)
            for name, layer in self._layers
            for letter, rest in zip(layer.letters, layer.rest, strict=True)
        ]

    def forward(self, x: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Compute one step: frames and states to outputs and next states."""
        given = iter(states)
        for _, layer in self._layers:
            layer.memory.states = tuple(next(given) for _ in layer.letters)
        y = self.net(x.unsqueeze(0)).squeeze(0) if self.multi else self.net(x)
        return y, [state for _, layer in self._layers for state in layer.memory.states]


@torch.no_grad()
def step_of(model: nn.Module, example: Tensor) -> Step:
    """Return one time step of ``model``, whose answers one after the other are those of ``model``.

    They are compared on ``example`` and on frames that are drawn by lot, in float64 where the network can: a
    forward may carry something from step to step by itself, or do something with the time axis.

    Args:
        model: as `Step` takes it.
        example: encoded frames [T, B, ...].

    Raises:
        UserError: as `Step`, or their answers differ.
    """
    step = Step(model)
    first = example[:, :1]
    both = torch.cat([first, frames_like(first).to(first)], 1)
    frames = torch.cat([both] * -(-LEAST // len(both)))
    unlike = ""
    for dtype in dict.fromkeys((torch.float64, frames.dtype)):
        try:
            unlike = _difference(model, frames.to(dtype))
            break
        except Exception as error:  # in float64, where it makes tensors of its own
            if memory_full(error) is not None:
                raise
            unlike = first_line(error)
    if unlike:
        raise UserError(
            f"one time step of {type(model).__name__} cannot be written, because its answer to a recording "
            f"is not that of its time steps one after the other ({unlike}): hand x [T, B, ...] from layer to "
            "layer without a loop over time, let layers hold what is carried on, as "
            "snnprune.nn.recurrent.Recurrent does, and return the outputs of all steps"
        )
    return step


def _difference(model: nn.Module, frames: Tensor) -> str:
    """Return how a network's answer to frames differs from that of its time steps, "" where it does not."""
    whole = plain(model).to(frames)(frames)
    step = Step(model).to(frames)
    states = [torch.tensor(rest).to(frames) for *_, rest in step.states]
    told = []
    for frame in frames:
        y, states = step(frame, states)
        told.append(y)
    apart = torch.stack(told)
    if whole.shape != apart.shape:
        return f"shapes {tuple(whole.shape)} and {tuple(apart.shape)}"
    alike = torch.allclose(whole, apart, rtol=1e-4, atol=1e-5)
    return "" if alike else f"they differ by {float((whole - apart).abs().max()):.1e}"


def _refuse_cells(net: nn.Module) -> None:
    """Refuse recurrent cells: what they carry over is a variable of a forward, which a step would lose."""
    for name, module in net.named_modules():
        if is_cell(module) or is_recurrent(module) or isinstance(module, (RNN, RNNCell)):
            raise UserError(
                f"one time step of the network cannot be written, because '{name}' ({type(module).__name__}) "
                "carries its state over inside of the network's forward: use neurons that hold their state, "
                "as in snnprune.nn.recurrent.Recurrent"
            )


def _has_states(module: nn.Module) -> bool:
    """Tell whether ``module`` is a layer of neurons, or another layer of SpikingJelly that uses a memory."""
    remembers = bool(getattr(module, "_memories", None)) and type(module).__name__ not in SILENT
    return remembers or isinstance(module, spiking_base())
