"""The networks of `benchmarks.speed` at full size, their batches, and who competes on them.

Batches are drawn, not read: of the right shape, and with about as many spikes as the recordings have. What a
dense layer or a neuron costs does not depend on the numbers in it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from spikingjelly.activation_based import functional, neuron, surrogate
from spikingjelly.activation_based.layer import Conv2d
from spikingjelly.activation_based.model import sew_resnet
from torch import nn

import snnprune
from benchmarks.harness import Contender, kill
from snnprune.config.schema import ModelConfig
from snnprune.nn import models
from snnprune.nn.fused.once import channels_innermost
from snnprune.nn.models.kit import spiking
from snnprune.nn.models.notation import network

if TYPE_CHECKING:
    from torch import Tensor

EPOCHS = 60  # of the schedule that the pruner is given; no epoch ends here
HALF = 0.5

PLAIN = "SpikingJelly"
BARE = "fused"
DPAP = "fused, DPAP"
REMOVED = "fused, DPAP, half removed"
LIMIT = "convolutions and products alone"
FUSED_SURROGATES = {f"SpikingJelly, {name}": name for name in ("ATan", "Sigmoid", "PiecewiseQuadratic")}
"""What SpikingJelly's own GPU kernels know; the paper's rectangle is none of them."""


@dataclass(frozen=True)
class Workload:
    """A network and its batch.

    Attributes:
        what: for the reader.
        model: a model of this package, or "sew_resnet18" of SpikingJelly.
        steps: time steps T.
        batch: samples B.
        shape: of a frame.
        classes: units of the output.
        direct: one image is shown at every step, as an expanded view; else every step has its own frame.
        events: mean number of events in a pixel of a frame; 0 for grey levels.
        width: of the hidden layers of conv-snn, as a multiple.
        rounds: multiple of the rounds asked for; small networks are cheap and jitter more.
    """

    what: str
    model: str
    steps: int
    batch: int
    shape: tuple[int, int, int]
    classes: int = 10
    direct: bool = False
    events: float = 0.0
    width: float = 1.0
    rounds: int = 1

    def tiny(self) -> Workload:
        """Return the same with few steps, samples and pixels."""
        side = min(self.shape[1], 16)
        return replace(self, steps=2, batch=2, shape=(self.shape[0], side, side), rounds=1)

    def network(self) -> nn.Module:
        """Return the network of SpikingJelly's layers and neurons, with the same weights each time."""
        torch.manual_seed(0)
        if self.model == "sew_resnet18":
            return sew_resnet18(self.shape[0], self.classes)
        if self.width != 1:
            return _wide(self.width, self.shape, self.classes)
        return models.build(ModelConfig(self.model), self.shape, self.classes)

    def inputs(self, device: str) -> tuple[Tensor, Tensor]:
        """Return a batch [T, B, C, H, W] and the output rates to train for, [B, K]."""
        generator = torch.Generator().manual_seed(0)
        steps = 1 if self.direct else self.steps
        size = (steps, self.batch, *self.shape)
        x = torch.rand(size, generator=generator)
        if self.events:
            x = torch.poisson(torch.full(size, self.events), generator)
        y = torch.eye(self.classes)[torch.arange(self.batch) % self.classes]
        return x.to(device).expand(self.steps, *size[1:]), y.to(device)

    def contender(self, name: str, x: Tensor, y: Tensor) -> Contender:
        """Return one of `PLAIN`, `BARE`, `DPAP`, `REMOVED`, `LIMIT`, `FUSED_SURROGATES`."""
        model = self.network().to(x.device)
        if name == LIMIT:
            return Limit(model, x, y)
        if name == PLAIN or name in FUSED_SURROGATES:
            _set_surrogate(model, FUSED_SURROGATES.get(name))
            return Contender(name, model, x, y)
        model = snnprune.accelerate(model, channels_last=True)  # as `snnprune train` does
        if name == BARE:
            return Contender(name, model, x, y)
        pruner = snnprune.Pruner(model, x[:, :1], "dpap", epochs=EPOCHS, target=0.6)
        if name == REMOVED:
            kill(pruner.masks, HALF)
            pruner.masks.apply()
            pruner.compact()
        return Contender(name, model, x, y, pruner.step)


