"""SpikingJelly's recurrent cells: called in a loop by hand, and in the library's own loops."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import torch
from spikingjelly.activation_based import neuron, rnn, surrogate
from torch import Tensor, nn

from support.families import Family

if TYPE_CHECKING:
    from collections.abc import Callable

_KINDS = ("VanillaRNN", "LSTM", "GRU")


class ByHand(nn.Module):
    """A layer of neurons, then a cell that is called at each time step, and a readout."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.fc, self.lif = nn.Linear(6, 7), neuron.LIFNode(v_threshold=0.2)
        self.cell, self.out = cell, nn.Linear(10, 4)

    def forward(self, x: Tensor) -> Tensor:
        state, outputs = None, []
        for step in x:
            state = self.cell(self.lif(self.fc(step)), state)
            outputs.append(self.out(state[0] if isinstance(state, tuple) else state))
        return torch.stack(outputs)


class Loops(nn.Module):
    """The library's loop over time, with a readout.

    Args:
        loop: in which layers have 10 units, in one direction or in both.
    """

    def __init__(self, loop: rnn.SpikingRNNBase) -> None:
        super().__init__()
        self.rnn, self.out = loop, nn.Linear(20 if loop.bidirectional else 10, 4)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.out(self.rnn(x)[0])
        return scores


def cell(kind: str, two: bool = False) -> nn.Module:
    """Return a cell of 7 inputs and 10 units; ``two``: what it adds has a surrogate function of its own."""
    own = {"surrogate_function2": surrogate.ATan()} if two else {}
    made: nn.Module = getattr(rnn, f"Spiking{kind}Cell")(7, 10, **own)
    return made


def _by_hand(kind: str, two: bool = False) -> Callable[[], nn.Module]:
    return lambda: ByHand(cell(kind, two))


def _loops(kind: str, layers: int = 1, *, bidirectional: bool = False) -> Callable[[], nn.Module]:
    make = functools.partial(getattr(rnn, f"Spiking{kind}"), 6, 10, layers, bidirectional=bidirectional)
    return lambda: Loops(make())


_CELLS = (
    *(Family(f"Spiking{kind}Cell", _by_hand(kind), (6,), 2, "m") for kind in _KINDS),
    *(Family(f"Spiking{kind}Cell, two", _by_hand(kind, True), (6,), 2, "m") for kind in _KINDS[1:]),
    *(Family(f"Spiking{kind}", _loops(kind), (6,), 1, "m") for kind in _KINDS),
    Family("SpikingLSTM, two layers", _loops("LSTM", 2), (6,), 1, "m"),
    Family("SpikingGRU, both directions", _loops("GRU", 2, bidirectional=True), (6,), 1, "m"),
)
CELLS = {family.name: family for family in _CELLS}
