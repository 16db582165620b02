"""Masks: which units and synapses are alive, and how pruned entries are kept at zero.

Masks are plain tensors beside the model. They are applied after each optimiser step to weights, biases,
norms, gradients and the optimiser's moments; the model's own state_dict keeps its keys.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch

from snnprune.common.errors import CompactionError
from snnprune.network.cost import Rates, rates
from snnprune.network.leaves import leaf_kind, weight_shape
from snnprune.network.runs import alive_along
from snnprune.network.weights import device_of
from snnprune.pruning.moments import moments_of, outermost

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor, nn
    from torch.optim import Optimizer

    from snnprune.network.cut import Cut
    from snnprune.network.runs import Run
    from snnprune.network.topology import Population, Projection, Topology
    from snnprune.pruning.compaction.transaction import Transaction


class Masks:
    """Which units and synapses of a network are alive.

    Args:
        model: the network; masks follow its devices.
        topology: its populations and projections.

    Attributes:
        units: bool [size] by population.
        synapses: bool, shape of the weight, by projection; only projections with single pruned synapses.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import snnprune
        >>> model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(16, 4)
        >>> topology = snnprune.discover(model, x)
        >>> masks = snnprune.Masks(model, topology)
        >>> masks.keep_units(topology.populations["0"], torch.arange(8) < 6)
        >>> masks.refresh()
        >>> masks.apply()
        >>> masks.rates().neurons_left["0"], bool(model[0].weight[6:].any())  # 6 of 8; the others are zero
        ((6, 8), False)
    """

    def __init__(self, model: nn.Module, topology: Topology) -> None:
        self.model, self.topology = model, topology
        device = {name: device_of(model.get_submodule(name)) for name in topology.projections}
        self.units: dict[str, Tensor] = {
            p.name: torch.ones(p.size, dtype=torch.bool, device=device[p.producers[0]])
            for p in topology.populations.values()
        }
        self.synapses: dict[str, Tensor] = {}
        self._factors: dict[str, Tensor] | None = {}  # by key, 0 where pruned; None: not computed yet

    # --- reading

    def columns(self, projection: Projection) -> Tensor:
        """Return bool [columns]: which inputs of ``projection`` are alive."""
        return self._along(projection, projection.columns, projection.inflow)

    def rows(self, projection: Projection) -> Tensor:
        """Return bool [rows]: which outputs of ``projection`` are alive."""
        return self._along(projection, projection.shape[0], projection.outflow)

    def _along(self, projection: Projection, length: int, runs: Iterable[Run]) -> Tensor:
        device = self.units[projection.outflow[0].population].device
        whole = torch.ones(length, dtype=torch.bool, device=device)
        return alive_along(runs, self.units, whole)

    def alive(self, projection: Projection) -> Tensor:
        """Return bool, shape of the weight: synapses that are alive and connect units that are alive."""
        own, between = self.synapses.get(projection.name), self.between(projection)
        return between if own is None else between & own

    def between(self, projection: Projection) -> Tensor:
        """Return bool, shape of the weight: synapses, alive or not, that connect units that are alive."""
        kernel = (1,) * (len(projection.shape) - 2)
        rows, columns = self.rows(projection), self.columns(projection)
        return (rows.view(-1, 1, *kernel) & columns.view(1, -1, *kernel)).expand(projection.shape)

    def all_alive(self) -> dict[str, Tensor]:
        """Return `alive` of every projection, by name."""
        return {p.name: self.alive(p) for p in self.topology.projections.values()}

    def rates(self) -> Rates:
        """Count what is left."""
        return rates(self.topology, self.all_alive(), self.units)

    def after(
        self, units: Mapping[str, Tensor] | None = None, synapses: Mapping[str, Tensor] | None = None
    ) -> Masks:
        """Return other masks, in which the named units and synapses are alive as given."""
        other = copy.copy(self)
        other.units, other.synapses = {**self.units, **(units or {})}, {**self.synapses, **(synapses or {})}
        other._factors = None
        return other

    # --- pruning

    def keep_units(self, population: Population, alive: Tensor, *, wake: bool = False) -> None:
        """Prune every unit of ``population`` that is not in ``alive`` (bool [size]).

        With ``wake``, pruned units that are in ``alive`` come back.

        Raises:
            ValueError: the population is not prunable, or none of its units would be left.
        """
        if population.frozen is not None:
            raise ValueError(f"population {population.name} cannot be pruned: {population.frozen}")
        alive = alive.clone() if wake else self.units[population.name] & alive
        if not alive.any():
            raise ValueError(f"population {population.name} would be emptied: keep at least one unit")
        self.units[population.name] = alive

    def keep_synapses(self, projection: Projection, alive: Tensor, *, wake: bool = False) -> None:
        """Prune every synapse of ``projection`` that is not in ``alive`` (bool, shape of the weight).

        With ``wake``, pruned synapses that are in ``alive`` regrow.

        Raises:
            ValueError: the projection is not prunable.
        """
        if projection.frozen is not None:
            raise ValueError(f"synapses of {projection.name} cannot be pruned: {projection.frozen}")
        own = self.synapses.get(projection.name)
        self.synapses[projection.name] = alive.clone() if own is None or wake else own & alive

    def refresh(self) -> None:
        """Compute again which entries of which tensors are pruned; call it after a mask has changed."""
        factors: dict[str, Tensor] = {}
        state = self.model.state_dict(keep_vars=True)

        def factor(key: str) -> Tensor:
            if key not in factors:
                kind = _INTEGERS[state[key].itemsize]
                factors[key] = torch.ones_like(state[key], dtype=kind, requires_grad=False)
            return factors[key]

        for population in self.topology.populations.values():
            alive = self.units[population.name]
            if bool(alive.all()):
                continue
            for slot in population.slots:
                if not slot.dies:
                    continue
                whole = factor(slot.key)
                run, shape = slot.run(population), [1] * whole.ndim
                shape[slot.axis] = run.length
                part = whole.narrow(slot.axis, run.offset, run.length)
                part *= run.per_entry(alive).view(shape)
        for name, own in self.synapses.items():
            factor(self.topology.projections[name].weight).mul_(own)
        self._factors = factors

    def factors(self) -> Mapping[str, Tensor]:
        """Return which entries are pruned, by key of the tensor, in its shape: 0 where pruned, 1 elsewhere.

        Tensors without a mask are not named. The integers are as wide as the tensor's own numbers. The
        mapping is a new one after each change of a mask.
        """
        if self._factors is None:
            self.refresh()
        assert self._factors is not None
        return self._factors

    # --- keeping pruned entries at zero

    @torch.no_grad()
    def apply(self, *optimizers: Optimizer | None) -> None:
        """Set all pruned entries to zero: weights, biases, norms, gradients, and moments in ``optimizers``.

        What an optimiser keeps in another form than the weights' is left as it is, unless it is known what
        the dead hold in it (`snnprune.pruning.moments`).

        Pruned entries become zero even if they were inf or NaN. All other entries stay as they are.
        """
        factors = self.factors()
        state = self.model.state_dict(keep_vars=True) if factors else {}
        masked = [(state[key], factor) for key, factor in factors.items()]
        pairs = [(parameter.data, factor) for parameter, factor in masked]
        pairs += [(parameter.grad, factor) for parameter, factor in masked if parameter.grad is not None]
        for optimizer in outermost(o for o in optimizers if o is not None) if masked else ():
            pairs += moments_of(optimizer).erasures(masked)
        _erase(pairs)

    @torch.no_grad()
    def zero(self, model: nn.Module) -> None:
        """Set all pruned entries to zero in a copy of the network, such as a moving average of its weights.

        Raises:
            CompactionError: a tensor of ``model`` is missing, or has another shape than in the network.
        """
        factors, pairs = self.factors(), []
        state = model.state_dict(keep_vars=True) if factors else {}
        for key, factor in factors.items():
            shape = tuple(state[key].shape) if key in state else ()
            if shape != tuple(factor.shape):
                raise CompactionError(
                    f"expected a copy of the pruned network, but {key} has shape {shape or 'none'} in it and "
                    f"{tuple(factor.shape)} in the network: pass a copy that has the same shapes"
                )
            pairs.append((state[key].data, factor))
        _erase(pairs)

    def revived(self, state: Mapping[str, Tensor]) -> int:
        """Return how many pruned weights are not zero in a state_dict of the network."""
        weights = {p.weight for p in self.topology.projections.values()} & state.keys()
        return sum(
            int((state[key].to(factor.device)[factor == 0] != 0).sum())
            for key, factor in self.factors().items()
            if key in weights
        )

    # --- another network, or a smaller one

    def bound_to(self, model: nn.Module) -> Masks:
        """Return the same masks for another network of the same structure, such as a copy.

        Raises:
            CompactionError: a layer is missing there, or has another shape.
        """
        modules = dict(model.named_modules())
        for p in self.topology.projections.values():
            layer = modules.get(p.name)
            shape = weight_shape(layer) if layer is not None and leaf_kind(layer, ()) == p.kind else ()
            if shape != p.shape:
                inner = [name for name, module in modules.items() if _holds(module, p)]
                hint = f": pass the network itself, which is its '{inner[0]}'" if inner else ""
                raise CompactionError(
                    f"these masks are of another network: layer {p.name} has a weight of shape {p.shape} in "
                    f"that one and {shape or 'none'} in this {type(model).__name__}{hint}"
                )
        masks = Masks(model, self.topology)
        masks.load_state_dict(self.state_dict())
        return masks

    def shrink(self, cut: Cut, changes: Transaction) -> None:
        """Make the masks follow a cut of the network."""
        changes.remember(self, "units", "synapses", "topology", "_factors")
        self.units = {name: alive[cut.unit(name).to(alive.device)] for name, alive in self.units.items()}
        self.synapses = {
            name: cut.take(self.topology.projections[name].weight, own) for name, own in self.synapses.items()
        }
        self.topology, self._factors = cut.after, None

    # --- checkpoints

    def state_dict(self) -> dict[str, dict[str, Tensor]]:
        """Return copies of the masks."""
        return {
            "units": {k: t.clone() for k, t in self.units.items()},
            "synapses": {k: t.clone() for k, t in self.synapses.items()},
        }

    def load_state_dict(self, state: dict[str, dict[str, Tensor]]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            ValueError: the masks are of another network.
        """
        shapes = {k: tuple(t.shape) for k, t in state["units"].items()}
        mine = {k: tuple(t.shape) for k, t in self.units.items()}
        if shapes != mine:
            raise ValueError(
                f"these masks are of another network: expected populations {mine}, came {shapes}"
            )
        for name, own in state["synapses"].items():
            known = self.topology.projections.get(name)
            if known is None or known.shape != tuple(own.shape):
                raise ValueError(
                    f"these masks are of another network: expected synapses of {name} in shape "
                    f"{known and known.shape}, came {tuple(own.shape)}"
                )
        self.units = {k: t.to(self.units[k].device, copy=True) for k, t in state["units"].items()}
        self.synapses = {
            k: t.to(self.rows(self.topology.projections[k]).device, copy=True)
            for k, t in state["synapses"].items()
        }
        self._factors = None


