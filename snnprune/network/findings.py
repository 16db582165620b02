"""What is known of a network while one forward of it is watched: populations, synapses, axes of tensors."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from snnprune.network.provenance import Provenance
from snnprune.network.units import Units

if TYPE_CHECKING:
    import torch
    from torch import nn

    from snnprune.network.axes import Axis, Met, Span
    from snnprune.network.leaves import Kind
    from snnprune.network.places import Site
    from snnprune.network.products import Products


@dataclass
class Synapses:
    """A projection while the forward runs.

    Attributes:
        kind: of layer.
        module: the layer.
        population: that it writes into.
        entries: of its outputs, call by call.
        neuron: the first module that reads it as activity.
        site: where in that module's output.
        behind: what comes before it there.
        tied: each unit's synapses come from the unit itself (a depthwise convolution).
        later: entries of its outputs in further forwards, by their number, where that of the example does not
            call it.
    """

    kind: Kind
    module: Any
    population: int
    entries: list[int] = field(default_factory=list)
    neuron: str | None = None
    site: Site | None = None
    behind: tuple[Span, ...] = ()
    tied: bool = False
    later: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))


@dataclass(frozen=True)
class Call:
    """One call of a leaf in the forward of the example.

    Attributes:
        name: of the leaf.
        x: the input that holds the channels.
        position: which of the input tensors it is.
        dim: axis of its channels, counted from the end; None where that is not known.
        args: all that the leaf was given.
        kwargs: the same.
        keeps_shape: whether its first output has the shape of ``x``.
        handed: number of tensors that it returned.
    """

    name: str
    x: torch.Tensor
    position: int
    dim: int | None
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    keeps_shape: bool
    handed: int


@dataclass(frozen=True)
class Values:
    """A parameter or buffer of a neuron that has several entries.

    Attributes:
        neuron: its name.
        tensor: name of the parameter or buffer in the neuron.
        shape: of the tensor.
        dims: its axes that are as long as the channels.
        fits: whether its shape alone would say that it has a value for each unit.
        axis: of the channels in the neuron's input.
    """

    neuron: str
    tensor: str
    shape: tuple[int, ...]
    dims: tuple[int, ...]
    fits: bool
    axis: Axis


@dataclass
class Findings:
    """What a forward has shown so far.

    Attributes:
        leaves: modules that are taken as one piece, with their kinds, by name.
        products: what the parameters were multiplied with.
        units: populations.
        provenance: which populations the values of a tensor come from.
        synapses: projections, by the name of the layer.
        readings: for each leaf, what its input is made of at each call.
        neuron_calls: for each neuron, the layers that reach it at each call of a forward.
        course: the same from rest on, as far as forwards were watched one after another.
        read: numbers of populations that layers read, each with the name of the layer.
        inner: of layers inside neurons, the sizes of their outputs call by call.
        holders: neurons with layers inside that are not understood, with the populations that they read.
        values: of neurons that have several entries; whose they are is asked later.
        states_read: neurons whose state, handed out beside the activity, a layer reads.
        used_outside: parameters of leaves that the network uses beside their leaf.
        suspects: populations that go through a module that may be a neuron, with its name.
        outputs: populations that the network hands out and that no layer reads.
        raised: leaves that have raised an error, which the network caught.
        feedback: recurrent wrappers that the forward is in, the innermost last.
        regrouped: heads, and channels inside heads, that a module takes apart or puts together, by its name.
        calls: of leaves, in order, while ``counting``.
        meetings: what norms and neurons were given, each once: shape, axes of channels.
        counting: whether outputs count as entries of their projection, and calls are kept.
        further: number of forwards that were watched besides that of the example.
        training_only: whether what is reached now for the first time is reached in training mode alone.
        look: the first operation that let Python see values which differ from input to input, or None.
    """

    leaves: dict[str, tuple[nn.Module, Kind]]
    products: Products
    units: Units = field(default_factory=Units)
    provenance: Provenance = field(default_factory=Provenance)
    synapses: dict[str, Synapses] = field(default_factory=dict)
    readings: dict[str, list[tuple[Span, ...]]] = field(default_factory=lambda: defaultdict(list))
    neuron_calls: dict[str, list[frozenset[str]]] = field(default_factory=lambda: defaultdict(list))
    course: dict[str, list[frozenset[str]]] = field(default_factory=lambda: defaultdict(list))
    read: set[tuple[int, str]] = field(default_factory=set)
    inner: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    holders: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    values: list[Values] = field(default_factory=list)
    states_read: set[str] = field(default_factory=set)
    used_outside: set[str] = field(default_factory=set)
    suspects: dict[int, str] = field(default_factory=dict)
    outputs: set[int] = field(default_factory=set)
    raised: set[str] = field(default_factory=set)
    feedback: list[str] = field(default_factory=list)
    regrouped: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    calls: list[Call] = field(default_factory=list)
    meetings: dict[str, dict[Met, None]] = field(default_factory=lambda: defaultdict(dict))
    counting: bool = True
    further: int = 0
    training_only: bool = False
    look: str | None = None
    _turns: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    _called: frozenset[str] = frozenset()
    _axes: dict[int, tuple[torch.Tensor, Axis]] = field(default_factory=dict)

    def look_again(self, *, at_rest: bool = True) -> None:
        """Begin another forward, whose calls are not counted; neurons are ``at_rest`` or go on."""
        self.counting = False
        self.further += 1
        self._turns = defaultdict(int)
        self._called = frozenset(name for name, calls in self.neuron_calls.items() if calls)
        if at_rest:
            self.course = defaultdict(list)

    def unreached(self) -> tuple[str, ...]:
        """Return the names of the layers with synapses that nothing was multiplied with."""
        synapses = (name for name, (_, kind) in self.leaves.items() if kind in {"conv", "linear"})
        used = self.products.macs
        return tuple(n for n in synapses if n not in self.readings and f"{n}.weight" not in used)

    def note_turn(self, neuron: str, sources: frozenset[str]) -> int:
        """Note a call of a neuron, which ``sources`` reach, and return which one of this forward it is."""
        turn = self._turns[neuron]
        self._turns[neuron] += 1
        if self.counting or neuron not in self._called:
            self.neuron_calls[neuron].append(sources)
        self.course[neuron].append(sources)
        return turn

    def axis_of(self, tensor: torch.Tensor) -> Axis | None:
        """Return where the channels of ``tensor`` are, None where that is not known."""
        entry = self._axes.get(id(tensor))
        return None if entry is None else self.units.resolved_axis(entry[1])

    def place(self, tensor: torch.Tensor, axis: Axis | None) -> None:
        """Note where the channels of ``tensor`` are."""
        if axis is None:
            self._axes.pop(id(tensor), None)
        else:
            self._axes[id(tensor)] = (tensor, axis)  # the tensor is kept so that its id is not used again

    def placed(self) -> list[tuple[torch.Tensor, Axis]]:
        """Return all tensors whose channels are known, with where they are."""
        known = [(tensor, self.units.resolved_axis(axis)) for tensor, axis in self._axes.values()]
        return [(tensor, axis) for tensor, axis in known if axis is not None]

    def made_of(self, tensors: list[torch.Tensor]) -> list[int]:
        """Return the numbers of the populations that ``tensors`` are made of."""
        numbers = [n for t in tensors if (a := self.axis_of(t)) for n in a.numbers]
        return [*numbers, *self.provenance.of(*tensors)]

    def freeze(
        self, tensors: list[torch.Tensor], reason: str, *, foremost: bool = False, on_the_way: bool = False
    ) -> None:
        """Freeze the populations that ``tensors`` are made of."""
        self.units.freeze(self.made_of(tensors), reason, foremost=foremost, on_the_way=on_the_way)
