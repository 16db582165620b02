"""Proof that dead units are silent: a unit that could still change an output must not be removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snnprune.common.errors import CompactionError
from snnprune.network.leaves import goes_unit_by_unit
from snnprune.network.resting import behind, unrest
from snnprune.network.sizes import tensor_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from snnprune.network.topology import Population, Slot, Topology


def prove_silent(model: nn.Module, topology: Topology, population: Population, gone: Tensor) -> None:
    """Show that for any input nothing in the network depends on the dead units of ``population``.

    The tensors that feed the units must be zero (weights, bias, the norm's scale, shift and mean). Each norm
    and neuron behind them must answer zeros with exact zeros (`snnprune.network.resting`).

    A neuron whose output without input is not zero, such as a sigmoid unit, passes if the columns of all
    layers that read it are zero. This is enough because only layers read a prunable population, and the norms
    and residual adds between them work unit by unit. The neurons of torch and SpikingJelly are known to work
    unit by unit, too. A neuron of another library might let one unit affect others, so it has to be silent.
    So have units that a product of activities sums over, as the channels of queries and keys.

    Args:
        model: the network, with the masks applied.
        topology: topology of the network.
        population: the population that loses units.
        gone: bool [size], True for the units to remove.

    Raises:
        CompactionError: a unit may still have an output; the message names population, module and reason.
    """
    for slot in population.slots:
        if slot.dies and slot.role != "in":
            entries = _entries(tensor_of(model, slot.key), slot, population)[gone]
            if not bool((entries == 0).all()):
                raise _refused(population, f"{slot.key} of its dead units is not zero")
    unread = not population.contracted and all(
        bool((_entries(tensor_of(model, slot.key), slot, population)[gone] == 0).all())
        for slot in population.slots
        if slot.role == "in"
    )
    for name in behind(topology, population.name):
        module = model.get_submodule(name)
        if unread and goes_unit_by_unit(module):
            continue
        reason = unrest(model, topology, population.name, name, gone)
        if reason is not None:
            raise _refused(population, f"{name} ({type(module).__name__}) {reason}")


def _refused(population: Population, reason: str) -> CompactionError:
    return CompactionError(
        f"population {population.name} cannot be compacted, because its dead units are not silent: {reason}"
    )


def _entries(tensor: Tensor, slot: Slot, population: Population) -> Tensor:
    return slot.run(population).per_unit(tensor.detach().movedim(slot.axis, 0)).flatten(1)
