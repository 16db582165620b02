"""A neuron that holds a recurrent layer: whether its units hear one another through that layer alone.

A copy is asked for some time steps. With a layer that only shifts units by one, a unit may change what it
puts out itself, and a step later what its neighbour does; with a layer of zeros, itself alone. Then the
layer's rows are the units that it writes into, its columns those that it reads: it wires the population to
itself.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from snnprune.network.asking import SCALES
from snnprune.network.axes import tensors_in
from snnprune.network.duplicate import duplicate, reset_states
from snnprune.network.findings import Synapses
from snnprune.network.leaves import has_plain_forward, layers_inside
from snnprune.network.places import Site
from snnprune.network.topology import Slot

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor

    from snnprune.network.asking import Asked
    from snnprune.network.findings import Call, Findings

STEPS = 4
"""Number of time steps that a copy is asked for."""

SAMPLES = 64
"""Number of samples that a copy is asked with: a spike more or less is seen in few of them."""


def take_in(found: Findings, call: Call, asked: Asked) -> Asked:
    """Let the layer inside a neuron be a projection of its population onto itself, where it is one.

    Args:
        found: what was seen.
        call: of the neuron.
        asked: the neuron.

    Returns:
        The neuron with a layer that keeps its units apart, so that it can be asked for all else. Where it
        holds no such layer, it is returned as it is; if it holds another, it stays among ``found.holders``.
    """
    axis = found.axis_of(call.x)
    if axis is None or call.name not in found.holders:
        return asked
    (inner, *others) = layers_inside(asked.module)
    layer = asked.module.get_submodule(inner)
    spans = found.units.resolved(axis.spans) if axis.is_whole else ()
    alone = [span.factors[0][0] for span in spans if len(span.factors) == 1]
    number = alone[0] if not others and len(alone) == len(spans) == 1 else None
    everywhere = {found.units.root(n) for n in found.holders[call.name]}
    if number is None or everywhere != {found.units.root(number)} or not _fits(layer, axis.length):
        return asked
    if not _hears_itself(asked, inner, axis.length):
        return asked
    del found.holders[call.name]
    name, unit = f"{call.name}.{inner}", found.units[number]
    for tensor, at, role in (("weight", 0, "out"), ("bias", 0, "out"), ("weight", 1, "in")):
        if getattr(layer, tensor) is not None:
            unit.add(Slot(name, tensor, at, role))  # type: ignore[arg-type]
    unit.producers.append(name)
    found.readings[name] = [axis.spans]
    beside = [n for n, s in found.synapses.items() if s.neuron == call.name]
    site = found.synapses[beside[-1]].site if beside else Site(axis.dim, 0, axis.length)
    own = Synapses("linear", layer, number, found.inner[name], call.name, site)
    found.synapses = dict(_inserted(found.synapses, beside[-1:], name, own))
    return replace(asked, fixed=_values(inner, layer, torch.zeros(axis.length, axis.length)))


def freeze_holders(found: Findings) -> None:
    """Freeze the populations of neurons whose layers inside were not understood."""
    for name, numbers in found.holders.items():
        inner = next(layers_inside(found.leaves[name][0]))
        found.units.freeze(numbers, f"neuron {name} holds a layer of its own ({inner})")


def _inserted(
    synapses: Mapping[str, Synapses], behind: list[str], name: str, own: Synapses
) -> Iterator[tuple[str, Synapses]]:
    """Yield all projections in the order of the forward, ``own`` behind those that reach the same neuron."""
    for other, each in synapses.items():
        yield other, each
        if other in behind:
            yield name, own
    if not behind:
        yield name, own


def _fits(layer: nn.Module, units: int) -> bool:
    """Tell whether ``layer`` is a plain linear one with a row and a column for each unit."""
    square = isinstance(layer, nn.Linear) and layer.weight.shape == (units, units)
    return square and has_plain_forward(layer)


def _values(inner: str, layer: Any, weight: Tensor) -> dict[str, Tensor]:
    values = {f"{inner}.weight": weight.to(layer.weight)}
    return values if layer.bias is None else {**values, f"{inner}.bias": torch.zeros_like(layer.bias)}


@torch.no_grad()
def _hears_itself(asked: Asked, inner: str, units: int) -> bool:
    """Tell whether the units of a neuron hear one another one step later, through the layer inside alone."""
    seen = False
    dice = torch.Generator().manual_seed(0)
    shift = torch.eye(units).roll(1, 0)  # unit n + 1 hears unit n
    given = torch.rand(STEPS, SAMPLES, units, generator=dice).to(asked.x)
    for scale in SCALES:
        for weight in (shift * scale, shift * 0):
            wired, course = bool(weight.any()), given * scale
            try:
                before = _course(asked, inner, weight, course)
                after = _course(asked, inner, weight, _without(course, 0))
            except Exception:
                return False  # somebody's module, which takes no input alone, or no such one
            if before is None or after is None:
                return False
            for step in range(STEPS):
                heard = {n % units for n in range(step + 1 if wired else 1)}
                changed = (before[step] != after[step]).flatten(0, -2).any(0).nonzero().flatten().tolist()
                if not set(changed) <= heard:
                    return False
                seen = seen or 1 in changed
    return seen


def _without(course: Tensor, unit: int) -> Tensor:
    """Return a course in which a unit is given nothing in the first step."""
    changed = course.clone()
    changed[0, :, unit] = 0
    return changed


def _course(asked: Asked, inner: str, weight: Tensor, course: Tensor) -> list[Tensor] | None:
    """Return what a copy at rest puts out, step by step; None where its layer reads anything but that.

    Args:
        asked: the neuron.
        inner: name of the layer inside.
        weight: of that layer.
        course: [T, B, units], input.
    """
    probe = duplicate(asked.module).eval()
    reset_states(probe)
    for name, value in _values(inner, probe.get_submodule(inner), weight).items():
        probe.get_parameter(name).copy_(value)
    read: list[Tensor] = []
    probe.get_submodule(inner).register_forward_pre_hook(lambda _, args: read.append(args[0].clone()))
    told = [tensors_in(probe(step))[0].clone() for step in course]
    expected = [torch.zeros_like(told[0]), *told[:-1]]
    same = len(read) == len(told) and all(map(torch.equal, read, expected))
    return told if same and told[0].shape == course[0].shape else None
