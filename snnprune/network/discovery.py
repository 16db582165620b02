"""Find populations and projections of any network by one real forward.

Every tensor of the forward is followed with its channel axis (`survey`): synapse layers, norms and neurons
are taken as one piece (`leaves`), every other torch operation by its rule (`rules`). What no rule covers
freezes the populations that meet it, with the reason; what is hidden from view altogether is still known by
where its values come from (`provenance`). A unit has to be able to die: one that no longer is at zero on its
way to a layer, though its neuron is silent, freezes its population too (`silence`).
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from snnprune.common.errors import UserError, first_line, memory_full
from snnprune.network.assembly import assemble, names_of, runs_on
from snnprune.network.axes import Axis, tensors_in
from snnprune.network.blanks import freeze_unmet, settle, unmet
from snnprune.network.branches import freeze_branches
from snnprune.network.heads import leave_whole, settle_heads
from snnprune.network.layouts import Layouts, lengthened
from snnprune.network.lazy import make_lazy_layers, refuse_new_layers
from snnprune.network.leaves import keep_single_steps
from snnprune.network.meetings import States, kept_small, meetings
from snnprune.network.questions import question
from snnprune.network.resting import why_uncut
from snnprune.network.survey import RAISED, Survey
from snnprune.network.ties import aliases, freeze_computed, freeze_tied
from snnprune.network.topology import OUTPUT, Projection, Topology
from snnprune.network.untouched import untouched
from snnprune.network.weights import fixed_layers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from snnprune.network.axes import Span
    from snnprune.network.findings import Findings


def discover(model: nn.Module, example_input: Any, *, neurons: Sequence[type[nn.Module]] = ()) -> Topology:
    """Find what could be pruned in ``model``, what is frozen, and why.

    The model is left exactly as it was: mode, neuron states, random generators, hooks.

    Args:
        model: any network.
        example_input: a tensor (or tuple of arguments) that ``model`` takes, with at least one sample.
        neurons: further neuron classes, of other libraries or the user's own. Each is taken to work unit by
            unit and to return its activity first, in the shape of its input.

    Returns:
        The topology; ``print`` it to read it.

    Raises:
        UserError: the example input holds no sample, the model does not take it, or ``neurons`` are no
            classes of modules.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import snnprune
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> print(snnprune.discover(model, torch.rand(1, 4)))
        population  size  kind     coupled with  frozen because
        ----------  ----  -------  ------------  --------------
        0           8     neurons  -             -
        2           2     neurons  -             it is the output of the network
    """
    classes = _classes(neurons)
    arguments = example_input if isinstance(example_input, tuple) else (example_input,)
    if not any(tensor.numel() for tensor in tensors_in(list(arguments))):
        raise UserError(
            f"the example input has to be a tensor with at least one sample, or a tuple of what "
            f"{type(model).__name__} takes, and is {_described(arguments)}"
        )
    keep_single_steps(model)
    make_lazy_layers(model, lambda: _answer(model, arguments))
    survey = Survey(model, classes)
    found = survey.found
    found.provenance.begin(model, tensors_in(list(arguments)))
    names = {name for name, _ in model.named_parameters()}
    with untouched(model), torch.no_grad():
        states = States(model)
        with survey.watching():
            outputs = tensors_in(_answer(model, arguments))
        refuse_new_layers(model, names)
        example = states.example(arguments)
        handed = _freeze_output(found, outputs)
        if _feeds_back_later(found):
            found.look_again(at_rest=False)
            handed = _look(model, arguments, survey) or handed
    if unmet(found) or found.unreached():
        found.look_again()
        with untouched(model), torch.no_grad():
            _look(model, _twice(arguments), survey)
    freeze_unmet(found)
    if found.unreached():
        _look_at_training(model, arguments, survey)
    freeze_branches(found)
    with untouched(model):
        times = question(found)
    layouts = Layouts(model, arguments, found, times)
    _freeze_shared(found)
    _freeze_raised(found)
    freeze_computed(model, found)
    freeze_tied(found)
    _freeze_open_ends(found)
    _suspect_neurons(model, found)
    topology = assemble(found, layouts, handed)
    topology.fixed = fixed_layers(model, found.synapses)
    axes = {name: time.axis for name, time in times.items()}
    topology.meetings = meetings(found.meetings, axes, lambda places: runs_on(found.units, places))
    topology.aliases = aliases(model, found.units)
    topology.example = kept_small(model, example, layouts.samples)
    with untouched(model):
        for population in topology.free():
            population.uncut = why_uncut(model, topology, population.name)
    users = dict(_users(found))
    settle_heads(model, topology, users)
    if users or any(_is_wired_to_itself(p) for p in topology.projections.values()):
        leave_whole(model, topology)
    return topology


def _is_wired_to_itself(projection: Projection) -> bool:
    return not {i.population for i in projection.inflow}.isdisjoint(o.population for o in projection.outflow)


def _users(found: Findings) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield modules with the names of the populations that they take apart, or put together."""
    names = names_of(found.units)
    for module, numbers in found.regrouped.items():
        yield module, frozenset(names[n] for n in found.units.left(numbers) if n in names)


