"""Populations, projections and slots: the parts of a network that pruning needs.

Nothing here runs a network; `discovery` finds these parts by one real forward.
"""

from __future__ import annotations

import fnmatch
import itertools
import math
import textwrap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from snnprune.common.errors import UserError
from snnprune.config.names import nearest
from snnprune.network.places import SAMPLES_FIRST
from snnprune.network.runs import Run

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from snnprune.network.meetings import Example, Meeting
    from snnprune.network.places import Layout, Site

Role = Literal["out", "norm", "neuron", "in"]

UnitsKind = Literal["channels", "neurons", "heads", "head channels"]

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
        spread: neighbouring entries of a unit (H x W after a flatten, the channels of a head, else 1).
        repeats: how often all units come one after the other (the heads, for the channels inside heads).

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
    repeats: int = 1

    def run(self, population: Population) -> Run:
        """Return the entries of the axis as a run of ``population``, whose slot this is."""
        return Run(population.name, self.offset, population.size, self.spread, self.repeats)

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

    Where the network takes the rows of a layer apart into heads, the heads are one population, and the
    channels inside heads another one: such a channel dies in the same place of every head.

    Attributes:
        name: name of the first layer that writes into the population; with ".heads" or ".channels" where
            its rows are taken apart.
        size: number of units.
        kind: "channels" or "neurons"; "heads" and "head channels" where rows are taken apart.
        producers: names of all layers that write into the population (several before a residual add).
        slots: all places of all tensors that its units index.
        frozen: why the population is not prunable, or None.
        uncut: why its units can be masked, but no cut can remove them, or None.
        whole: whether every cut leaves it whole; otherwise a cut of those units that are silent is possible.
        contracted: whether its units are summed over in a product of activities, as the channels of queries
            and keys are: they are read there, beside the layers that read them.

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
    kind: UnitsKind
    producers: list[str] = field(default_factory=list)
    slots: list[Slot] = field(default_factory=list)
    frozen: str | None = None
    uncut: str | None = None
    whole: bool = False
    contracted: bool = False


@dataclass(frozen=True)
class Inflow(Run):
    """A run of a projection's input columns that one population fills.

    Examples:
        >>> from snnprune.network import Inflow
        >>> Inflow("conv2", offset=0, size=40, spread=25).stop  # 40 channels of 5 x 5 places, flattened
        1000
    """


@dataclass(frozen=True)
class Outflow(Run):
    """A run of a projection's output rows that one population owns.

    Examples:
        >>> from snnprune.network import Outflow
        >>> heads = Outflow("qkv.heads", offset=0, size=4, spread=8, repeats=3)  # of q, of k and of v
        >>> heads.stop
        96
    """


@dataclass
class Projection:
    """The synapses of one convolution or linear layer.

    Attributes:
        name: name of the module.
        kind: "conv" or "linear".
        inflow: the populations that fill its input columns. It is empty if they are unknown, and for a
            depthwise convolution, whose single column belongs to the unit itself.
        post: name of the population that it writes into; "" where its rows belong to heads and to the
            channels inside heads. What is asked of rows is asked of ``outflow``.
        shape: shape of the weight, [rows, columns, ...].
        positions: number of output positions of one sample over all time steps; MACs = weights x positions.
            Of synapses that feed back, and that an example of one step does not reach, those of one call.
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
        transposed: whether the weight's first two axes are the other way round, [columns, rows, ...].
        outflow: the populations that own its rows; a row is alive if its unit of each is.

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
    outflow: tuple[Outflow, ...] = ()

    def __post_init__(self) -> None:
        if not self.outflow:
            self.outflow = (Outflow(self.post, 0, self.shape[0]),)

    @property
    def axes(self) -> tuple[int, int]:
        """The weight's axes of the rows, and of the columns."""
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
        runs: of the populations on it.
    """

    axis: int
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class Number:
    """An integer in a module that follows numbers of units: it takes heads apart by it.

    Attributes:
        module: name of the module.
        attribute: name of the integer in the module.
        populations: whose sizes it is a product of.
        factor: further factor of the product.

    Examples:
        >>> from snnprune.network.topology import Number
        >>> Number("attention", "dim", ("q.heads", "q.channels")).value({"q.heads": 2, "q.channels": 8})
        16
    """

    module: str
    attribute: str
    populations: tuple[str, ...]
    factor: int = 1

    @property
    def key(self) -> str:
        """Name of the module and of the integer."""
        return f"{self.module}.{self.attribute}" if self.module else self.attribute

    def value(self, sizes: Mapping[str, int]) -> int:
        """Return what it is with numbers of units by population."""
        return self.factor * math.prod(sizes[name] for name in self.populations)


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
        numbers: integers in modules that follow the numbers of heads and of their channels.
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
    numbers: tuple[Number, ...] = ()
    aliases: dict[str, str] = field(default_factory=dict)
    meetings: dict[str, tuple[Meeting, ...]] = field(default_factory=dict, repr=False)
    example: Example | None = field(default=None, repr=False, compare=False)

    def free(self) -> list[Population]:
        """Populations that are prunable."""
        return [p for p in self.populations.values() if p.frozen is None]

    def incoming(self, population: str) -> list[Projection]:
        """Projections that write into ``population``."""
        return [p for p in self.projections.values() if any(o.population == population for o in p.outflow)]

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
        for o in projection.outflow:
            self.populations[o.population].frozen = self.populations[o.population].frozen or reason

    def __str__(self) -> str:
        rows = [("population", "size", "kind", "coupled with", "frozen because")]
        for p in self.populations.values():
            coupled = ", ".join(p.producers[1:]) or "-"
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
