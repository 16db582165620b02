"""Populations, projections and slots: the parts of a network that pruning needs.

Nothing here runs a network; `discovery` finds these parts by one real forward.
"""

from __future__ import annotations

import fnmatch
import itertools
import textwrap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from snnprune.common.errors import UserError
from snnprune.config.names import nearest
from snnprune.network.places import SAMPLES_FIRST

if TYPE_CHECKING:
    from collections.abc import Iterable

    from snnprune.network.meetings import Example, Meeting
    from snnprune.network.places import Layout, Site

Role = Literal["out", "norm", "neuron", "in"]

OUTPUT = "it is the output of the network"
"""Why the units of the output cannot be pruned."""


@dataclass(frozen=True)
class Slot:
    """A place of one tensor that the units of a population index.

    Attributes:
        module: name of the module, "" for the network itself.
        tensor: name of the parameter or buffer in the module.
        axis: the axis of the tensor that units index.
        role: "out": rows that produce the units; "norm" and "neuron": values per unit; "in": columns of a
            layer that reads the units.
        offset: first entry of the population on that axis (above 0 after a concatenation).
        spread: entries per unit (H x W after a flatten, else 1).

    Examples:
        >>> from snnprune.network import Slot
        >>> Slot("conv2", "weight", axis=0, role="out").key
        'conv2.weight'
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

    @property
    def dies(self) -> bool:
        """Whether the entries of a dead unit are zero: a neuron is silent without input for any constants."""
        return self.role != "neuron" and self.tensor != "running_var"


@dataclass
class Population:
    """Units of one layer, or of several coupled layers: units of a linear layer, channels of a convolution.

    Attributes:
        name: name of the first layer that writes into the population.
        size: number of units.
        kind: "channels" or "neurons".
        producers: names of all layers that write into the population (several before a residual add).
        slots: all places of all tensors that its units index.
        frozen: why the population is not prunable, or None.
        uncut: why its units can be masked, but no cut can remove them, or None.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import snnprune
        >>> model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(16, 4)
        >>> population = snnprune.discover(model, x).populations["0"]
        >>> population.size, population.kind, [slot.key for slot in population.slots]
        (8, 'neurons', ['0.weight', '0.bias', '2.weight'])
    """

    name: str
    size: int
    kind: Literal["channels", "neurons"]
    producers: list[str] = field(default_factory=list)
    slots: list[Slot] = field(default_factory=list)
    frozen: str | None = None
    uncut: str | None = None


@dataclass(frozen=True)
class Inflow:
    """A run of a projection's input columns that one population fills.

    Attributes:
        population: name of the population.
        offset: first column.
        size: units of the population.
        spread: columns per unit.

    Examples:
        >>> from snnprune.network import Inflow
        >>> Inflow("conv2", offset=0, size=40, spread=25).stop  # 40 channels of 5 x 5 places, flattened
        1000
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
        name: name of the module.
        kind: "conv" or "linear".
        inflow: the populations that fill its input columns. It is empty if they are unknown, and for a
            depthwise convolution, whose single column belongs to the unit itself.
        post: name of the population that it writes into.
        shape: shape of the weight, [post, columns, ...].
        positions: number of output positions of one sample over all time steps; MACs = weights x positions.
        neuron: name of the module whose output is the post activity (None: no neuron reads the projection).
        frozen: why its synapses are not prunable, or None.
        site: where in the neuron's output the post activity is.
        layout: where samples and time are in its input.
        calls: how often it is called in a forward of the example.
        loops: how many time steps these calls are, where it is called step by step; 1 otherwise.
        starts: at how many of the first time steps it is not called: a recurrent layer may be left out while
            there are no spikes yet.
        lag: how many time steps after its call what it says reaches its neuron.
        output: whether it writes into the network's output, whose units stay; its synapses may die where a
            method asks for that.
        transposed: whether the weight's first two axes are the other way round, [columns, post, ...].

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import snnprune
        >>> model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(16, 4)
        >>> projection = snnprune.discover(model, x).projections["2"]
        >>> projection.weight, projection.shape, projection.columns, projection.output
        ('2.weight', (2, 8), 8, True)
    """

    name: str
    kind: Literal["conv", "linear"]
    inflow: tuple[Inflow, ...]
    post: str
    shape: tuple[int, ...]
    positions: int
    neuron: str | None = None
    frozen: str | None = None
    site: Site | None = None
    layout: Layout = SAMPLES_FIRST
    calls: int = 1
    loops: int = 1
    starts: int = 0
    lag: int = 0
    output: bool = False
    transposed: bool = False

    @property
    def axes(self) -> tuple[int, int]:
        """The weight's axes of the units that it writes into, and of the columns."""
        return (1, 0) if self.transposed else (0, 1)

    @property
    def weight(self) -> str:
        """The weight's name in the network's state_dict."""
        return f"{self.name}.weight" if self.name else "weight"

    @property
    def columns(self) -> int:
        """Number of input columns (channels of a convolution, inputs of a linear layer)."""
        return self.shape[1]


@dataclass(frozen=True)
class Weights:
    """Weights of no projection: of a recurrent layer, inside a neuron, or used without a layer of their own.

    Attributes:
        key: name of the parameter in the network's state_dict.
        size: number of weights. All of them stay.
        macs: multiply-accumulates of one sample over all time steps.
    """

    key: str
    size: int
    macs: int


