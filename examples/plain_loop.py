"""A SpikingJelly network in a plain loop: what pruning adds are the lines 1, 2 and 3."""

from functools import partial

import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn
from torch.utils.data import DataLoader, Subset

import snnprune
from snnprune.data import as_is, encode, load

EPOCHS = 6

torch.manual_seed(0)
config = snnprune.DataConfig("digits-events", time_steps=5)
data = load(config)
loader = DataLoader(Subset(data.train, range(400)), 20, shuffle=True, collate_fn=as_is)
frames, test_labels = next(iter(DataLoader(data.test, len(data.test), collate_fn=as_is)))
test = encode(frames, config)  # [T, B, 2, 34, 34], as float

lif = partial(neuron.LIFNode, decay_input=False)
model = nn.Sequential(
    layer.Conv2d(2, 16, 5, stride=3, bias=False), layer.BatchNorm2d(16), lif(),
    layer.Conv2d(16, 32, 3, bias=False), layer.BatchNorm2d(32), lif(), layer.MaxPool2d(2),
    layer.Flatten(), layer.Linear(512, 64), lif(), layer.Linear(64, 10), lif(),
)  # fmt: skip
functional.set_step_mode(model, "m")
optimizer = torch.optim.Adam(model.parameters(), 2e-3)

pruner = snnprune.Pruner(model, test[:, :1], "dpap", epochs=EPOCHS, target=0.6)  # 1
for _ in range(EPOCHS):
    for frames, labels in loader:
        loss = nn.functional.cross_entropy(model(encode(frames, config)).mean(0), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        pruner.step(optimizer)  # 2
        functional.reset_net(model)
    pruner.end_epoch()  # 3


@torch.no_grad()
def accuracy(net: nn.Module) -> float:
    """Return the share of the test recordings that ``net`` knows."""
    functional.reset_net(net.eval())
    return float((net(test).mean(0).argmax(1) == test_labels).float().mean())


rates, small = pruner.rates(), snnprune.compact(model, pruner.masks)
same = snnprune.verify(model, small, test)
print(f"pruned: {rates.synapses:.1%} of the weights, {rates.neurons:.1%} of the neurons and channels")
print(f"test accuracy: {accuracy(model):.1%} masked, {accuracy(small):.1%} compact")
print(f"compact and masked: outputs differ by {same.difference:.1e}, {same.flipped} spikes flipped")
