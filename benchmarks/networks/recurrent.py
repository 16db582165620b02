"""Networks for speech, 700 - 256 - 256 - 20, wired to themselves as users of SpikingJelly write it."""

from __future__ import annotations

import torch
from spikingjelly.activation_based import layer, neuron, rnn, surrogate
from torch import Tensor, nn

INPUTS, HIDDEN, CLASSES = 700, 256, 20


def _neurons() -> nn.Module:
    return neuron.LIFNode(decay_input=False, surrogate_function=surrogate.ATan())


def container() -> nn.Module:
    """Return two of SpikingJelly's linear containers around neurons, each behind a layer."""
    return nn.Sequential(
        layer.Linear(INPUTS, HIDDEN), _neurons(), layer.LinearRecurrentContainer(_neurons(), HIDDEN, HIDDEN),
        layer.Linear(HIDDEN, HIDDEN), _neurons(), layer.LinearRecurrentContainer(_neurons(), HIDDEN, HIDDEN),
        layer.Linear(HIDDEN, CLASSES),
    )  # fmt: skip


class ByHand(nn.Module):
    """A loop over time: each layer hears itself one step later, the first one also the second."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(INPUTS, HIDDEN), nn.Linear(HIDDEN, HIDDEN)
        self.rec1, self.rec2, self.back = (nn.Linear(HIDDEN, HIDDEN, bias=False) for _ in range(3))
        self.lif1, self.lif2, self.out = _neurons(), _neurons(), nn.Linear(HIDDEN, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Return [T, B, classes] of [T, B, inputs]."""
        first = x.new_zeros(x.shape[1], self.rec1.in_features)
        second = x.new_zeros(x.shape[1], self.rec2.in_features)
        outputs = []
        for step in x:
            first = self.lif1(self.fc1(step) + self.rec1(first) + self.back(second))
            second = self.lif2(self.fc2(first) + self.rec2(second))
            outputs.append(self.out(second))
        return torch.stack(outputs)


class LSTM(nn.Module):
    """SpikingJelly's loop over time around two layers of cells."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.out = rnn.SpikingLSTM(INPUTS, HIDDEN, 2), nn.Linear(HIDDEN, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Return [T, B, classes] of [T, B, inputs]."""
        scores: Tensor = self.out(self.rnn(x)[0])
        return scores
