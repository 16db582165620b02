"""A LightningModule that knows nothing of pruning: one line more, the callback of its Trainer."""

import lightning
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

import snnprune
from snnprune.data import encode, load


class Classifier(lightning.LightningModule):
    """A fully connected network in multi-step mode: recordings [T, B, 2, 34, 34] to spikes [T, B, 10]."""

    def __init__(self) -> None:
        super().__init__()
        lif = {"decay_input": False, "step_mode": "m"}
        self.model = nn.Sequential(
            layer.AvgPool2d(2, step_mode="m"), nn.Flatten(2), nn.Linear(578, 128), neuron.LIFNode(**lif),
            nn.Linear(128, 128), neuron.LIFNode(**lif), nn.Linear(128, 10), neuron.LIFNode(**lif),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Return rates [B, 10], from rest."""
        functional.reset_net(self.model)
        return self.model(x).mean(0)

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        """Return the loss."""
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimiser."""
        return torch.optim.Adam(self.parameters(), 2e-3)


lightning.seed_everything(0, verbose=False)
config = snnprune.DataConfig("digits-events", time_steps=5)
data, task = load(config), Classifier()
ready = {"collate_fn": lambda batch: (encode(batch[0], config), batch[1])}  # time first, as float
loader = DataLoader(Subset(data.train, range(400)), 20, shuffle=True, **ready)
pruning = snnprune.PruningCallback("dpap", target=0.6, compact_every=2)
quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
trainer = lightning.Trainer(max_epochs=6, callbacks=[pruning], accelerator="cpu", logger=False, **quiet)
trainer.fit(task, loader)

net, pruner, rates = task.model, pruning.pruner, pruning.pruner.rates()
small = snnprune.compact(net, pruner.masks)  # without what no cut of every second epoch has taken out yet
[(test, labels)] = DataLoader(data.test, len(data.test), **ready)
sizes = [sum(p.numel() for p in model.parameters()) for model in (Classifier(), net, small)]
same = snnprune.verify(net, small, test)
print(f"pruned: {rates.synapses:.1%} of the weights, {rates.neurons:.1%} of the neurons and channels")
print("parameters: {:,} at first, {:,} after training, {:,} compact".format(*sizes))
print(f"compact and masked: outputs differ by {same.difference:.1e}, {same.flipped} spikes flipped")
