"""Proof that dead units are silent: a unit that could still change an output must not be removed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from snnprune.common.errors import CompactionError
from snnprune.network.axes import tensors_in
from snnprune.network.duplicate import duplicate, reset_states
from snnprune.network.leaves import goes_unit_by_unit, is_multi_step, is_of_spikingjelly
from snnprune.pruning.compaction.shapes import tensor_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

    from snnprune.network.topology import Population, Slot, Topology

STEPS = 32
"""Number of time steps without input in which a neuron must stay silent."""


def prove_silent(model: nn.Module, topology: Topology, population: Population, gone: Tensor) -> None:
    """Show that for any input nothing in the network depends on the dead units of ``population``.

    The tensors that feed the units must be zero (weights, bias, the norm's scale, shift and mean). Each norm
    and neuron behind them is then tested: a copy of it, at rest and in evaluation mode, receives `STEPS` time
    steps of zeros and must return exact zeros. So an unknown neuron needs no rule of its own.

    A neuron whose output without input is not zero, such as a sigmoid unit, passes if the columns of all
    layers that read it are zero. This is enough because only layers read a prunable population, and the norms
    and residual adds between them work unit by unit. The neurons of torch and SpikingJelly are known to work
    unit by unit, too. A neuron of another library might let one unit affect others, so it has to be silent.

    Args:
        model: the network, with the masks applied.
        topology: topology of the network.
        population: the population that loses units.
        gone: bool [size], True for the units to remove.

    Raises:
        CompactionError: a unit may still have an output; the message names population, module and reason.
    """
    for slot in population.slots:
        if slot.role in {"out", "norm"} and slot.tensor != "running_var":
            entries = _entries(tensor_of(model, slot.key), slot, population)[gone]
            if not bool((entries == 0).all()):
                raise _refused(population, f"{slot.key} of its dead units is not zero")
    unread = all(
        bool((_entries(tensor_of(model, slot.key), slot, population)[gone] == 0).all())
        for slot in population.slots
        if slot.role == "in"
    )
    for name, place in _behind(topology, population).items():
        module = model.get_submodule(name)
        reason = _output(model, population, name, place, gone, time=_time(topology, name))
        if reason is not None and not (unread and goes_unit_by_unit(module)):
            raise _refused(population, f"{name} ({type(module).__name__}) {reason}")


def restless(model: nn.Module, topology: Topology) -> dict[str, str]:
    """Return, by population, why its dead units cannot be proved silent, for any decision of a method.

    This concerns neurons of other libraries whose output without input is not zero. Such a population can be
    masked, but not compacted.
    """
    found = {}
    for population in topology.free():
        all_units = torch.ones(population.size, dtype=torch.bool)
        for name, place in _behind(topology, population).items():
            module = model.get_submodule(name)
            if place is not None and place.role == "norm":
                continue  # what it answers depends on weights that a mask zeroes
            reason = _output(model, population, name, place, all_units, time=_time(topology, name))
            if reason is not None and not goes_unit_by_unit(module):
                found[population.name] = f"{name} ({type(module).__name__}) {reason}"
    return found


def _behind(topology: Topology, population: Population) -> dict[str, Slot | None]:
    """Return the norms and neurons behind a population, with its slot in those that have values per unit."""
    found: dict[str, Slot | None] = {s.module: s for s in population.slots if s.role in {"norm", "neuron"}}
    for projection in topology.incoming(population.name):
        found.setdefault(str(projection.neuron), None)
    return found


def _output(
    model: nn.Module,
    population: Population,
    name: str,
    place: Slot | None,
    units: Tensor,
    *,
    time: int | None,
) -> str | None:
    """Return, in words, the output of ``units`` behind module ``name`` without input; None if it is zero."""
    module = model.get_submodule(name)
    like = tensor_of(model, next(slot.key for slot in population.slots if slot.role == "out"))
    answer = _answer(module, place, model, like, time)
    if answer is None:
        return "cannot be called with its input alone"
    if place is not None:
        answer = answer[place.offset : place.offset + population.size * place.spread]
        answer = answer.unflatten(0, (population.size, place.spread))[units]
    return None if bool((answer == 0).all()) else _why(module, answer)


def _refused(population: Population, reason: str) -> CompactionError:
    return CompactionError(
        f"population {population.name} cannot be compacted, because its dead units are not silent: {reason}"
    )


def _entries(tensor: Tensor, slot: Slot, population: Population) -> Tensor:
    run = tensor.detach().movedim(slot.axis, 0)
    return run[slot.offset : slot.offset + population.size * slot.spread].reshape(population.size, -1)


@torch.no_grad()
def _answer(
    module: nn.Module, slot: Slot | None, model: nn.Module, like: Tensor, time: int | None
) -> Tensor | None:
    """Return [channels, ...]: what a copy of ``module`` answers to silence; None where it takes no input."""
    length = 1 if slot is None else tensor_of(model, slot.key).shape[slot.axis]
    for shape in _shapes(length):
        probe = duplicate(module).eval()
        reset_states(probe)
        zeros = torch.zeros(shape, dtype=like.dtype, device=like.device)
        try:
            outputs = list(_run(probe, zeros, time))
        except (RuntimeError, ValueError, TypeError, IndexError):
            continue
        if all(o.shape == zeros.shape for o in outputs):
            return torch.stack(outputs).movedim(2, 0)
    return None


def _time(topology: Topology, name: str) -> int | None:
    """Return the time axis of a neuron that takes the whole series, None for any other module."""
    sites = (p.site for p in topology.projections.values() if p.neuron == name and p.site is not None)
    return next((site.layout.time for site in sites), None)


def _shapes(length: int) -> Iterator[tuple[int, ...]]:
    """Yield shapes of one sample with ``length`` channels and 0, 1, 2 or 3 axes of space."""
    for space in range(4):
        yield (1, length, *[1] * space)


def _run(probe: Any, zeros: Tensor, time: int | None) -> Iterator[Tensor]:
    """Yield the answer of every time step; ``time`` is the axis of a neuron that takes the whole series."""
    if time is None and is_of_spikingjelly(probe) and is_multi_step(probe):
        time = 0
    if time is not None:
        series = zeros.unsqueeze(time).repeat_interleave(STEPS, time)
        yield from tensors_in(probe(series))[0].movedim(time, 0)
    else:
        for _ in range(STEPS):
            yield tensors_in(probe(zeros))[0]


def _why(module: nn.Module, answer: Tensor) -> str:
    threshold, rest = getattr(module, "v_threshold", None), getattr(module, "v_reset", None) or 0.0
    if isinstance(threshold, (int, float)) and rest >= threshold:
        return f"rests at {rest:g} and fires at {threshold:g}, so it fires without input"
    return f"outputs {float(answer.flatten()[answer.flatten() != 0][0]):g} without input"
