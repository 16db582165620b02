"""One time step of a spiking network as a function: (x, states) -> (y, states)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from snnprune.common.errors import UserError
from snnprune.export.arithmetic import arithmetic
from snnprune.export.graph import plain
from snnprune.export.limits import SILENT
from snnprune.network.cells import is_cell
from snnprune.network.leaves import is_multi_step, is_recurrent, spiking_base
from snnprune.nn.rnn import RNN, RNNCell

if TYPE_CHECKING:
    from torch import Tensor

    from snnprune.export.arithmetic import Arithmetic


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
