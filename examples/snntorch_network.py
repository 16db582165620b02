"""A network of another library: snntorch's neurons are made known with neurons=(snntorch.Leaky,)."""

import torch
from torch import nn
from torch.utils.data import DataLoader, Subset

from snnprune import DataConfig, Pruner, compact, verify
from snnprune.data import as_is, encode, load

try:
    import snntorch
except ImportError:
    raise SystemExit("this example needs snntorch: pip install snntorch") from None

EPOCHS, LEAKY = 6, (snntorch.Leaky,)


class Network(nn.Module):
    """Recordings [T, B, 2, 34, 34] to spikes [T, B, 10], with the loop over time inside of it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.lif1 = nn.Conv2d(2, 16, 5, stride=3), snntorch.Leaky(0.5)
        self.hidden, self.lif2 = nn.Linear(1600, 64), snntorch.Leaky(0.5)
        self.out, self.lif3 = nn.Linear(64, 10), snntorch.Leaky(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Show the frames one by one."""
        spikes, one, two, three = [], *(lif.init_leaky() for lif in (self.lif1, self.lif2, self.lif3))
        for frame in x:
            seen, one = self.lif1(self.conv(frame), one)
            thought, two = self.lif2(self.hidden(seen.flatten(1)), two)
            said, three = self.lif3(self.out(thought), three)
            spikes.append(said)
        return torch.stack(spikes)


torch.manual_seed(0)
config = DataConfig("digits-events", time_steps=5)
data = load(config)
loader = DataLoader(Subset(data.train, range(400)), 20, shuffle=True, collate_fn=as_is)
test = encode(next(iter(DataLoader(data.test, 50, collate_fn=as_is)))[0], config)

model = Network()
optimizer = torch.optim.Adam(model.parameters(), 2e-3)
pruner = Pruner(model, test[:, :1], "dpap", epochs=EPOCHS, target=0.6, neurons=LEAKY)
for _ in range(EPOCHS):
    for frames, labels in loader:
        loss = nn.functional.cross_entropy(model(encode(frames, config)).mean(0), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        pruner.step(optimizer)
    pruner.end_epoch()

rates, same = pruner.rates(), verify(model, compact(model, pruner.masks), test, neurons=LEAKY)
print(f"pruned: {rates.synapses:.1%} of the weights, {rates.neurons:.1%} of the neurons and channels")
print(f"compact and masked: outputs differ by {same.difference:.1e}, {same.flipped} spikes flipped")
