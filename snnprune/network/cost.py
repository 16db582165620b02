"""The cost of a network: weights and multiply-accumulates, dense and with masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from snnprune.network.topology import Topology


@dataclass(frozen=True)
class LayerCost:
    """Number of weights of one convolution or linear layer, without biases."""

    dense: int
    left: int

    @property
    def pruned(self) -> float:
        """Share of the layer's weights that is pruned, in [0, 1]."""
        return 1.0 - self.left / self.dense


@dataclass(frozen=True)
class Rates:
    """How much of a network is pruned, and what is left; rates are over all weights of synapses.

    These are the weights of convolutions and linear layers, and those of no layer (`Topology.others`).

    Attributes:
        layers: number of weights of each layer, unpruned layers included; what belongs to no layer has the
            name of its parameter.
        neurons_left: number of alive units and of all units of each population.
        macs_dense: multiply-accumulates of one sample over all time steps; border positions count like inner
            ones.
        macs_left: the same for the weights left.
    """

    layers: dict[str, LayerCost]
    neurons_left: dict[str, tuple[int, int]]
    macs_dense: int
    macs_left: int

    @property
    def weights_dense(self) -> int:
        """Weights of the dense network."""
        return sum(layer.dense for layer in self.layers.values())

    @property
    def weights_left(self) -> int:
        """Weights that are alive."""
        return sum(layer.left for layer in self.layers.values())

    @property
    def synapses(self) -> float:
        """Share of all weights that is pruned, in [0, 1]."""
        return 1.0 - self.weights_left / self.weights_dense

    @property
    def neurons(self) -> float:
        """Share of all neurons and channels that is pruned, in [0, 1]."""
        alive, size = (sum(column) for column in zip(*self.neurons_left.values(), strict=True))
        return 1.0 - alive / size

    def __str__(self) -> str:
        lines = [f"{'layer':20} {'weights left':>24}"]
        lines += [
            f"{name:20} {c.left:>11,} of {c.dense:>9,} ({c.pruned:.1%} pruned)"
            for name, c in self.layers.items()
        ]
        lines += [f"{'population':20} {'units left':>24}"]
        lines += [
            f"{name:20} {alive:>11,} of {size:>9,}" for name, (alive, size) in self.neurons_left.items()
        ]
        lines.append(
            f"pruned: {self.synapses:.1%} of all weights, {self.neurons:.1%} of all neurons and channels; "
            f"MACs a sample {self.macs_left:,} of {self.macs_dense:,}"
        )
        return "\n".join(lines)


def rates(
    topology: Topology,
    weights: Mapping[str, torch.Tensor] | None = None,
    units: Mapping[str, torch.Tensor] | None = None,
) -> Rates:
    """Count weights, units and MACs.

    Args:
        topology: topology of the network.
        weights: bool, shape of the weight, by projection, True where alive; a projection not named is whole.
        units: bool [size] by population, True where alive; a population not named is whole.
    """
    layers, macs_dense, macs_left = {}, 0, 0
    for p in topology.projections.values():
        dense = 1
        for size in p.shape:
            dense *= size
        alive = weights.get(p.name) if weights else None
        left = dense if alive is None else int(alive.sum())
        layers[p.name] = LayerCost(dense, left)
        macs_dense += dense * p.positions
        macs_left += left * p.positions
    for w in topology.others:
        layers[w.key] = LayerCost(w.size, w.size)
        macs_dense += w.macs
        macs_left += w.macs
    neurons = {}
    for name, population in topology.populations.items():
        alive = units.get(name) if units else None
        neurons[name] = (population.size if alive is None else int(alive.sum()), population.size)
    return Rates(layers, neurons, macs_dense, macs_left)