def _classes(neurons: Any) -> tuple[type[nn.Module], ...]:
    listed = isinstance(neurons, (tuple, list, set, frozenset))
    if not listed or not all(isinstance(n, type) and issubclass(n, nn.Module) for n in neurons):
        raise UserError(
            f"neurons are classes of modules in a tuple, such as neurons=(MyNeuron,), and came as {neurons!r}"
        )
    return tuple(neurons)


def _answer(model: nn.Module, arguments: tuple[Any, ...]) -> Any:
    """Run ``model`` on what a user says that it takes."""
    try:
        return model(*arguments)
    except UserError:
        raise
    except Exception as error:
        if memory_full(error) is not None:
            raise
        reason = first_line(error)
        raise UserError(
            f"the example input, {_described(arguments)}, does not go through {type(model).__name__}: "
            f"{reason}; give what the model takes, [T, B, ...] in multi-step mode and [B, ...] otherwise"
        ) from error


def _described(arguments: tuple[Any, ...]) -> str:
    return ", ".join(
        f"{list(a.shape)}" if isinstance(a, torch.Tensor) else type(a).__name__ for a in arguments
    )


def _freeze_output(found: Findings, outputs: list[torch.Tensor]) -> list[Axis | None]:
    """Freeze the populations that the network hands out, and return where the channels of each tensor are.

    Two things are told apart by whether a layer reads a population. One that none reads is the output,
    whatever becomes of its activity on the way. One that a layer reads may have the state of its neurons
    handed out, for the next call: units that leave take their state along.
    """
    settle(found)
    units, axes = found.units, [found.axis_of(tensor) for tensor in outputs]
    read = units.left(n for n, name in found.read if not _is_its_own(found, n, name))
    read |= units.left(found.provenance.multiplied)
    found.outputs.update(number for number in units.left(found.made_of(outputs)) if number not in read)
    for tensor, axis in zip(outputs, axes, strict=True):
        numbers = units.left(found.made_of([tensor]))
        last = [n for n in numbers - read if units[n].frozen is None or units[n].on_the_way]
        units.freeze(last, OUTPUT, foremost=True)
        if axis is None or axis.state is None or not axis.is_whole:
            units.freeze(numbers, OUTPUT)
    return axes


def _is_its_own(found: Findings, number: int, layer: str) -> bool:
    """Tell whether a layer writes into the population that it reads."""
    synapses = found.synapses.get(layer)
    left = found.units.left
    return synapses is not None and left([number]) <= left([synapses.population])


def _feeds_back_later(found: Findings) -> bool:
    """Tell whether a further forward, which finds states of this one, may show more of what feeds back."""
    ends = found.units.left(found.outputs)
    loose = (s for s in found.synapses.values() if s.neuron is None)
    hidden = any(found.units.left([s.population]) - ends for s in loose)
    return hidden or bool(found.unreached() or unmet(found))


def _look(model: nn.Module, arguments: tuple[Any, ...], survey: Survey) -> list[Axis | None]:
    """Watch a further forward, and return where the channels of its outputs are.

    A network need not take the same once more: what was seen of such a forward counts, and the list is empty.
    """
    try:
        with survey.watching():
            outputs = tensors_in(model(*arguments))
    except Exception as error:
        if memory_full(error) is not None:
            raise
        settle(survey.found)
        return []
    return _freeze_output(survey.found, outputs)