_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""The integer type, by size in bytes, as which numbers are multiplied."""


def _erase(pairs: list[tuple[Tensor, Tensor]]) -> None:
    """Multiply the bits of tensors, as integers, by 0 or 1: 0 times the bits of inf or NaN is 0.0."""
    bits, factors = [], []
    for tensor, factor in pairs:
        factors.append(_as_wide(factor, tensor))
        bits.append(tensor.view(factors[-1].dtype))
    if bits:
        torch._foreach_mul_(bits, factors)


def erased(gradient: Tensor, factor: Tensor) -> Tensor:
    """Return ``gradient`` with 0.0 where ``factor`` is 0, also in place of inf and NaN.

    Another tensor may share its memory, so that a copy is returned. Where it is to be differentiated once
    more (``create_graph``), so is the copy.
    """
    if gradient.requires_grad:
        return torch.where(factor != 0, gradient, 0.0)
    factor = _as_wide(factor, gradient)
    return (gradient.view(factor.dtype) * factor).view(gradient.dtype)


def _as_wide(factor: Tensor, tensor: Tensor) -> Tensor:
    """Return a factor in integers as wide as a tensor's numbers, on its device: averages may be elsewhere."""
    kind = factor.dtype if factor.itemsize == tensor.itemsize else _INTEGERS[tensor.itemsize]
    return factor.to(tensor.device, kind)


def _holds(model: nn.Module, projection: Projection) -> bool:
    """Tell whether ``model`` has the weight of ``projection`` under its name."""
    tensors = dict(model.named_parameters())
    return projection.weight in tensors and tuple(tensors[projection.weight].shape) == projection.shape
