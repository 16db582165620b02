"""What a layer, a norm or a neuron does to the populations that it meets during the forward."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from snnprune.network.axes import Axis, Span, Unknown
from snnprune.network.findings import Synapses, Values
from snnprune.network.leaves import (
    TRANSPOSED,
    Kind,
    has_plain_forward,
    is_multi_step,
    is_silent_norm,
    layers_inside,
    weight_shape,
    wired_by,
)
from snnprune.network.places import Site
from snnprune.network.topology import Slot
from snnprune.network.weights import computed

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from snnprune.network.findings import Findings
    from snnprune.network.topology import UnitsKind

_NORM_TENSORS = ("weight", "bias", "running_mean", "running_var")


@dataclass(frozen=True)
class Encounter:
    """One call of a leaf.

    Attributes:
        name: of the module.
        module: the leaf.
        kind: what it is.
        axis: where the channels of its input are, None where that is not known.
        x: its input.
        inputs: all tensors that it is given.
        outputs: all tensors that it returns.
        own: whether it is called with its own parameters, and not with others in their place.
    """

    name: str
    module: Any
    kind: Kind
    axis: Axis | None
    x: torch.Tensor
    inputs: list[torch.Tensor]
    outputs: list[torch.Tensor]
    own: bool = True


def on_synapses_called(found: Findings, met: Encounter) -> None:
    """A layer reads one population and writes into its own; a depthwise one stays in that which it reads."""
    module, axis, y = met.module, met.axis, met.outputs[0]
    dim = -1 if met.kind == "linear" else -(len(module.kernel_size) + 1)
    reason = _not_plain(met.name, module) if met.own else _foreign(met.name)
    if axis is not None and (axis.dim != dim or not axis.is_whole):
        found.freeze([met.x], f"{met.name} reads it along another axis")
        axis = None
    if met.name not in found.synapses:
        found.synapses[met.name] = _new_synapses(found, met, axis, reason)
    synapses = found.synapses[met.name]
    transposed = isinstance(module, TRANSPOSED)
    entries = met.x.numel() // module.in_channels * module.out_channels if transposed else y.numel()
    if found.counting:
        synapses.entries.append(entries)
    elif not synapses.entries and not found.training_only:
        synapses.later[found.further].append(entries)
    if synapses.tied and axis is not None:
        found.place(y, replace(axis, sources=axis.sources | {met.name}))
        return
    if reason:
        found.freeze([met.x], reason)
        found.units.freeze([synapses.population], reason)
    elif axis is not None:
        found.units.add_slots(axis, met.name, "weight", 0 if is_transposed(module) else 1, "in")
    size = found.units[synapses.population].size
    if y.ndim >= -dim and y.shape[dim] == size:
        spans = found.units.resolved([Span(((synapses.population, size),))])
        found.place(y, Axis.along(dim, spans, frozenset([met.name])))
    found.provenance.set(y, [synapses.population])


def _new_synapses(found: Findings, met: Encounter, axis: Axis | None, reason: str | None) -> Synapses:
    name, module, units = met.name, met.module, found.units
    tied = _is_depthwise(module) and axis is not None and [len(s.factors) for s in axis.spans] == [1]
    if tied and axis is not None:
        [number] = axis.numbers
        units[number].producers.append(name)
    else:
        kind: UnitsKind = "channels" if met.kind == "conv" else "neurons"
        number = units.new(name, weight_shape(module)[0], kind)
        if reason is None and is_transposed(module):
            reason = f"{name} is a transposed convolution"
        if found.feedback:
            reason = f"it lies inside the recurrent wrapper {found.feedback[0]}"
        if found.training_only:
            reason = f"{name} is reached in training mode alone"
        if reason:
            units.freeze([number], reason)
    units[number].add(Slot(name, "weight", 1 if is_transposed(module) else 0, "out"))
    if module.bias is not None:
        units[number].add(Slot(name, "bias", 0, "out"))
    return Synapses(met.kind, module, number, tied=tied)


def _is_depthwise(module: Any) -> bool:
    groups = getattr(module, "groups", 1)
    return groups > 1 and groups == module.in_channels == module.out_channels and has_plain_forward(module)


def is_transposed(module: Any) -> bool:
    """Tell whether the weight begins with the columns; that of a depthwise layer begins with its units."""
    return isinstance(module, TRANSPOSED) and not _is_depthwise(module)


def _not_plain(name: str, module: Any) -> str | None:
    """Return why the rows and columns of ``module``'s weight are not its units and inputs, or None."""
    for tensor, how in computed(module).items():
        return f"the {tensor} of {name} is computed {how}"
    if not has_plain_forward(module):
        return f"{name} computes its weight or its output in its own way ({type(module).__name__})"
    if getattr(module, "groups", 1) != 1:
        return f"{name} is a grouped convolution"
    return None


def _foreign(name: str) -> str:
    return f"{name} is called with other parameters than its own"


def on_norm_called(found: Findings, met: Encounter) -> None:
    """A norm works channel by channel and owns a few values for each."""
    axis, x, module = met.axis, met.x, met.module
    if axis is None:
        return
    _meet(found, met, axis)
    dim = 1 - (x.ndim - is_multi_step(module))
    along = axis.dim == dim and axis.is_whole and module.num_features == axis.length
    if not along or met.outputs[0].shape != x.shape:
        found.freeze([x], f"{met.name} norms along another axis")
    elif not met.own:
        found.freeze([x], _foreign(met.name))
    elif not is_silent_norm(module, x):
        found.freeze([x], f"{met.name} norms in its own way ({type(module).__name__})")
    else:
        for tensor in _NORM_TENSORS:
            if getattr(module, tensor, None) is not None:
                found.units.add_slots(axis, met.name, tensor, 0, "norm")
    found.place(met.outputs[0], axis)


