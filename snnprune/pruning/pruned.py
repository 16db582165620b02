"""A network that is pruned: who is alive in it, and what is left of the dense network."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import torch

from snnprune.common.errors import CompactionError
from snnprune.network.cost import rates
from snnprune.network.cut import Cut
from snnprune.network.rehearsal import rehearse
from snnprune.pruning.compaction.compacting import carry_out, check_optimizer
from snnprune.pruning.compaction.removal import plan_cut
from snnprune.pruning.compaction.shrink import shrink
from snnprune.pruning.compaction.survivors import SurvivingUnits, dense_topology, note, survivors_of
from snnprune.pruning.compaction.transaction import Transaction
from snnprune.pruning.growth import lots, wake
from snnprune.pruning.masks import Masks
from snnprune.pruning.moments import moments_of, outermost
from snnprune.pruning.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn
    from torch.optim import Optimizer

    from snnprune.network.cost import Rates
    from snnprune.network.topology import Topology
    from snnprune.pruning.measures import CostModel
    from snnprune.pruning.method import Method
    from snnprune.pruning.view import Decision


class Pruned:
    """A network with its masks, its cuts and the optimisers that train it.

    Args:
        model: the network.
        topology: its populations and projections.

    Attributes:
        dense: populations and projections before the first cut.
        masks: who is alive of the network in its present size.
        survivors: indices of the surviving units of each population of ``dense``.
        optimizers: those whose moments are masked and cut together with the network.
    """

    def __init__(self, model: nn.Module, topology: Topology) -> None:
        self.model, self.dense, self.masks = model, topology, Masks(model, topology)
        self.survivors = SurvivingUnits.all_of(topology)
        self.optimizers: WeakSet[Optimizer] = WeakSet()
        self._earlier = survivors_of(model)  # of cuts from before this object was made

    def __deepcopy__(self, memo: dict[int, Any]) -> Pruned:
        """Return the same for a copy of the network, which no optimiser trains yet."""
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        own = {name: value for name, value in vars(self).items() if name != "optimizers"}
        vars(twin).update(copy.deepcopy(own, memo), optimizers=WeakSet())
        return twin

    @property
    def topology(self) -> Topology:
        """Populations and projections of the network in its present size."""
        return self.masks.topology

    @property
    def was_cut(self) -> bool:
        """Whether the network had been cut before this object was made."""
        return bool(self._earlier.cut_sizes)

    # --- reading

    def rates(self) -> Rates:
        """Return how much of the dense network is pruned, and how much is left."""
        return rates(self.dense, self.masks.all_alive(), self.masks.units)

    def spent(self, costs: CostModel) -> float:
        """Return the cost of what is alive, as a part of the dense network: a cut changes none of it."""
        layers = (
            costs.of(
                self.dense.projections[p.name],
                float(self.masks.rows(p).sum()),
                float(self.masks.columns(p).sum()),
                float(self.masks.alive(p).sum()),
            )
            for p in self.topology.projections.values()
        )
        return sum(layers) + costs.of_others(self.topology)

    def dense_masks(self) -> dict[str, dict[str, Tensor]]:
        """Return the masks in the size of the dense network (see `Pruner.dense_masks`)."""
        cut = self.survivors.cut(self.dense)
        units, synapses = {}, {}
        for name, left in self.survivors.items():
            units[name] = torch.zeros(self.survivors.sizes[name], dtype=torch.bool)
            units[name][left] = self.masks.units[name].cpu()
        for name, own in self.masks.all_alive().items():
            rows, columns = cut.post(name).nonzero(), cut.pre(name).nonzero().T
            synapses[name] = torch.zeros(self.dense.projections[name].shape, dtype=torch.bool)
            synapses[name][rows, columns] = own.cpu()
        return {"units": units, "synapses": synapses}

    def _alive(self) -> dict[str, Tensor]:
        return {p.name: self.masks.alive(p) for p in self.topology.projections.values()}

    # --- changes

    def add(self, optimizer: Optimizer) -> None:
        """Mask and cut the moments of ``optimizer`` from now on.

        Raises:
            CompactionError: the optimiser holds no parameter of this model.
        """
        if optimizer not in self.optimizers:
            check_optimizer(optimizer, self.model)
            self.optimizers.add(optimizer)

    def outlook(self) -> list[str]:
        """Return what is to be said of cuts during training: an optimiser refuses them, or is changed."""
        weights = dict(self.model.named_parameters())
        lasting = {slot.key for p in self.topology.free() for slot in p.slots if not slot.dies}
        said = (moments_of(each).outlook(weights, lasting) for each in outermost(self.optimizers))
        return [sentence for sentence in said if sentence is not None]

    def keep(self, decision: Decision, method: Method, dice: torch.Generator) -> None:
        """Take over who stays alive, and who comes to life.

        Args:
            decision: what the method has decided.
            method: says whether units and synapses that its decision names alive come back.
            dice: draws the first weights of those that come to life.

        Raises:
            ValueError: the decision prunes or wakes what cannot be pruned, empties a population, or wakes
                what the method has said that it never does; no mask changes.
        """
        born = decision.born
        if born is not None and (method.permanent or (born.units and method.units_stay_dead)):
            raise ValueError(
                f"{type(method).__name__} lets the dead come to life (Decision.born): set permanent = False, "
                "and permanent_units = True only where no unit does"
            )
        with Transaction() as changes:
            changes.remember_items(self.masks.units)
            changes.remember_items(self.masks.synapses)
            for name, alive in decision.units.items():
                self.masks.keep_units(self.topology.populations[name], alive, wake=not method.units_stay_dead)
            for name, alive in decision.synapses.items():
                self.masks.keep_synapses(self.topology.projections[name], alive, wake=not method.permanent)
            if born is not None:
                self.masks.refresh()
                self.masks.apply(*self.optimizers)  # those who come to life begin with moments of zero
                wake(self.model, self.masks, born, lambda p: lots(self.dense, self.survivors, p, dice))
        self.masks.refresh()

    @torch.no_grad()
    def scale(self, factors: Mapping[str, float]) -> None:
        """Multiply the weights of projections, by name."""
        for name, factor in factors.items():
            self.model.get_parameter(self.topology.projections[name].weight).mul_(factor)

    @torch.no_grad()
    def assign(self, values: Mapping[str, Tensor]) -> None:
        """Set tensors, by their key in the state_dict; what is dead in them is zero.

        Raises:
            ValueError: there is no such tensor, or a value has another shape; nothing is set then.
        """
        state = self.model.state_dict(keep_vars=True)
        for key, value in values.items():
            if key not in state or state[key].shape != value.shape:
                there = tuple(state[key].shape) if key in state else "no such tensor"
                raise ValueError(
                    f"a decision sets {key} to values of shape {tuple(value.shape)}, and there is {there}: "
                    "name tensors as the state_dict of the network in its present size does"
                )
        for key, value in values.items():
            state[key].copy_(value)
        if values:
            self.masks.apply()

    def cut(
        self,
        method: Method,
        changes: Transaction,
        *,
        unread: bool,
        round_to: int | None = None,
        min_alive: int = 1,
    ) -> Cut:
        """Remove dead units from the network, with the method's state and the optimisers' moments.

        Returns:
            What was removed; false where there was nothing to remove.

        Raises:
            CompactionError: as `Pruner.compact`.
        """
        cut = plan_cut(self.model, self.masks, unread=unread, round_to=round_to, min_alive=min_alive)
        if cut:
            changes.remember_state(method)
            method.shrink(cut)
            carry_out(self.model, self.masks, cut, self.optimizers, changes)
            changes.remember(self, "survivors")
            self.survivors = self.survivors.after(cut)
        return cut

    def put_back(self, snapshot: Snapshot, changes: Transaction) -> None:
        """Restore the network, the masks and the cuts that a snapshot holds.

        Raises:
            CompactionError: as `Snapshot.put_back`.
        """
        masks, survivors = snapshot.put_back(self.model, self.dense, self.optimizers, changes)
        note(changes, self.model, self._earlier.then(survivors), masks.topology)
        changes.remember(self, "masks", "survivors")
        self.masks, self.survivors = masks, survivors

    # --- checkpoints

    def state_dict(self) -> dict[str, Any]:
        """Return the masks and the surviving units."""
        return {"kept": self.survivors.state_dict(), "masks": self.masks.state_dict()}

    def inherit(self, state: Mapping[str, Any], method: Method, changes: Transaction, *, whole: bool) -> None:
        """Take over the masks and the cuts of a `state_dict`; the network gets the size that it had.

        Args:
            state: the `state_dict`.
            method: follows a cut of the network.
            changes: the transaction that undoes everything on failure.
            whole: the state of the method is loaded next, so the network may also grow. Tensors that grow are
                zero until the weights are loaded, and their moments start from zero.

        Raises:
            ValueError: the state is of another network.
            CompactionError: the network would have to grow, and the method's state does not follow.
        """
        survivors = self.survivors.restored(state.get("kept", {}))
        changes.remember(self, "dense", "survivors", "_earlier")
        cut = Cut(self.topology, {})
        if survivors.sizes != self.survivors.sizes:  # the network was already small when this object was made
            self.dense, self._earlier = dense_topology(self.topology, survivors), SurvivingUnits({})
        elif (lost := self.survivors.lost(survivors)) is None:
            cut = self.survivors.cut_to(survivors, self.topology)
        elif whole and method.can_regrow:
            self.put_back(Snapshot.blank(self.model, self.topology, state["masks"], survivors), changes)
            return
        else:
            raise CompactionError(
                f"population {lost} has lost units that this state still has: build the network anew and "
                "load the state into the new one"
            )
        if cut:
            rehearse(self.model, cut)
            method.shrink(cut)
            shrink(self.model, cut, self.optimizers, changes)
        self.masks.shrink(cut, changes)
        self.masks.load_state_dict(state["masks"])
        self.survivors = survivors
        note(changes, self.model, self._earlier.then(survivors), self.topology)
