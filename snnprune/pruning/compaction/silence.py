"""Proof that the dead are missed by nobody: a unit that could still tell must not be taken away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from snnprune.common.errors import CompactionError
from snnprune.network.axes import tensors_in
from snnprune.network.duplicate import duplicate, reset_states
from snnprune.network.leaves import goes_unit_by_unit, is_multi_step
from snnprune.pruning.compaction.shapes import tensor_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

    from snnprune.network.topology import Population, Slot, Topology

STEPS = 32
"""Time steps without input through which a neuron has to stay silent."""


def prove_silent(model: nn.Module, topology: Topology, population: Population, gone: Tensor) -> None:
    """Show that nothing in the network depends on units of ``population``, whatever it is given.

    What feeds them is zero (weights, bias, the norm's scale, shift and mean). Each norm and neuron behind is
    then asked: a copy of it, at rest and in evaluation mode, is given `STEPS` time steps of zeros and must
    answer with zeros exactly. So an unknown neuron needs no rule of its own.

    A neuron that rests away from zero, as a sigmoid unit does, is let pass where the columns of all its
    readers are zero: a population that may be cut is read by layers alone, and norms and residual adds on the
    way go unit by unit. That the neuron does so as well is known of torch's and of SpikingJelly's; one of
    another make, which might show a unit to its neighbours, has to be silent.

    Args:
        model: the network, with the masks applied.
        topology: of the network.
        population: whose units go.
        gone: bool [size], the units.

    Raises:
        CompactionError: a unit may still answer; the message names population, module and reason.
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
    for name, place in _asked(topology, population).items():
        module = model.get_submodule(name)
        reason = _speaks(model, population, name, place, gone)
        if reason is not None and not (unread and goes_unit_by_unit(module)):
            raise _refused(population, f"{name} ({type(module).__name__}) {reason}")


def restless(model: nn.Module, topology: Topology) -> dict[str, str]:
    """Return by population why its dead will not be provably silent, whatever a method decides.

    That is so where a neuron of another make answers something to no input. Such a population may be masked,
    and is not taken out.
    """
    found = {}
    for population in topology.free():
        everybody = torch.ones(population.size, dtype=torch.bool)
        for name, place in _asked(topology, population).items():
            module = model.get_submodule(name)
            if place is not None and place.role == "norm":
                continue  # what it answers depends on weights that a mask zeroes
            reason = _speaks(model, population, name, place, everybody)
            if reason is not None and not goes_unit_by_unit(module):
                found[population.name] = f"{name} ({type(module).__name__}) {reason}"
    return found


def _asked(topology: Topology, population: Population) -> dict[str, Slot | None]:
    """Return the norms and neurons of a population, with where it stands in those that own values for it."""
    asked: dict[str, Slot | None] = {s.module: s for s in population.slots if s.role in {"norm", "neuron"}}
    for projection in topology.incoming(population.name):
        asked.setdefault(str(projection.neuron), None)
    return asked


def _speaks(
    model: nn.Module, population: Population, name: str, place: Slot | None, units: Tensor
) -> str | None:
    """Return what ``units`` say behind module ``name`` without any input, None where that is nothing."""
    module = model.get_submodule(name)
    like = tensor_of(model, next(slot.key for slot in population.slots if slot.role == "out"))
    answer = _answer(module, place, model, like)
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
def _answer(module: nn.Module, slot: Slot | None, model: nn.Module, like: Tensor) -> Tensor | None:
    """Return [channels, ...]: what a copy of ``module`` answers to silence; None where it takes no input."""
    length = 1 if slot is None else tensor_of(model, slot.key).shape[slot.axis]
    for shape in _shapes(length):
        probe = duplicate(module).eval()
        reset_states(probe)
        zeros = torch.zeros(shape, dtype=like.dtype, device=like.device)
        try:
            outputs = list(_run(probe, zeros))
        except (RuntimeError, ValueError, TypeError, IndexError):
            continue
        if all(o.shape == zeros.shape for o in outputs):
            return torch.stack(outputs).movedim(2, 0)
    return None


def _shapes(length: int) -> Iterator[tuple[int, ...]]:
    """Yield one sample with ``length`` channels and with no space, a line, an area or a volume behind."""
    for space in range(4):
        yield (1, length, *[1] * space)


def _run(probe: Any, zeros: Tensor) -> Iterator[Tensor]:
    """Yield the answer of every time step."""
    if is_multi_step(probe):
        yield from tensors_in(probe(zeros.expand(STEPS, *zeros.shape)))[0]
    else:
        for _ in range(STEPS):
            yield tensors_in(probe(zeros))[0]


def _why(module: nn.Module, answer: Tensor) -> str:
    threshold, rest = getattr(module, "v_threshold", None), getattr(module, "v_reset", None) or 0.0
    if isinstance(threshold, (int, float)) and rest >= threshold:
        return f"rests at {rest:g} and fires at {threshold:g}, so it fires without input"
    return f"outputs {float(answer.flatten()[answer.flatten() != 0][0]):g} without input"
