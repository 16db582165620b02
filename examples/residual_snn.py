"""A residual spiking network in the way of SEW ResNet: what a residual add joins lives or dies together."""

import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn
from torch.utils.data import DataLoader, Subset

import snnprune
from snnprune.data import as_is, encode, load

EPOCHS = 6


def convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Return a convolution, its norm and its neurons."""
    conv = layer.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    return nn.Sequential(conv, layer.BatchNorm2d(outputs), neuron.LIFNode(decay_input=False))


class Block(nn.Module):
    """Spikes in, spikes of two convolutions added to them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.one, self.two = convolution(channels, channels), convolution(channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add the activity of both convolutions to ``x``."""
        return x + self.two(self.one(x))


torch.manual_seed(0)
config = snnprune.DataConfig("digits-events", time_steps=5)
data = load(config)
loader = DataLoader(Subset(data.train, range(400)), 20, shuffle=True, collate_fn=as_is)
test = encode(next(iter(DataLoader(data.test, 50, collate_fn=as_is)))[0], config)
head = layer.AdaptiveAvgPool2d(1), layer.Flatten(), layer.Linear(32, 10)
model = nn.Sequential(convolution(2, 16, 3), Block(16), convolution(16, 32, 2), Block(32), *head)
functional.set_step_mode(model, "m")

optimizer = torch.optim.Adam(model.parameters(), 5e-3)
pruner = snnprune.Pruner(model, test[:, :1], "dpap", epochs=EPOCHS, target=0.5)
print(pruner.topology)
for _ in range(EPOCHS):
    for frames, labels in loader:
        loss = nn.functional.cross_entropy(model(encode(frames, config)).mean(0), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        pruner.step(optimizer)
        functional.reset_net(model)
    pruner.end_epoch()

rates, same = pruner.rates(), snnprune.verify(model, snnprune.compact(model, pruner.masks), test)
print(f"pruned: {rates.synapses:.1%} of the weights, {rates.neurons:.1%} of the neurons and channels")
print(f"compact and masked: outputs differ by {same.difference:.1e}, {same.flipped} spikes flipped")
