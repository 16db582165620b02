"""The size of a network: what it has, and what is left of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from snnprune.runs.typed import Record

if TYPE_CHECKING:
    from snnprune.network.cost import Rates


@dataclass(frozen=True)
class Layer(Record):
    """Weights of one layer: of the dense network, those left, and the share that is pruned."""

    dense: int
    left: int
    pruned: float


@dataclass(frozen=True)
class Size(Record):
    """What a network has, and what is left of it.

    Attributes:
        weights_dense: of all convolutions and linear layers.
        weights_left: those that are alive.
        macs_dense: multiply-accumulates of one sample over all time steps.
        macs_left: the same over the weights left.
        layers: by name.
        neurons_left: [left, all] of the units of each population.

    Raises:
        ValueError: more is left than there was, or there was nothing.
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
        """Return what ``rates`` says, in plain numbers."""
        layers = {name: Layer(each.dense, each.left, each.pruned) for name, each in rates.layers.items()}
        neurons = {name: (int(left), int(dense)) for name, (left, dense) in rates.neurons_left.items()}
        return cls(
            rates.weights_dense, rates.weights_left, rates.macs_dense, rates.macs_left, layers, neurons
        )
