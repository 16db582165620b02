"""What discovery finds in the networks that people have, at full width: the table of docs/networks.md.

    python -m benchmarks.networks.discovery [--only NAME ...]

A weight is removable where its row or its column belongs to a population that may be cut: it goes if all of
them go; halves show what to expect of a pruning. One column of the table is one entry of `COLUMNS`.
"""

from __future__ import annotations

import importlib
import math
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from spikingjelly.activation_based import functional, neuron, surrogate
from torch import nn

from benchmarks.harness import parser
from snnprune import compact, verify
from snnprune.config.schema import ModelConfig
from snnprune.network import Projection, Topology, discover
from snnprune.pruning import Masks
from snnprune.pruning.solver import columns_left, rows_left
from support.markdown import table

if TYPE_CHECKING:
    from collections.abc import Callable

STEPS = 4
SPIKING = "spikingjelly.activation_based.model"


@dataclass(frozen=True)
class Network:
    """One row: where it comes from, its arguments, the shape of a sample, whether it has a time axis.

    ``steps`` says whether its modules take that axis; otherwise it loops over time itself.
    """

    name: str
    module: str
    builder: str
    arguments: dict[str, Any]
    shape: tuple[int, ...]
    time: bool = True
    steps: bool = True

    def build(self) -> nn.Module:
        """Return the network, in multi-step mode where it has time."""
        net = getattr(importlib.import_module(self.module), self.builder)(**self.arguments)
        if self.time and self.steps:
            functional.set_step_mode(net, "m")
        return net

    def example(self) -> torch.Tensor:
        """Return one sample: [T, 1, ...] or [1, ...]."""
        return torch.rand(STEPS, 1, *self.shape) if self.time else torch.rand(1, *self.shape)


def _spiking(name: str, module: str, builder: str, shape: tuple[int, ...], **arguments: Any) -> Network:
    node = {"spiking_neuron": neuron.LIFNode, "surrogate_function": surrogate.ATan()}
    return Network(name, f"{SPIKING}.{module}", builder, {**node, **arguments}, shape)


def _plif(builder: str, shape: tuple[int, ...]) -> Network:
    return _spiking(builder, "parametric_lif_net", builder, shape, spiking_neuron=neuron.ParametricLIFNode)


def _paper(name: str, shape: tuple[int, int, int]) -> Network:
    chosen = {"config": ModelConfig(name), "shape": shape, "classes": 10}
    return Network(name, "snnprune.nn.models", "build", chosen, shape)


