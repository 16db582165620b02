"""What a layer, a norm or a neuron does to the populations that it meets during the forward."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from snnprune.network.axes import Axis, Span, Unknown
from snnprune.network.findings import Synapses
from snnprune.network.leaves import (
    TRANSPOSED,
    Kind,
    has_plain_forward,
    is_multi_step,
    is_silent_norm,
    layers_inside,
)
from snnprune.network.topology import Site, Slot

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from snnprune.network.findings import Findings

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
    """

    name: str
    module: Any
    kind: Kind
    axis: Axis | None
    x: torch.Tensor
    inputs: list[torch.Tensor]
    outputs: list[torch.Tensor]


def on_synapses_called(found: Findings, met: Encounter) -> None:
    """A layer reads one population and writes into its own; a depthwise one stays in that which it reads."""
    module, axis, y = met.module, met.axis, met.outputs[0]
    dim = -1 if met.kind == "linear" else -(len(module.kernel_size) + 1)
    reason = _not_plain(met.name, module)
    if axis is not None and axis.dim != dim:
        found.freeze([met.x], f"{met.name} reads it along another axis")
        axis = None
    if met.name not in found.synapses:
        found.synapses[met.name] = _new_synapses(found, met, axis, reason)
    synapses = found.synapses[met.name]
    if found.counting:
        transposed = isinstance(module, TRANSPOSED)
        synapses.entries.append(
            met.x.numel() // module.in_channels * module.out_channels if transposed else y.numel()
        )
    if synapses.tied and axis is not None:
        found.place(y, replace(axis, sources=axis.sources | {met.name}))
        return
    if reason:
        found.freeze([met.x], reason)
    elif axis is not None:
        found.units.add_slots(axis, met.name, "weight", 1, "in")
    size = found.units[synapses.population].size
    found.place(y, Axis(dim, (Span(synapses.population, size),), frozenset([met.name])))
    found.provenance.set(y, [synapses.population])


def _new_synapses(found: Findings, met: Encounter, axis: Axis | None, reason: str | None) -> Synapses:
    name, module, units = met.name, met.module, found.units
    tied = _is_depthwise(module) and axis is not None and [s.spread for s in axis.spans] == [1]
    if tied and axis is not None:
        number = axis.spans[0].population
        units[number].producers.append(name)
    else:
        number = units.new(name, module.out_features if met.kind == "linear" else module.out_channels)
        if found.feedback:
            reason = f"it lies inside the recurrent wrapper {found.feedback[0]}"
        if reason:
            units.freeze([number], reason)
    units[number].add(Slot(name, "weight", 1 if isinstance(module, TRANSPOSED) else 0, "out"))
    if module.bias is not None:
        units[number].add(Slot(name, "bias", 0, "out"))
    return Synapses(met.kind, module, number, tied=tied)


def _is_depthwise(module: Any) -> bool:
    groups = getattr(module, "groups", 1)
    return groups > 1 and groups == module.in_channels == module.out_channels and has_plain_forward(module)


def _not_plain(name: str, module: Any) -> str | None:
    """Return why the rows and columns of ``module``'s weight are not its units and inputs, or None."""
    if isinstance(module, TRANSPOSED):
        return f"{name} is a transposed convolution"
    if not has_plain_forward(module):
        return f"{name} computes its weight or its output in its own way ({type(module).__name__})"
    if getattr(module, "groups", 1) != 1:
        return f"{name} is a grouped convolution"
    return None


def on_norm_called(found: Findings, met: Encounter) -> None:
    """A norm works channel by channel and owns a few values for each."""
    axis, x, module = met.axis, met.x, met.module
    if axis is None:
        return
    _meet(found, met, axis)
    dim = 1 - (x.ndim - is_multi_step(module))
    if axis.dim != dim or module.num_features != axis.length or met.outputs[0].shape != x.shape:
        found.freeze([x], f"{met.name} norms along another axis")
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
    found.neuron_calls[met.name].append(axis.sources if axis is not None else frozenset())
    if axis is None:
        return
    _meet(found, met, axis)
    for other in met.inputs:
        if other is not x and found.axis_of(other) is not None:
            axis = _with_state(found, met.name, axis, other)
    for inner in layers_inside(met.module):
        found.freeze([x], f"neuron {met.name} holds a layer of its own ({inner})")
    _own_values(found, met, axis)
    _take_activity(found, met, axis)
    if met.outputs[0].shape != x.shape:
        found.freeze([x], f"neuron {met.name} changes the shape of its input")
    for y in met.outputs:
        if y.shape == x.shape:  # spikes, and states that are handed out with them
            found.place(y, replace(axis, sources=frozenset(), resting=None))


def _meet(found: Findings, met: Encounter, axis: Axis) -> None:
    found.meetings[met.name][tuple(met.x.shape), axis.dim, axis.spans] = None


def _with_state(found: Findings, name: str, axis: Axis, tensor: torch.Tensor) -> Axis:
    """Join the population of a state that the neuron is given beside its input."""
    state = found.axis_of(tensor)
    try:
        return axis if state is None else replace(found.units.join(axis, state), sources=axis.sources)
    except Unknown:
        numbers = [s.population for a in (axis, state) if a is not None for s in a.spans]
        found.units.freeze(numbers, f"neuron {name} reads two populations of different layouts")
        return axis


def _own_values(found: Findings, met: Encounter, axis: Axis) -> None:
    """Give values per unit to their population; freeze it where a value's shape cannot be read so."""
    parameters, shape = dict(met.module.named_parameters()), list(met.x.shape)
    for tensor, value in [*parameters.items(), *met.module.named_buffers()]:
        is_state = (
            tensor not in parameters and value.ndim > 1 and [*value.shape[1:]] == shape[1 - value.ndim :]
        )
        if value.numel() <= 1 or is_state:
            continue
        dims = [d for d, size in enumerate(value.shape) if size == axis.length]
        alone = shape.count(axis.length) == 1  # not the number of time steps or pixels as well
        if len(dims) == 1 and (alone or dims[0] - value.ndim == axis.dim):
            found.units.add_slots(axis, met.name, tensor, dims[0], "neuron")
        else:
            reason = f"neuron {met.name} has a parameter of shape {tuple(value.shape)} ({tensor})"
            found.freeze([met.x], reason)


def _take_activity(found: Findings, met: Encounter, axis: Axis) -> None:
    """Let a neuron be that of every projection that reaches it with none before."""
    name = met.name
    call = len(found.neuron_calls[name]) - 1
    for source in axis.sources:
        synapses, offset = found.synapses[source], 0
        for place, span in enumerate(axis.spans):
            if found.units.root(span.population) == found.units.root(synapses.population):
                if span.spread != 1:
                    reason = f"neuron {name} stands behind a flatten of its channels"
                    found.units.freeze([synapses.population], reason)
                elif synapses.neuron is None:
                    synapses.neuron, synapses.site = name, Site(axis.dim, offset, span.size, call)
                    synapses.behind = tuple(s.population for s in axis.spans[:place] for _ in range(s.spread))
                break
            offset += span.length


RULES: dict[Kind, Callable[[Findings, Encounter], None]] = {
    "conv": on_synapses_called,
    "linear": on_synapses_called,
    "norm": on_norm_called,
    "neuron": on_neuron_called,
}
