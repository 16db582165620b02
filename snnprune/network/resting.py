"""What norms and neurons answer to nothing: a dead unit has to be silent behind each of them.

A copy of the module, at rest and in evaluation mode, is given zeros in the shape that it met in the example's
forward. So an unknown neuron needs no rule of its own. Whatever it raises means that it cannot be asked.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from snnprune.common.errors import UserError, memory_full
from snnprune.network.asking import PLACES
from snnprune.network.axes import tensors_in
from snnprune.network.duplicate import duplicate
from snnprune.network.leaves import NORMS, goes_unit_by_unit, is_multi_step, is_of_spikingjelly
from snnprune.network.runs import left_along, resized_along
from snnprune.network.untouched import same_dice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor, nn

    from snnprune.network.meetings import Meeting
    from snnprune.network.topology import Topology

STEPS = 32
"""Number of time steps without input in which a neuron must stay silent."""


def why_uncut(model: nn.Module, topology: Topology, population: str) -> str | None:
    """Return why dead units of a population can never be proved silent, None if they can.

    This concerns neurons of other libraries that output something without input, and modules that cannot be
    asked by themselves. What a norm outputs depends on weights that a mask sets to zero.
    """
    everything = torch.ones(topology.populations[population].size, dtype=torch.bool)
    for name in behind(topology, population):
        module = model.get_submodule(name)
        if goes_unit_by_unit(module) and not topology.populations[population].contracted:
            continue
        reason = unrest(model, topology, population, name, everything)
        if reason is not None and (not isinstance(module, NORMS) or reason == _UNASKED):
            return f"{name} ({type(module).__name__}) {reason}"
    return None


_UNASKED = "cannot be called with its input alone"


def behind(topology: Topology, population: str) -> list[str]:
    """Return the norms and neurons that a population goes through."""
    return [
        name
        for name, meetings in topology.meetings.items()
        if any(population == run.population for m in meetings for _, runs in m.places for run in runs)
    ]


def unrest(model: nn.Module, topology: Topology, population: str, name: str, units: Tensor) -> str | None:
    """Return, in words, what units answer behind a module without input; None if it is always zero.

    Args:
        model: the network.
        topology: its topology.
        population: name of the population.
        name: of the norm or neuron.
        units: bool [size], which of its units.
    """
    module = model.get_submodule(name)
    like = next(iter(model.get_submodule(topology.populations[population].producers[0]).parameters()))
    for meeting in topology.meetings[name]:
        met = _as_now(meeting, {p.name: p.size for p in topology.populations.values()})
        try:
            with same_dice([like.device]):
                answer = _answer(module, met, like.new_zeros(()), lambda probe: _rest(topology, probe, name))
        except UserError as error:  # there is no copy to ask
            return str(error)
        if answer is None:
            return _UNASKED
        for dim, runs in met.places:
            for run in (r for r in runs if r.population == population):
                own = run.per_unit(answer.movedim(dim, 0))[units.to(answer.device)]
                if bool((own != 0).any()):
                    return _why(module, own)
    return None


@torch.no_grad()
def _answer(
    module: nn.Module, meeting: Meeting, zero: Tensor, rest: Callable[[nn.Module], None]
) -> Tensor | None:
    """Return what a module answers to silence, of all questions; None where it cannot be asked."""
    time = meeting.time
    if time is None and is_of_spikingjelly(module) and is_multi_step(module):
        time = 0
    for shape in dict.fromkeys(_shapes(meeting, time)):
        answers = []
        for series in _series(zero.expand(shape), time):
            probe = duplicate(module).eval()
            rest(probe)
            answers += list(_given(probe, series))
        if answers:
            return torch.stack(answers) if time is None else torch.cat(answers, time)
    return None


def _as_now(meeting: Meeting, sizes: dict[str, int]) -> Meeting:
    """Return a meeting with the channels that there are now."""
    shape = list(meeting.shape)
    for dim, runs in meeting.places:
        shape[dim] = round(left_along(shape[dim], runs, sizes))
    places = tuple((dim, resized_along(runs, sizes)) for dim, runs in meeting.places)
    return replace(meeting, shape=tuple(shape), places=places)


def _rest(topology: Topology, probe: nn.Module, name: str) -> None:
    """Put a copy at rest. A projection inside of it says nothing to a dead unit, whose row is zero."""
    for inner, module in probe.named_modules():
        if inner and f"{name}.{inner}" in topology.projections:
            for parameter in module.parameters():
                parameter.zero_()
    if topology.example is not None:
        topology.example.put_at_rest(probe, name)


def _shapes(meeting: Meeting, time: int | None) -> Iterator[tuple[int, ...]]:
    """Yield shapes to ask with: one of a single sample and few places, and the one that the module met."""
    met = meeting.shape
    channels, small = {len(met) + dim for dim, _ in meeting.places}, list(met)
    for axis, size in enumerate(met):
        if axis not in {*channels, time}:
            small[axis] = 1 if axis < min(channels) else min(size, PLACES)
    yield tuple(small)
    yield met


def _series(zeros: Tensor, time: int | None) -> Iterator[list[Tensor]]:
    """Yield the calls of each question: as many time steps as in the example, and `STEPS` of them."""
    if time is None:
        yield [zeros] * STEPS
        return
    for steps in dict.fromkeys([zeros.shape[time], STEPS]):
        shape = list(zeros.shape)
        shape[time] = steps
        yield [zeros.flatten()[0].expand(shape)]


def _given(probe: Any, series: list[Tensor]) -> Iterator[Tensor]:
    """Yield the answers to a series of calls, up to the first call that the module does not take."""
    for zeros in series:
        try:
            answer = tensors_in(probe(zeros.clone()))[0]
        except Exception as error:
            if memory_full(error) is not None:
                raise
            return
        if answer.shape != zeros.shape:
            return
        yield answer


def _why(module: nn.Module, answer: Tensor) -> str:
    threshold, rest = getattr(module, "v_threshold", None), getattr(module, "v_reset", None) or 0.0
    if isinstance(threshold, (int, float)) and rest >= threshold:
        return f"rests at {rest:g} and fires at {threshold:g}, so it fires without input"
    return f"outputs {float(answer.flatten()[answer.flatten() != 0][0]):g} without input"
