"""An ordinary network: outputs of its ReLUs are the traces, and all else is as for a spiking one."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import snnprune

EPOCHS = 10

digits = load_digits()
x = torch.from_numpy(digits.images / 16).float().unsqueeze(1)
y = torch.from_numpy(digits.target)
loader = DataLoader(TensorDataset(x[:1400], y[:1400]), 50, shuffle=True)

torch.manual_seed(0)
model = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
    nn.Flatten(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10),
)  # fmt: skip
optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
pruner = snnprune.Pruner(model, x[:1], "dpap", epochs=EPOCHS, target=0.6)
for _ in range(EPOCHS):
    for images, labels in loader:
        loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        pruner.step(optimizer)
    pruner.end_epoch()


@torch.no_grad()
def accuracy(net: nn.Module) -> float:
    """Return the share of the test digits that ``net`` knows."""
    return float((net.eval()(x[1400:]).argmax(1) == y[1400:]).float().mean())


rates, small = pruner.rates(), snnprune.compact(model, pruner.masks)
same = snnprune.verify(model, small, x[1400:])
print(f"pruned: {rates.synapses:.1%} of the weights, {rates.neurons:.1%} of the neurons and channels")
print(f"test accuracy: {accuracy(model):.1%} masked, {accuracy(small):.1%} compact")
print(f"compact and masked: outputs differ by {same.difference:.1e}, {same.flipped} activations flipped")