@dataclass(frozen=True)
class Handed:
    """Where the channels of one tensor of the network's output are.

    Attributes:
        axis: of the channels, counted from the end.
        runs: the populations that fill it, in order, each with the number of entries of a unit.
    """

    axis: int
    runs: tuple[tuple[str, int], ...]


@dataclass
class Topology:
    """Populations and projections of one network, by name, in the order of the forward.

    Attributes:
        populations: by name.
        projections: by name.
        unreached: names of convolutions and linear layers that the forward did not call.
        look: the operation by which Python saw values that are others with every input, so that other inputs
            may go other ways; None where there was none.
        fixed: names of layers whose weight does not learn (``requires_grad`` is False), while others do.
        others: weights that no projection holds. They count in rates and targets, and none of them is pruned.
        handed: for each tensor of the network's output, where its channels are; None where that is not known.
            A neuron's state that is handed out beside the activity becomes smaller with its population.
        aliases: further names of tensors that a slot names.
        meetings: what norms and neurons were given in the forward, by the name of the module.
        example: what the network was asked with; None in a topology that was made by hand.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import snnprune
        >>> model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(16, 4)
        >>> topology = snnprune.discover(model, x)
        >>> [population.name for population in topology.free()], topology.projections["2"].shape
        (['0'], (2, 8))
    """

    populations: dict[str, Population]
    projections: dict[str, Projection]
    unreached: tuple[str, ...] = ()
    look: str | None = None
    fixed: tuple[str, ...] = ()
    others: tuple[Weights, ...] = ()
    handed: tuple[Handed | None, ...] = ()
    aliases: dict[str, str] = field(default_factory=dict)
    meetings: dict[str, tuple[Meeting, ...]] = field(default_factory=dict, repr=False)
    example: Example | None = field(default=None, repr=False, compare=False)

    def free(self) -> list[Population]:
        """Populations that are prunable."""
        return [p for p in self.populations.values() if p.frozen is None]

    def incoming(self, population: str) -> list[Projection]:
        """Projections that write into ``population``."""
        return [p for p in self.projections.values() if p.post == population]

    def outgoing(self, population: str) -> list[Projection]:
        """Projections that read ``population``."""
        return [p for p in self.projections.values() if any(i.population == population for i in p.inflow)]

    def protect(self, patterns: Iterable[str] = (), *, first: bool = False) -> None:
        """Keep layers whole: neither their units nor their synapses are pruned.

        Args:
            patterns: names of layers, or globs such as "blocks.0.*".
            first: whether to keep the first layer of the network whole, too.

        Raises:
            UserError: a pattern matches no layer.
        """
        chosen = {pattern: fnmatch.filter(self.projections, pattern) for pattern in patterns}
        for pattern, names in chosen.items():
            if not names:
                raise UserError(f"no layer is called '{pattern}': {nearest(pattern, self.projections)}")
        reasons = {
            name: f"it is excluded by '{pattern}'" for pattern, names in chosen.items() for name in names
        }
        if first:
            reasons[next(iter(self.projections))] = "the first layer is protected"
        for name, reason in reasons.items():
            self._keep(name, reason)

    def keep_fixed(self) -> None:
        """Keep layers that do not learn as they are: neither rows nor columns of their weights are pruned."""
        for name in self.fixed:
            reason = f"the weight of {name} does not learn (requires_grad is False)"
            self._keep(name, reason)
            for i in self.projections[name].inflow:
                self.populations[i.population].frozen = self.populations[i.population].frozen or reason

    def _keep(self, name: str, reason: str) -> None:
        projection = self.projections[name]
        projection.frozen = projection.frozen or reason
        population = self.populations[projection.post]
        population.frozen = population.frozen or reason

    def __str__(self) -> str:
        rows = [("population", "size", "kind", "coupled with", "frozen because")]
        for p in self.populations.values():
            coupled = ", ".join(n for n in p.producers if n != p.name) or "-"
            rows.append((p.name, str(p.size), p.kind, coupled, p.frozen or "-"))
        widths = [min(max(len(row[i]) for row in rows), _WIDEST) for i in range(4)]
        lines = [line for row in rows for line in _wrapped(row, widths)]
        lines.insert(1, "  ".join("-" * w for w in [*widths, len(rows[0][4])]))
        if self.others:
            listed = ", ".join(f"{w.key} ({w.size:,})" for w in self.others)
            lines.append(f"weights of no layer, which are counted and kept whole: {listed}")
        lines += [
            f"{p.name} can be masked, but not removed by a cut: {p.uncut}" for p in self.free() if p.uncut
        ]
        if self.unreached:
            lines.append(f"never reached by this forward: {', '.join(self.unreached)}")
        if self.look:
            lines.append(f"which way an input goes depends on values ({self.look}); this example shows one")
        if self.fixed:
            lines.append(f"do not learn, and are kept whole in training: {', '.join(self.fixed)}")
        return "\n".join(lines)


_WIDEST = 40


def _wrapped(row: tuple[str, ...], widths: list[int]) -> list[str]:
    """Return a row as lines: cells that are wider than their column are wrapped, except the last one."""
    cells = [textwrap.wrap(c, w) or [""] for c, w in zip(row, widths, strict=False)]
    cells.append([row[-1]])
    table = itertools.zip_longest(*cells, fillvalue="")
    return [
        "  ".join([*(c.ljust(w) for c, w in zip(r, widths, strict=False)), r[-1]]).rstrip() for r in table
    ]
