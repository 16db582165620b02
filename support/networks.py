"""Small networks that the tests share."""

from __future__ import annotations

import torch
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import Tensor, nn


def lif() -> neuron.LIFNode:
    return neuron.LIFNode(
        tau=1.25,
        decay_input=False,
        v_threshold=0.5,
        v_reset=0.0,
        surrogate_function=surrogate.Rect(alpha=1.0),
    )


def conv_snn(step_mode: str = "m", *, norm: bool = False, gain: float = 3.0) -> nn.Sequential:
    """2 x 12 x 12 -> 5 -> 6 channels -> 20 units -> 4 classes; multi-step takes [T, B, 2, 12, 12]."""
    net = nn.Sequential(
        layer.Conv2d(2, 5, 3, padding=1),
        layer.BatchNorm2d(5) if norm else nn.Identity(),
        lif(),
        layer.AvgPool2d(2),
        layer.Conv2d(5, 6, 3, padding=1),
        layer.BatchNorm2d(6) if norm else nn.Identity(),
        lif(),
        layer.AvgPool2d(2),
        layer.Flatten(),
        layer.Linear(6 * 9, 20),
        lif(),
        layer.Linear(20, 4),
        lif(),
    )
    functional.set_step_mode(net, step_mode)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(gain if parameter.ndim > 1 else 1.0)
    return net


class Block(nn.Module):
    """Two convolutions around a residual add of spikes, as SEW-ResNet has it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = layer.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = layer.BatchNorm2d(channels)
        self.sn1 = lif()
        self.conv2 = layer.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = layer.BatchNorm2d(channels)
        self.sn2 = lif()

    def forward(self, x: Tensor) -> Tensor:
        y = self.sn1(self.bn1(self.conv1(x)))
        return x + self.sn2(self.bn2(self.conv2(y)))


class ResidualSNN(nn.Module):
    """2 x 8 x 8 -> 6 channels -> two residual blocks -> 4 classes, by the mean over time."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = layer.Conv2d(2, 6, 3, padding=1, bias=False)
        self.bn = layer.BatchNorm2d(6)
        self.sn = lif()
        self.blocks = nn.Sequential(Block(6), Block(6))
        self.pool = layer.AvgPool2d(2)
        self.fc = layer.Linear(6 * 16, 4)
        functional.set_step_mode(self, "m")

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.sn(self.bn(self.stem(x))))
        return self.fc(torch.flatten(self.pool(x), 2)).mean(0)


def conv_ann() -> nn.Sequential:
    """2 x 12 x 12 -> 5 -> 6 channels -> 20 units -> 4 classes, ReLU."""
    return nn.Sequential(
        nn.Conv2d(2, 5, 3, padding=1), nn.BatchNorm2d(5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(5, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(54, 20), nn.ReLU(), nn.Linear(20, 4),
    )  # fmt: skip
