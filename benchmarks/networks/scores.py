"""What a score is worth in each layer of a recurrent network: a table of docs/recurrent.md.

    python -m benchmarks.networks.scores [--seed N]

The network of configs/bench/spoken-digits.yaml learns for three epochs, unpruned. Then one layer at a time
loses half of its synapses, those with the lowest scores, and answers the validation set without training on.
The last columns say what DPAP's score (with its own tau) holds: the share of its square that lies in one
outer product, its correlation with the sizes of the weights, and the share of units that it would leave
without inputs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from spikingjelly.activation_based import functional
from torch.nn.functional import cross_entropy

from benchmarks.harness import parser
from snnprune import DataConfig, ModelConfig, RunConfig, TrainConfig, data, discover
from snnprune.dpap import BCM
from snnprune.nn.run_network import build_network
from snnprune.pruning import TraceRecorder, is_prunable
from support.markdown import table

if TYPE_CHECKING:
    from torch import Tensor, nn

    from snnprune import Splits

EPOCHS = 3
SHARE = 0.5
TAUS = (0.5, 0.9, 1.0)


def scores(net: nn.Module, x: Tensor) -> Tensor:
    """Return the readout's mean potential [B, K] for frames [B, T, P, H, W]."""
    functional.reset_net(net)
    y: Tensor = net(x.float().transpose(0, 1)).mean(0)
    return y


@torch.no_grad()
def accuracy(net: nn.Module, splits: Splits) -> float:
    """Return validation accuracy in per cent."""
    net.eval()
    right = [(scores(net, x).argmax(1) == y).sum() for x, y in splits.validation.batches(200)]
    return 100 * float(sum(right)) / len(splits.validation)


def learn(net: nn.Module, splits: Splits, seed: int) -> dict[str, dict[str, Tensor]]:
    """Train, and return the last epoch's BCM by column of the table and layer."""
    frames = next(splits.train.batches(2))[0].float().transpose(0, 1)
    topology = discover(net, frames)
    watched = {tau: (TraceRecorder(net, topology, tau), BCM(tau)) for tau in TAUS}
    optimiser, batch = torch.optim.Adam(net.parameters(), 5e-3), 0
    for epoch in range(EPOCHS):
        net.train()
        for _, criterion in watched.values():
            criterion.end_epoch()
        order = torch.randperm(len(splits.train), generator=torch.Generator().manual_seed(100 * seed + epoch))
        for chosen in order.split(50):
            x, y = splits.train.__getitems__(chosen.tolist())
            optimiser.zero_grad()
            cross_entropy(scores(net, x), y).backward()
            optimiser.step()
            batch += 1
            for recorder, criterion in watched.values():
                for name, activity in recorder.batch().items():
                    criterion.observe(topology.projections[name], activity, batch)
    found: dict[str, dict[str, Tensor]] = {f"DPAP, tau {tau}": {} for tau in TAUS}
    found |= {"magnitude": {}, "random": {}}
    dice = torch.Generator().manual_seed(seed)
    for p in filter(is_prunable, topology.projections.values()):
        weight = net.get_parameter(p.weight).detach()
        for tau, (_, criterion) in watched.items():
            found[f"DPAP, tau {tau}"][p.weight] = criterion.state[p.name]["sum"]
        found["magnitude"][p.weight] = weight.abs()
        found["random"][p.weight] = torch.rand(weight.shape, generator=dice)
    for recorder, _ in watched.values():
        recorder.close()
    return found


def halved(net: nn.Module, splits: Splits, key: str, score: Tensor) -> float:
    """Return the accuracy without half of a layer's synapses."""
    weight = net.get_parameter(key)
    whole = weight.detach().clone()
    lowest = score.flatten().argsort(stable=True)[: int(SHARE * score.numel())]
    with torch.no_grad():
        weight.view(-1)[lowest] = 0
        left = accuracy(net, splits)
        weight.copy_(whole)
    return left


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--seed", type=int, default=0)
    seed: int = arguments.parse_args().seed
    config = RunConfig(
        DataConfig("synthetic-spoken-digits", time_steps=50, bin="14ms", size="70x1"),
        ModelConfig("rsnn"),
        train=TrainConfig(seed=seed),
    )
    splits = data.read(config.data)
    net = build_network(config, splits.shape, len(splits.classes))
    found = learn(net, splits, seed)
    print(f"unpruned {accuracy(net, splits):.1f}")
    rows = []
    for key in found["magnitude"]:
        score = found[f"DPAP, tau {TAUS[0]}"][key]
        singular = torch.linalg.svdvals(score.double()).square()
        cells = [f"{halved(net, splits, key, of[key]):.1f}" for of in found.values()]
        both = torch.stack([score.flatten(), found["magnitude"][key].flatten()])
        left = score.flatten().argsort(stable=True).argsort().view_as(score) >= int(SHARE * score.numel())
        told = (singular[0] / singular.sum(), torch.corrcoef(both)[0, 1], 1 - left.any(1).float().mean())
        rows.append([f"`{key}`", *cells, *(f"{float(number):.2f}" for number in told)])
    said = "one outer product | correlation with the weight's size | units without inputs"
    print(table(f":layer | {' | '.join(found)} | {said}", rows))


if __name__ == "__main__":
    main()
