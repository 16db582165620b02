"""Growth: synapses and units that come to life, with which weights, and which synapses a woken unit has."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import torch

from snnprune.network.sizes import tensor_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from snnprune.network.topology import Population, Projection, Topology
    from snnprune.pruning.compaction.survivors import SurvivingUnits
    from snnprune.pruning.masks import Masks

Start = Literal["zero", "drawn"]
STARTS: tuple[Start, ...] = ("zero", "drawn")


@dataclass(frozen=True)
class Born:
    """Units and synapses that come to life.

    Their moments are zero in every optimiser, as those of the dead are. A synapse grows between living units
    only; one that is named elsewhere stays dead.

    A woken unit has as many incoming synapses as the living units of its layer have on average, at least one,
    and as many outgoing ones in each layer that reads it as the living units before that layer have; which
    ones is drawn. In a layer without single dead synapses it has all of them. Its incoming weights are drawn,
    whatever ``start`` says, since a unit with zeros on both sides would never learn; its outgoing ones are
    zero, so that the network answers as before. Its bias is zero, and a norm scales it by 1.

    Attributes:
        synapses: bool, shape of the weight, by projection.
        units: bool [size] by population.
        start: first weight of a synapse: "zero", or "drawn" evenly from [-1/sqrt(n), 1/sqrt(n)], with n the
            mean number of incoming synapses of the layer's living units. torch draws linear layers and
            convolutions so.

    Examples:
        >>> import torch
        >>> from snnprune.pruning import Born, Decision
        >>> dead, born = torch.tensor([[True, False]]), torch.tensor([[False, True]])
        >>> decision = Decision(synapses={"fc": dead}, born=Born({"fc": born}, start="drawn"))
    """

    synapses: dict[str, Tensor] = field(default_factory=dict)
    units: dict[str, Tensor] = field(default_factory=dict)
    start: Start = "zero"

    def __post_init__(self) -> None:
        if self.start not in STARTS:
            raise ValueError(f"a woken weight starts at one of {list(STARTS)}, came '{self.start}'")


def lots(
    dense: Topology, survivors: SurvivingUnits, projection: Projection, generator: torch.Generator
) -> Tensor:
    """Return a number in [0, 1) per synapse, float32 in the shape of the weight, on the CPU.

    Numbers are drawn for the dense network, so that neither a cut nor the device changes them.
    """
    drawn = torch.rand(dense.projections[projection.name].shape, generator=generator)
    return survivors.cut(dense).take(projection.weight, drawn)


@torch.no_grad()
def wake(model: nn.Module, masks: Masks, born: Born, draw: Callable[[Projection], Tensor]) -> None:
    """Bring units and synapses to life, in masks and weights.

    Args:
        model: the network; the weights, biases and norms of all that is dead are zero.
        masks: who is alive; `Masks.refresh` has to follow.
        born: who comes to life.
        draw: returns a number in [0, 1) per synapse of a projection, in the shape of the weight.

    Raises:
        ValueError: a population or a projection is not prunable.
    """
    topology, woken = masks.topology, {}
    before = {p.name: masks.between(p) for p in topology.projections.values()} if born.units else {}
    for name, units in born.units.items():
        population = topology.populations[name]
        woken[name] = units & ~masks.units[name]
        masks.keep_units(population, masks.units[name] | units, wake=True)
        _reset(model, population, woken[name])
    for p in topology.projections.values():
        weight = model.get_parameter(p.weight)
        numbers: Tensor | None = None
        if any(run.population in woken for run in (*p.outflow, *p.inflow)):
            numbers = draw(p).to(weight.device)
            rows = _connect(masks, p, before[p.name], numbers)
            _draw(weight, rows, numbers, masks.alive(p))
        if p.name in born.synapses and p.name in masks.synapses:
            new = born.synapses[p.name] & masks.between(p) & ~masks.synapses[p.name]
            masks.keep_synapses(p, masks.synapses[p.name] | new, wake=True)
            if born.start == "drawn":
                numbers = draw(p).to(weight.device) if numbers is None else numbers
                _draw(weight, new, numbers, masks.alive(p))


def _draw(weight: Tensor, new: Tensor, numbers: Tensor, alive: Tensor) -> None:
    """Set the weights of ``new`` synapses to numbers in [0, 1), moved to the range of the layer."""
    bound = 1.0 / math.sqrt(max(_mean(alive.flatten(1), 1), 1.0))
    drawn = (2.0 * numbers.to(weight.dtype) - 1.0) * bound
    weight.copy_(torch.where(new, drawn, weight))


def _mean(alive: Tensor, dim: int) -> float:
    """Return how many entries of a row (``dim`` 1) or column (0) are alive, over those that have any."""
    counts = alive.sum(dim)
    return float(counts.sum()) / max(int((counts > 0).sum()), 1)


def _connect(masks: Masks, projection: Projection, before: Tensor, numbers: Tensor) -> Tensor:
    """Give woken rows and columns their synapses; return, bool, those of the woken rows."""
    between, own = masks.between(projection), masks.synapses.get(projection.name)
    fresh = between & ~before
    rows = fresh.flatten(1).any(1) & ~before.flatten(1).any(1)
    of_rows = fresh & rows.view(-1, *[1] * (fresh.ndim - 1))
    if own is None:
        return of_rows
    living = own & before
    incoming = _lowest_of_rows(numbers, of_rows, living)
    swap = (between & ~before & ~of_rows).transpose(0, 1)
    outgoing = _lowest_of_rows(numbers.transpose(0, 1), swap, living.transpose(0, 1)).transpose(0, 1)
    masks.keep_synapses(projection, (own & ~fresh) | incoming | outgoing, wake=True)
    return incoming


def _lowest_of_rows(numbers: Tensor, among: Tensor, living: Tensor) -> Tensor:
    """Return, bool, the entries of ``among`` with the lowest numbers, in each row as many as rows have."""
    count = max(round(_mean(living.flatten(1), 1)), 1)
    flat = numbers.masked_fill(~among, math.inf).flatten(1)
    index = flat.topk(min(count, flat.shape[1]), dim=1, largest=False).indices
    chosen = torch.zeros_like(flat, dtype=torch.bool).scatter_(1, index, value=True)
    return chosen.view(among.shape) & among


def _reset(model: nn.Module, population: Population, woken: Tensor) -> None:
    """Let norms scale woken units by 1, with a variance of 1; the rest of what is theirs is zero already."""
    for slot in population.slots:
        scales = slot.role == "norm" and slot.tensor == "weight"
        if scales or slot.tensor == "running_var":
            whole = tensor_of(model, slot.key)
            run, shape = slot.run(population), [1] * whole.ndim
            shape[slot.axis] = run.length
            part = whole.data.narrow(slot.axis, run.offset, run.length)
            part.masked_fill_(run.per_entry(woken).view(shape).to(whole.device), 1.0)
