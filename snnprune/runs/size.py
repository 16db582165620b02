"""The size of a network: what it has, and what is left of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from snnprune.runs.typed import Record

if TYPE_CHECKING:
    from snnprune.network.cost import Rates


@dataclass(frozen=True)
class Layer(Record):
    """Weights of one layer: those of the dense network, those left, and the share that is pruned."""

    dense: int
    left: int
    pruned: float


@dataclass(frozen=True)
class Size(Record):
    """What a network has, and what is left of it.

    Attributes:
        weights_dense: number of weights of all convolutions and linear layers.
        weights_left: number of weights that are not pruned.
        macs_dense: multiply-accumulates of one sample over all time steps.
        macs_left: the same over the weights left.
        layers: layers by name.
        neurons_left: [left, all] units of each population.

    Raises:
        ValueError: more is left than the dense network has, or the dense network is empty.
    """

    weights_dense: int
    weights_left: int
    macs_dense: int
    macs_left: int
    layers: dict[str, Layer]
    neurons_left: dict[str, tuple[int, int]]

    def __post_init__(self) -> None:
        weights = [
            (self.weights_left, self.weights_dense),
            *((e.left, e.dense) for e in self.layers.values()),
        ]
        units = list(self.neurons_left.values())
        for left, dense in (*weights, *units, (self.macs_left, self.macs_dense)):
            if not 0 <= left <= dense:
                raise ValueError(f"{left} of {dense} weights, MACs or units cannot be left")
        if not units or not all(dense for _, dense in (*weights, *units)):
            raise ValueError("it has a layer without weights, or no neurons")

    @classmethod
    def of(cls, rates: Rates) -> Size:
        """Return the numbers of ``rates``."""
        layers = {name: Layer(each.dense, each.left, each.pruned) for name, each in rates.layers.items()}
        neurons = {name: (int(left), int(dense)) for name, (left, dense) in rates.neurons_left.items()}
        return cls(
            rates.weights_dense, rates.weights_left, rates.macs_dense, rates.macs_left, layers, neurons
        )
