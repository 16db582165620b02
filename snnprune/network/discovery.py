"""Find populations and projections of any network by one real forward.

Every tensor of the forward is followed with its channel axis (`survey`): synapse layers, norms and neurons
are taken as one piece (`leaves`), every other torch operation by its rule (`rules`). What no rule covers
freezes the populations that meet it, with the reason; what is hidden from view altogether is still known by
where its values come from (`provenance`). A unit has to be able to die: one that no longer is at zero on its
way to a layer, though its neuron is silent, freezes its population too (`silence`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from snnprune.common.errors import UserError, first_line, memory_full
from snnprune.network.axes import tensors_in
from snnprune.network.layouts import Layouts
from snnprune.network.meetings import States, kept_small, meetings
from snnprune.network.resting import why_uncut
from snnprune.network.survey import Survey
from snnprune.network.ties import aliases, freeze_tied
from snnprune.network.topology import OUTPUT, Inflow, Population, Projection, Topology
from snnprune.network.untouched import untouched

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snnprune.network.findings import Findings, Synapses
    from snnprune.network.topology import Site


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
    survey = Survey(model, _classes(neurons))
    found = survey.found
    arguments = example_input if isinstance(example_input, tuple) else (example_input,)
    if not any(tensor.numel() for tensor in tensors_in(list(arguments))):
        raise UserError(
            f"the example input has to be a tensor with at least one sample, or a tuple of what "
            f"{type(model).__name__} takes, and is {_described(arguments)}"
        )
    with untouched(model), torch.no_grad():
        states = States(model)
        with survey.watching():
            outputs = tensors_in(_answer(model, arguments))
        example = states.example(arguments)
        found.freeze(outputs, OUTPUT)
        if _unreached(found):  # what feeds back may be asked for only once there is a state
            found.counting = False
            with survey.watching():
                outputs = tensors_in(model(*arguments))
            found.freeze(outputs, OUTPUT)
    layouts = Layouts(model, arguments, found)
    _freeze_shared(found)
    freeze_tied(found)
    _freeze_open_ends(found)
    _suspect_neurons(model, found)
    topology = _topology(found, layouts)
    topology.aliases = aliases(model, found.units)
    topology.example = kept_small(model, example, layouts.samples)
    with untouched(model):
        for population in topology.free():
            population.uncut = why_uncut(model, topology, population.name)
    return topology


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


def _unreached(found: Findings) -> tuple[str, ...]:
    synapses = (name for name, (_, kind) in found.leaves.items() if kind in {"conv", "linear"})
    return tuple(name for name in synapses if name not in found.readings)


def _freeze_shared(found: Findings) -> None:
    """A module whose tensors one population would cut under the eyes of another."""
    units = found.units
    owners = {slot.module for number in units.roots() for slot in units[number].slots}
    for name in owners & set(found.readings):
        readings = {tuple(units.root(s.population) for s in spans) for spans in found.readings[name]}
        if len(readings) > 1:
            reason = f"{name} is shared between places that read different populations"
            numbers = {number for reading in readings for number in reading}
            if name in found.synapses:
                post = units.root(found.synapses[name].population)
                if post in numbers:
                    reason = f"{name} wires it to itself (recurrent, or shared with an earlier place)"
                numbers.add(post)
            units.freeze(numbers, reason, foremost=True)


def _freeze_open_ends(found: Findings) -> None:
    """Populations whose activity is seen by no neuron, or read by no layer."""
    for name, synapses in found.synapses.items():
        if synapses.neuron is None:
            reason = f"no neuron module reads {name} (an activation must be a module)"
            found.units.freeze([synapses.population], reason)
    for number in found.units.roots():
        if not any(slot.role == "in" for slot in found.units[number].slots):
            found.units.freeze([number], "no layer reads it")


_NEURON_LIKE = ("a silent unit does not stay", "no neuron module reads", "it goes through")


def _suspect_neurons(model: nn.Module, found: Findings) -> None:
    """Where a class that nobody named stands in a neuron's place, say how to name it."""
    for number, name in found.suspects.items():
        unit, kind = found.units[number], type(model.get_submodule(name)).__name__
        if unit.frozen is not None and unit.frozen.startswith(_NEURON_LIKE) and "neurons=" not in unit.frozen:
            unit.frozen += f"; if {name} ({kind}) is a neuron, pass neurons=({kind},)"


def _topology(found: Findings, layouts: Layouts) -> Topology:
    units = found.units
    names = {number: units[number].producers[0] for number in units.roots()}
    populations = {}
    for number, name in names.items():
        unit = units[number]
        kind: Any = "channels" if found.synapses[name].kind == "conv" else "neurons"
        populations[name] = Population(name, unit.size, kind, unit.producers, unit.slots, unit.frozen)
    projections = {}
    for name, synapses in found.synapses.items():
        post = populations[names[units.root(synapses.population)]]
        shape = _shape(synapses)
        projections[name] = Projection(
            name,
            synapses.kind,  # type: ignore[arg-type]
            () if synapses.tied else _inflow(found, name, names),
            post.name,
            shape,
            layouts.of_a_sample(name, synapses.entries) // shape[0],
            synapses.neuron,
            _frozen(name, synapses, post),
            _site(found, layouts, synapses, names),
            layouts[name, 0],
            max(len(synapses.entries), 1),
            output=post.frozen == OUTPUT,
        )
    met = meetings(found.meetings, layouts.times, lambda number: names[units.root(number)])
    return Topology(populations, projections, _unreached(found), meetings=met)


def _frozen(name: str, synapses: Synapses, post: Population) -> str | None:
    """Return why single synapses may not die; in the output they may, though its units stay."""
    if synapses.tied:
        return f"{name} is depthwise: synapses die with their unit"
    return None if post.frozen == OUTPUT else post.frozen


def _shape(synapses: Synapses) -> tuple[int, ...]:
    """Return [post, columns, ...]; a transposed convolution's weight begins with its columns."""
    module = synapses.module
    if synapses.kind == "linear":
        return tuple(module.weight.shape)
    return (module.out_channels, module.in_channels // module.groups, *module.kernel_size)


def _inflow(found: Findings, name: str, names: dict[int, str]) -> tuple[Inflow, ...]:
    if getattr(found.synapses[name].module, "groups", 1) != 1:
        return ()  # a column is read from another unit in every group
    inflow, offset = [], 0
    for span in found.readings[name][0]:
        inflow.append(Inflow(names[found.units.root(span.population)], offset, span.size, span.spread))
        offset += span.length
    return tuple(inflow)


def _site(found: Findings, layouts: Layouts, synapses: Synapses, names: dict[int, str]) -> Site | None:
    """Tell the calls of one pass from those of later time steps, which come again in the same order."""
    if synapses.neuron is None or synapses.site is None:
        return None
    calls = found.neuron_calls[synapses.neuron]
    period = next(p for p in range(1, len(calls) + 1) if calls == calls[:p] * (len(calls) // p))
    behind = tuple(names[found.units.root(number)] for number in synapses.behind)
    return replace(
        synapses.site,
        call=synapses.site.call % period,
        calls=period,
        steps=len(calls) // period,
        layout=layouts[synapses.neuron, synapses.site.call],
        behind=behind,
    )