WORKLOADS = {
    "mnist": Workload("conv-snn, MNIST", "conv-snn", 8, 100, (1, 28, 28), events=0.13, rounds=3),
    "mnist-direct": Workload(
        "conv-snn, MNIST, direct encoding", "conv-snn", 8, 100, (1, 28, 28), direct=True, rounds=3
    ),
    "nmnist": Workload("conv-snn, N-MNIST", "conv-snn", 10, 50, (2, 34, 34), events=0.2, rounds=3),
    "cifar10": Workload("vgg-snn, CIFAR-10, direct encoding", "vgg-snn", 4, 16, (3, 32, 32), direct=True),
    "sew": Workload(
        "sew_resnet18 (ADD, ATan), 64 x 64 images", "sew_resnet18", 4, 16, (3, 64, 64), direct=True
    ),
    "gesture": Workload("conv-snn, DVS-Gesture", "conv-snn", 16, 4, (2, 128, 128), 11, events=0.5),
}


def sew_resnet18(channels: int, classes: int) -> nn.Module:
    """Return SpikingJelly's, with spikes added (ADD) and an arctangent surrogate, in multi-step mode."""
    net = sew_resnet.sew_resnet18(
        cnf="ADD", spiking_neuron=neuron.LIFNode, surrogate_function=surrogate.ATan(), num_classes=classes
    )
    if channels != net.conv1.in_channels:
        net.conv1 = Conv2d(channels, net.conv1.out_channels, 7, stride=2, padding=3, bias=False)
    functional.set_step_mode(net, "m")
    return net


def _wide(width: float, shape: tuple[int, int, int], classes: int) -> nn.Module:
    conv1, conv2, hidden = (round(width * units) for units in (15, 40, 300))
    return network(f"{conv1}C3-AvgPool2-{conv2}C3-AvgPool2-Flatten-{hidden}FC", spiking(), shape, classes)


def _set_surrogate(model: nn.Module, name: str | None) -> None:
    if name is not None:
        for module in model.modules():
            if isinstance(module, neuron.LIFNode):
                module.surrogate_function = getattr(surrogate, name)()


class Limit(Contender):
    """What no neuron can go below: the convolutions and matrix products of a network, and nothing else.

    Each layer gets the input that it has in a training step, once, and the step is its forward and its
    backward: no neurons, no pooling, no loss, no optimiser. Pictures lie with their channels innermost, and
    what is the same at every time step goes through the first layer once, as for the fused network.
    """

    def __init__(self, model: nn.Module, x: Tensor, y: Tensor) -> None:
        super().__init__(LIMIT, model, x, y)
        self.calls: list[tuple[nn.Module, Tensor, Tensor]] = []
        layers = [module for module in model.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
        hooks = [layer.register_forward_pre_hook(self._note) for layer in layers]
        with torch.no_grad():
            model(x)
        functional.reset_net(model)
        for hook in hooks:
            hook.remove()

    def _note(self, layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        series = given[0]
        images = series[0] if series.stride(0) == 0 else series.flatten(0, 1)
        images = channels_innermost(images) if images.ndim == 4 else images
        images = images.detach().clone(memory_format=torch.preserve_format)
        with torch.no_grad():
            gradient = torch.rand_like(_without_time(layer)(images))
        self.calls.append((layer, images.requires_grad_(bool(self.calls)), gradient))

    def train(self) -> None:
        """Run every layer forward and backward."""
        for layer, images, gradient in self.calls:
            wanted = [t for t in (images, *layer.parameters()) if t.requires_grad]
            torch.autograd.grad(_without_time(layer)(images), wanted, gradient)


def _without_time(layer: nn.Module) -> Any:
    """Return the layer's forward for [N, ...], whatever SpikingJelly makes of time."""
    return partial(nn.Conv2d.forward if isinstance(layer, nn.Conv2d) else nn.Linear.forward, layer)
