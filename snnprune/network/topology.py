"""Populations, projections and slots: what a network is made of, in words that pruning needs.

Nothing here runs a network; `discovery` fills these in by one real forward.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Role = Literal["out", "norm", "neuron", "in"]


@dataclass(frozen=True)
class Slot:
    """A place of one tensor that the units of a population index.

    Attributes:
        module: name of the module, "" for the network itself.
        tensor: name of the parameter or buffer in the module.
        axis: the axis of the tensor that units index.
        role: "out" rows that produce the units, "norm" and "neuron" values per unit, "in" columns of a
            consumer.
        offset: first entry of the population on that axis (above 0 behind a concatenation).
        spread: entries per unit (H x W behind a flatten, else 1).
    """

    module: str
    tensor: str
    axis: int
    role: Role
    offset: int = 0
    spread: int = 1

    @property
    def key(self) -> str:
        """The tensor's name in the network's state_dict."""
        return f"{self.module}.{self.tensor}" if self.module else self.tensor


@dataclass
class Population:
    """Neurons that live or die together: units of a linear layer, channels of a convolution.

    Attributes:
        name: the first layer that produces it.
        size: number of units.
        kind: "channels" or "neurons".
        producers: every layer that writes into it (several behind a residual add).
        slots: every place of every tensor that its units index.
        frozen: why it may not be cut, or None.
    """

    name: str
    size: int
    kind: Literal["channels", "neurons"]
    producers: list[str] = field(default_factory=list)
    slots: list[Slot] = field(default_factory=list)
    frozen: str | None = None


@dataclass(frozen=True)
class Inflow:
    """A run of a projection's input columns that one population fills.

    Attributes:
        population: its name.
        offset: first column.
        size: units of the population.
        spread: columns per unit.
    """

    population: str
    offset: int
    size: int
    spread: int

    @property
    def stop(self) -> int:
        """One past the last column."""
        return self.offset + self.size * self.spread


@dataclass
class Projection:
    """The synapses of one convolution or linear layer.

    Attributes:
        name: the module.
        kind: "conv" or "linear".
        inflow: who fills its input columns; empty where that is not known.
        post: the population that it writes into.
        shape: of the weight, [post, columns, ...].
        positions: output positions of one sample over all time steps: MACs = weights x positions.
        neuron: the module whose output is the post activity (None: no neuron reads it).
        frozen: why its synapses may not be cut, or None.
    """

    name: str
    kind: Literal["conv", "linear"]
    inflow: tuple[Inflow, ...]
    post: str
    shape: tuple[int, ...]
    positions: int
    neuron: str | None = None
    frozen: str | None = None

    @property
    def weight(self) -> str:
        """The weight's name in the network's state_dict."""
        return f"{self.name}.weight" if self.name else "weight"

    @property
    def columns(self) -> int:
        """Number of input columns (channels of a convolution, inputs of a linear layer)."""
        return self.shape[1]


@dataclass
class Topology:
    """Populations and projections of one network, by name, in the order of the forward."""

    populations: dict[str, Population]
    projections: dict[str, Projection]

    def free(self) -> list[Population]:
        """Populations that may be cut."""
        return [p for p in self.populations.values() if p.frozen is None]

    def incoming(self, population: str) -> list[Projection]:
        """Projections that write into ``population``."""
        return [p for p in self.projections.values() if p.post == population]

    def outgoing(self, population: str) -> list[Projection]:
        """Projections that read ``population``."""
        return [p for p in self.projections.values() if any(i.population == population for i in p.inflow)]

    def __str__(self) -> str:
        rows = [("population", "size", "kind", "coupled with", "frozen because")]
        for p in self.populations.values():
            coupled = ", ".join(n for n in p.producers if n != p.name) or "-"
            rows.append((p.name, str(p.size), p.kind, coupled, p.frozen or "-"))
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        lines = [
            "  ".join([*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[4]]) for row in rows
        ]
        return "\n".join([lines[0], "  ".join("-" * w for w in widths), *lines[1:]])