IMAGE = (3, 224, 224)
_HERE = "benchmarks.networks"
NETWORKS = (
    _paper("conv-snn", (2, 34, 34)),
    _paper("vgg-snn", (3, 32, 32)),
    _paper("mlp-snn", (1, 28, 28)),
    _paper("rsnn", (700, 1, 1)),
    _paper("wta-snn", (1, 28, 28)),
    _paper("rbm-snn", (1, 28, 28)),
    Network("linear containers", f"{_HERE}.recurrent", "container", {}, (700,)),
    Network("loop by hand", f"{_HERE}.recurrent", "ByHand", {}, (700,), steps=False),
    Network("SpikingLSTM, two layers", f"{_HERE}.recurrent", "LSTM", {}, (700,), steps=False),
    _spiking("spiking_vgg11_bn", "spiking_vgg", "spiking_vgg11_bn", IMAGE),
    *(
        _spiking(f"sew_resnet18, {function}", "sew_resnet", "sew_resnet18", IMAGE, cnf=function)
        for function in ("ADD", "AND", "IAND")
    ),
    _spiking("spiking_resnet18", "spiking_resnet", "spiking_resnet18", IMAGE),
    _spiking("ms_resnet18", "ms_resnet", "ms_resnet18", IMAGE, T=STEPS),
    _plif("NMNISTNet", (2, 34, 34)),
    _plif("DVSGestureNet", (2, 128, 128)),
    _plif("CIFAR10DVSNet", (2, 128, 128)),
    _spiking("spikformer_cifar10", "spikformer", "spikformer_cifar10", (3, 32, 32), T=STEPS),
    *(
        Network(f"{name} (ANN)", "torchvision.models", name, {}, IMAGE, time=False)
        for name in ("resnet18", "vgg16_bn", "mobilenet_v2")
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Found:
    """A network and what discovery read in it."""

    net: nn.Module
    example: torch.Tensor
    topology: Topology
    time: bool


def left(projection: Projection, topology: Topology, share: float) -> float:
    """Return the share of a projection's weights that is left with ``share`` of every free population."""
    units = {p.name: p.size * (1.0 if p.frozen else share) for p in topology.populations.values()}
    rows, columns = rows_left(projection, units), columns_left(projection, units)
    return rows * columns / (projection.shape[0] * projection.columns)


def gone(found: Found, cost: Callable[[Projection], int], share: float) -> str:
    """Return how much of a cost goes with all but ``share`` of every free population, in per cent."""
    projections = found.topology.projections.values()
    stays = sum(cost(p) * left(p, found.topology, share) for p in projections)
    return f"{100 - 100 * stays / sum(map(cost, projections)):.1f} %"


def weights(projection: Projection) -> int:
    return math.prod(projection.shape)


def macs(projection: Projection) -> int:
    return weights(projection) * projection.positions


def free(found: Found) -> str:
    populations, units = found.topology.free(), sum(p.size for p in found.topology.free())
    return f"{len(populations)} of {len(found.topology.populations)} ({units:,} units)"


def frozen(found: Found) -> str:
    """Return each reason once, with the populations that it holds for."""
    named = {
        p.name: re.sub(rf"\b{re.escape(p.name)}\b", "it", p.frozen)
        for p in found.topology.populations.values()
        if p.frozen is not None
    }
    shown: dict[str, str] = {}
    for name, reason in named.items():
        shown.setdefault(reason, f"`{name}`")
    times = Counter(named.values())
    return "; ".join(
        f"{first}{f' and {times[reason] - 1} more' if times[reason] > 1 else ''}: {reason}"
        for reason, first in shown.items()
    )


def compacted(found: Found) -> str:
    """Return how outputs and spikes differ once half of each free population is gone, in float64."""
    net, x = found.net.double(), found.example.double()
    if min(x.shape[-2:]) > 128:  # outputs agree or not at any size; costs are at full size
        x = x[..., :64, :64]
    x = x.repeat_interleave(2, 1 if found.time else 0)
    masks = Masks(net, found.topology)
    for population in found.topology.free():
        masks.keep_units(population, torch.arange(population.size) % 2 == 0)
    masks.refresh()
    awake(net, x, masks)
    agreement = verify(net, compact(net, masks), x)
    fired = f"{len(agreement.layers) - len(agreement.silent)} of {len(agreement.layers)} layers active"
    return f"{agreement.difference:.0e}, {agreement.flipped} flips, {fired}"


@torch.no_grad()
def awake(net: nn.Module, x: torch.Tensor, masks: Masks) -> None:
    """Make the masked network fire: as they are built, these hardly do, and silence would prove nothing."""
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.weight.fill_(2.0)
            module.momentum = 1.0
        elif isinstance(module, nn.Linear):
            module.weight.mul_(6.0)
    masks.apply()
    net.train()(x)
    functional.reset_net(net)
    masks.apply()
    net.eval()


COLUMNS: dict[str, Callable[[Found], str]] = {
    "populations free": free,
    "frozen, and why": frozen,
    "weights removable": lambda found: gone(found, weights, 0.0),
    "MACs removable": lambda found: gone(found, macs, 0.0),
    "weights gone with half of each": lambda found: gone(found, weights, 0.5),
    "MACs gone with half of each": lambda found: gone(found, macs, 0.5),
    "largest difference after compaction of half": compacted,
}


def row(network: Network) -> tuple[str, ...]:
    torch.manual_seed(0)
    try:
        net = network.build()
    except (ImportError, OSError) as why:
        return network.name, f"cannot be imported here: {why}", *[""] * (len(COLUMNS) - 1)
    example = network.example()
    found = Found(net, example, discover(net, example), network.time)
    return network.name, *(column(found) for column in COLUMNS.values())


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--only", nargs="+", default=[n.name for n in NETWORKS], help="names of rows")
    only = options.parse_args().only
    head = " | ".join(f":{title}" for title in ("network", *COLUMNS))
    print(table(head, (row(network) for network in NETWORKS if network.name in only)))


if __name__ == "__main__":
    main()