def _twice(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the arguments twice as long on their first axis, which may be time."""
    first = tensors_in(list(arguments))[0]
    return lengthened(arguments, 0, first, len(first)) if first.ndim else arguments


def _look_at_training(model: nn.Module, arguments: tuple[Any, ...], survey: Survey) -> None:
    """Run the example in training mode, which may reach more layers; it need not go through there."""
    found = survey.found
    before, found.neuron_calls = found.neuron_calls, defaultdict(list)
    course = found.course
    found.look_again()
    found.training_only = True
    with untouched(model), torch.no_grad(), suppress(Exception):
        model.train()
        with survey.watching():
            outputs = tensors_in(model(*arguments))
        _freeze_output(found, outputs)
        for neuron, calls in found.neuron_calls.items():
            if before.get(neuron, calls) != calls:
                numbers = [found.synapses[n].population for each in (*calls, *before[neuron]) for n in each]
                found.units.freeze(numbers, f"neuron {neuron} is called otherwise in training mode")
    found.neuron_calls.update(before)
    found.course = course


def _freeze_shared(found: Findings) -> None:
    """A module whose tensors one population would cut under the eyes of another."""
    units = found.units
    owners = {slot.module for number in units.roots() for slot in units[number].slots}
    for name in owners & set(found.readings):
        readings = {_read(found, spans) for spans in found.readings[name]}
        if len(readings) > 1:
            reason = f"{name} is shared between places that read different populations"
            if () in readings:
                reason = f"{name} reads it and, at another call, a tensor that belongs to no layer"
            numbers = {n for reading in readings for span in reading for n in span.numbers}
            if name in found.synapses:
                post = units.left([found.synapses[name].population])
                if post & numbers and () in readings:
                    reason = f"{name} wires it to itself, and its first state is held, or is not zero"
                elif post & numbers:
                    reason = (
                        f"{name} wires it to itself and to another population (or is shared between places)"
                    )
                numbers |= post
            units.freeze(numbers, reason, foremost=() not in readings)


def _read(found: Findings, spans: tuple[Span, ...]) -> tuple[Span, ...]:
    """Return the populations that a leaf has read, without numbers for what is none."""
    known = found.units.made(spans)
    return known if any(span.numbers for span in known) else ()


def _freeze_raised(found: Findings) -> None:
    """Layers that raised an error: how often they are called with other inputs is not known."""
    for name in found.raised & found.synapses.keys():
        found.units.freeze([found.synapses[name].population], RAISED.format(name=name))


def _freeze_open_ends(found: Findings) -> None:
    """Populations whose activity is seen by no neuron, or read by no layer."""
    for name, synapses in found.synapses.items():
        if synapses.neuron is None:
            reason = f"no neuron module reads {name} (an activation must be a module)"
            if (reader := _fed_back(found, synapses.population)) is not None:
                reason = (
                    f"no neuron module reads {name} before {reader} does, which feeds back: put a neuron "
                    "between them"
                )
            found.units.freeze([synapses.population], reason, on_the_way=True)
    for number in found.units.roots():
        unit = found.units[number]
        if not unit.contracted and not any(slot.role == "in" for slot in unit.slots):
            found.units.freeze([number], "no layer reads it")


def _fed_back(found: Findings, number: int) -> str | None:
    """Return a layer that reads a population beside the one that it writes into."""
    own = found.units.left([number])
    readers = {name for n, name in found.read if found.units.left([n]) & own}
    beside = {name for n, name in found.read if name in readers and _is_its_own(found, n, name)}
    return min((name for name in beside if not _is_its_own(found, number, name)), default=None)


def _suspect_neurons(model: nn.Module, found: Findings) -> None:
    """Where a class that nobody named stands in a neuron's place, say how to name it."""
    suspects = [(n, name) for number, name in found.suspects.items() for n in found.units.left([number])]
    for number, name in suspects:
        unit, kind = found.units[number], type(model.get_submodule(name)).__name__
        if unit.frozen is not None and unit.on_the_way and "neurons=" not in unit.frozen:
            unit.frozen += f"; if {name} ({kind}) is a neuron, pass neurons=({kind},)"
