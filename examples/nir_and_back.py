"""Trained in snntorch, pruned by snnprune, evaluated in snntorch: a network goes as NIR, and comes back."""

import json
import tempfile
from pathlib import Path

import torch
from torch import nn

from snnprune import DataConfig, cli, data

try:
    import nir
    import snntorch
    from snntorch import export_nir, import_nir, utils
except ImportError:
    raise SystemExit("this example needs snntorch and nir: pip install snntorch 'snnprune[export]'") from None

torch.manual_seed(0)
digits = data.load(DataConfig("digits-events", time_steps=5))


def neurons(units: int) -> snntorch.Leaky:
    """Neurons as NIR has them, which are reset to zero, at once."""
    own = {"beta": torch.full((units,), 0.5), "threshold": torch.full((units,), 1.0)}
    return snntorch.Leaky(**own, reset_mechanism="zero", reset_delay=False, init_hidden=True)


def rates(net: nn.Module, frames: torch.Tensor) -> torch.Tensor:
    """Show recordings [B, T, P, H, W], and return how often each output spikes."""
    utils.reset(net)
    out = [net(frame) for frame in frames.transpose(0, 1).float()]
    return torch.stack([one[0] if isinstance(one, tuple) else one for one in out]).mean(0)


@torch.no_grad()
def accuracy(net: nn.Module) -> float:
    """Return the share of right answers."""
    frames, labels = next(digits.test.batches(len(digits.test)))
    return (rates(net, frames).argmax(1) == labels).float().mean().item()


net = nn.Sequential(nn.Flatten(), nn.Linear(2312, 100), neurons(100), nn.Linear(100, 10), neurons(10))
optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
for _ in range(3):
    for frames, labels in digits.train.batches(50):
        optimizer.zero_grad()
        (rates(net, frames) - nn.functional.one_hot(labels, 10)).square().sum(1).mean().backward()
        optimizer.step()
print(f"trained in snntorch: test accuracy {accuracy(net):.1%}")
with tempfile.TemporaryDirectory() as place:
    file, run, asked = f"{place}/net.nir", f"{place}/run", "--data.name digits-events --data.time_steps 5"
    nir.write(file, export_nir.export_to_nir(net, torch.zeros(1, 2, 34, 34), ignore_dims=[0]))
    cli.main(f"train --init {file} {asked} --method.target 0.8 --train.twin false --out {run}".split())
    cli.main(f"export {run} --to nir --out {file}".split())
    summary = json.loads(Path(run, "summary.json").read_text())
    small = accuracy(import_nir.import_from_nir(nir.read(file)))
print(f"pruned: {summary['pruning_rate']:.1%} of the weights", end="; ")
print(f"test accuracy {summary['accuracy']:.1%} in snnprune, {small:.1%} in snntorch")