def on_neuron_called(found: Findings, met: Encounter) -> None:
    """A neuron turns what reaches it into activity, unit by unit, and may own values for each."""
    axis, x = met.axis, met.x
    turn = found.note_turn(met.name, axis.sources if axis is not None else frozenset())
    if axis is None:
        return
    _meet(found, met, axis)
    for other in met.inputs:
        if other is not x and found.axis_of(other) is not None:
            axis = _with_state(found, met.name, axis, other)
    if any(layers_inside(met.module)):
        found.holders[met.name].update(axis.numbers)
    if not met.own:
        found.freeze([x], _foreign(met.name))
    _note_values(found, met, axis)
    if met.outputs[0].shape == x.shape:
        _take_activity(found, met, axis, turn)
    else:
        found.freeze([x], f"neuron {met.name} changes the shape of its input", on_the_way=True)
    activity, *states = met.outputs
    channels = axis.dim, *x.shape[axis.dim :]
    for y in [s for s in states if s is not activity]:
        _place_behind(found, y, channels, replace(axis, sources=frozenset(), resting=None, state=met.name))
    _place_behind(found, activity, channels, replace(axis, sources=frozenset(), resting=None, state=None))


def _place_behind(found: Findings, y: torch.Tensor, channels: tuple[int, ...], axis: Axis) -> None:
    """Place what a neuron puts out, where its channels and places are those of its input."""
    dim, *sizes = channels
    if y.ndim >= -dim and [*y.shape[dim:]] == sizes:
        found.place(y, axis)


def _meet(found: Findings, met: Encounter, axis: Axis) -> None:
    found.meetings[met.name][tuple(met.x.shape), axis.places] = None


def _with_state(found: Findings, name: str, axis: Axis, tensor: torch.Tensor) -> Axis:
    """Join the population of a state that the neuron is given beside its input."""
    state = found.axis_of(tensor)
    try:
        return axis if state is None else replace(found.units.join(axis, state), sources=axis.sources)
    except Unknown:
        numbers = [n for a in (axis, state) if a is not None for n in a.numbers]
        found.units.freeze(numbers, f"neuron {name} reads two populations of different layouts")
        return axis


def _note_values(found: Findings, met: Encounter, axis: Axis) -> None:
    """Note what a neuron owns beside single numbers: values per unit, or values that all units share."""
    parameters, shape = dict(met.module.named_parameters()), list(met.x.shape)
    inner = tuple(f"{name}." for name in layers_inside(met.module))
    for tensor, value in [*parameters.items(), *met.module.named_buffers()]:
        if tensor.startswith(inner):
            continue  # whose it is, is asked with the layer (`wiring`)
        is_state = (
            tensor not in parameters and value.ndim > 1 and [*value.shape[1:]] == shape[1 - value.ndim :]
        )
        if value.numel() <= 1 or is_state:
            continue
        if not axis.is_whole:
            found.freeze([met.x], f"neuron {met.name} has values of its own, and reads it taken apart")
            continue
        dims = tuple(d for d, size in enumerate(value.shape) if size == axis.length)
        alone = shape.count(axis.length) == 1  # not the number of time steps or pixels as well
        fits = len(dims) == 1 and (alone or dims[0] - value.ndim == axis.dim)
        values = Values(met.name, tensor, tuple(value.shape), dims, fits, replace(axis, sources=frozenset()))
        if values not in found.values:
            found.values.append(values)


def _take_activity(found: Findings, met: Encounter, axis: Axis, turn: int) -> None:
    """Let a neuron be that of every projection that reaches it with none before."""
    for source in axis.sources:
        synapses = found.synapses[source]
        rows = found.units.factors(synapses.population)
        offset = 0
        for place, span in enumerate(axis.spans if axis.is_whole else ()):
            if span == Span.of(rows):
                if synapses.neuron is None:
                    synapses.neuron = met.name
                    synapses.site = Site(axis.dim, offset, span.length, turn)
                    synapses.behind = axis.spans[:place]
                break
            offset += span.length
        else:
            reason = f"neuron {met.name} stands behind a flatten of its channels, or reads a part of them"
            shared = set(axis.numbers) & found.units.left([synapses.population])
            found.units.freeze(shared, reason)


def on_gate_called(found: Findings, met: Encounter) -> None:
    """A gate works entry by entry, on the rows of one gate of its cell or of all."""
    if met.axis is None:
        return
    _meet(found, met, met.axis)
    if met.outputs[0].shape == met.x.shape:
        found.place(met.outputs[0], met.axis)


def on_series_called(found: Findings, met: Encounter) -> None:
    """A recurrent layer wires what it reads to itself."""
    found.freeze(met.inputs, wired_by(met.name, met.module))


RULES: dict[Kind, Callable[[Findings, Encounter], None]] = {
    "conv": on_synapses_called,
    "linear": on_synapses_called,
    "norm": on_norm_called,
    "neuron": on_neuron_called,
    "gate": on_gate_called,
    "series": on_series_called,
}
