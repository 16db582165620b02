"""What a recurrent cell of SpikingJelly does to the populations that it meets; what is inside is followed.

The rows of its layers are those of its gates, one after another. A unit owns a row in each gate, a column of
the recurrent layer, and its place in all that is carried over. Its activity is what the cell hands out first.
A gate fires without input, so dead units may be cut because nothing reads them, not because they are silent.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from snnprune.network.axes import Axis, Span, Unknown
from snnprune.network.cells import cells_of
from snnprune.network.places import Site

if TYPE_CHECKING:
    from torch import Tensor, nn

    from snnprune.network.findings import Findings


def on_cell_returned(found: Findings, name: str, outputs: list[Tensor]) -> None:
    """A cell's first output is the activity of its units; what else it hands out is their state.

    Raises:
        Unknown: its units could not be followed.
    """
    activity, *states = outputs
    axis = found.axis_of(activity)
    turn = found.note_turn(name, axis.sources if axis is not None else frozenset())
    if axis is None or not axis.is_whole or axis.dim != -1 or axis.resting:
        raise Unknown(name)
    for source in axis.sources:
        _take_activity(found, name, source, axis, turn)
    if len(axis.numbers) == 1:  # more where the network takes heads apart itself
        found.units[axis.numbers[0]].kind = "neurons"
    _hand_out(found, name, axis, [activity], states)


def _take_activity(found: Findings, name: str, source: str, axis: Axis, turn: int) -> None:
    """Let the cell be the neuron of a layer that reaches it, once for each gate in the layer's rows."""
    synapses = found.synapses[source]
    (outer, size), *inner = found.units.factors(synapses.population)
    gates, units = (1, [(outer, size)]) if outer is not None else (size, inner)
    if axis.spans != (Span.of(units),):
        raise Unknown(name)
    if synapses.neuron is None:
        synapses.neuron = name
        synapses.site = Site(-1, 0, axis.length * gates, turn, repeats=gates)


def on_stack_returned(found: Findings, name: str, stack: nn.Module, outputs: list[Tensor]) -> None:
    """All cells of a loop share one number of units: a unit has its place in each of them.

    Beside the activity the loop hands out the last states of all cells.

    Raises:
        Unknown: its units could not be followed.
    """
    layers = [f"{name}.{cell}.linear_hh" if name else f"{cell}.linear_hh" for cell, _ in cells_of(stack)]
    numbers = [found.units.left([found.synapses[n].population]) for n in layers if n in found.synapses]
    if [len(each) for each in numbers] != [1] * len(layers):
        raise Unknown(name)
    (first, *others) = (number for each in numbers for number in each)
    for other in others:
        found.units.merge(first, other)
    size = found.units[first].size
    axis = Axis.along(-1, found.units.resolved([Span(((first, size),))]))
    if any(tensor.shape[-1] != size for tensor in outputs[1:]):
        raise Unknown(name)
    _hand_out(found, name, axis, outputs[1:2], outputs[2:])


def _hand_out(found: Findings, name: str, axis: Axis, active: list[Tensor], states: list[Tensor]) -> None:
    for tensor in active:
        found.place(tensor, replace(axis, sources=frozenset()))
    for tensor in states:
        found.place(tensor, replace(axis, sources=frozenset(), state=name))


def refuse(found: Findings, name: str) -> None:
    """Freeze the populations of all layers inside of a cell, or of a loop around cells."""
    inside = [s.population for n, s in found.synapses.items() if n.startswith(f"{name}." if name else "")]
    found.units.freeze(inside, f"{name} is called in a way that is not understood")
