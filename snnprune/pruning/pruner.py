"""Pruner: the one object that a user holds."""

from __future__ import annotations

import copy
import warnings
from typing import TYPE_CHECKING, Any
from weakref import WeakMethod, WeakSet

import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from snnprune.common.errors import UserError
from snnprune.common.seeds import Stream, generator
from snnprune.config.names import METHODS, build
from snnprune.network.cost import rates
from snnprune.network.discovery import discover
from snnprune.pruning.clock import Clock
from snnprune.pruning.compaction.compacting import carry_out, check_optimizer
from snnprune.pruning.compaction.kept import Kept
from snnprune.pruning.compaction.origin import set_origin
from snnprune.pruning.compaction.permission import check_cut_every, check_may_cut
from snnprune.pruning.compaction.removal import plan_cut
from snnprune.pruning.compaction.shrink import holds_any_of, shrink
from snnprune.pruning.compaction.silence import restless
from snnprune.pruning.forwards import ForwardWatch
from snnprune.pruning.identity import Identity
from snnprune.pruning.masks import Masks
from snnprune.pruning.method import Decision, Method, View
from snnprune.pruning.oversights import Oversights
from snnprune.pruning.recorder import TraceRecorder
from snnprune.pruning.rounds import Round
from snnprune.pruning.shares import agree, of_first
from snnprune.pruning.snapshot import Snapshot
from snnprune.pruning.traces import full_precision

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from torch import Tensor, nn
    from torch.optim import Optimizer
    from torch.utils.hooks import RemovableHandle

    from snnprune.network.cost import Rates
    from snnprune.network.topology import Topology
    from snnprune.pruning.traces import Activity


class Pruner:
    """Prunes ``model`` while a loop of the user's own trains it.

    Three lines of a plain loop: this constructor, `step` after every optimiser step, `end_epoch` after
    every epoch. The model is not changed but for its weights, until `compact` makes it smaller; hooks go
    with `close` (or ``with``).

    Args:
        model: any network; spiking ones in multi-step or single-step mode.
        example_input: what ``model`` takes, to find its populations by one forward.
        method: a name (`snnprune list methods`), or a `Method`.
        epochs: length of the run; schedules scale with it.
        seed: of the method's own random numbers.
        neurons: further neuron classes, of other libraries or the user's own.
        exclude: layers to leave alone, by name or glob.
        protect_first: leave the first layer alone.
        compact_every: take the dead out of the network at every so many epochs' ends, while it trains
            (the next time where the last forward of an epoch was not followed by a step).
        samples: of the training set, for methods whose schedule asks for their number.
        options: constants of a method given by name, such as ``target=0.6``.

    Attributes:
        name: of the method, or of its class.
        finished: the method has nothing more to decide: training may end.
        returned_to: after which epoch (from 0) the network was what it is again, where a method has gone back
            to it; else None.

    Raises:
        UserError: no such method, no such option, no such layer, no epochs, or an example input that
            the model does not take.
    """

    def __init__(
        self,
        model: nn.Module,
        example_input: Any,
        method: str | Method = "dpap",
        *,
        epochs: int,
        seed: int = 0,
        neurons: Sequence[type[nn.Module]] = (),
        exclude: str | Sequence[str] = (),
        protect_first: bool = False,
        compact_every: int | None = None,
        samples: int | None = None,
        **options: Any,
    ) -> None:
        self.name = method if isinstance(method, str) else type(method).__name__
        if isinstance(method, str):
            method = build(METHODS, "method", method, options)
        elif options:
            raise TypeError(
                f"options {sorted(options)} go with a method's name; set them on the method itself"
            )
        assert isinstance(method, Method)
        if epochs < 1:
            raise UserError(f"Pruner needs the length of the run in epochs, at least 1, and got {epochs}")
        check_cut_every(compact_every)
        self.model, self.method, self.seed, self.compact_every = model, method, seed, compact_every
        self._identity = Identity.of(method)
        self.samples = samples
        topology = discover(model, example_input, neurons=neurons)
        topology.protect([exclude] if isinstance(exclude, str) else exclude, first=protect_first)
        if method.reads is not None and not topology.free():
            warnings.warn(
                "no population of this network may be cut: print(snnprune.discover(model, example_input)) "
                "says why (neurons of other libraries have to be named with neurons=...)",
                stacklevel=2,
            )
        for population, reason in restless(model, topology).items():
            warnings.warn(
                f"population {population} may be masked but not taken out, since its dead units cannot be "
                f"proved silent: {reason}",
                stacklevel=2,
            )
        self.masks, self._kept = Masks(model, topology), Kept(topology)
        self.clock = Clock(epochs)
        self.recorder: TraceRecorder | None = None
        if method.reads is not None:
            self.recorder = TraceRecorder(model, self.topology, method.tau, method.reads)
        self.finished = False
        self.returned_to: int | None = None
        self._watch = ForwardWatch(model, self.topology.projections, self._end_batch)
        self._round = Round()
        self._oversights = Oversights()
        self._snapshot: Snapshot | None = None
        self._optimizers: WeakSet[Optimizer] = WeakSet()
        self._handle: RemovableHandle | None = None
        self._listen()
        method.begin(self._view({}))

    @property
    def topology(self) -> Topology:
        """Populations and projections of the network as it is."""
        return self.masks.topology

    @property
    def dense(self) -> Topology:
        """Populations and projections before the first cut; rates and targets are shares of these."""
        return self._kept.dense

    @property
    def kept(self) -> dict[str, Tensor]:
        """Indices [units left] of each population's original units that are left after the cuts so far."""
        return self._kept.units

    def __repr__(self) -> str:
        rates, free = self.rates(), len(self.topology.free())
        return (
            f"Pruner({self.name!r}, {type(self.model).__name__}: {self.clock.epoch} of {self.clock.epochs} "
            f"epochs, {rates.synapses:.1%} of {rates.weights_dense:,} weights and {rates.neurons:.1%} of "
            f"units pruned, {free} of {len(self.topology.populations)} populations free)"
        )

    def step(self, optimizer: Optimizer | None = None) -> None:
        """Close the batch: hand its traces to the method, and keep the dead dead.

        Call it after ``optimizer.step()``; all forwards since the last call are one batch. Where several
        optimisers train the network, call it after the step of each: they share the batch, and the method
        acts once all of them have stepped.

        Raises:
            CompactionError: the optimiser trains nothing of this model.
        """
        if optimizer is not None:
            self.follow(optimizer)
        if self._round.has_next(optimizer, after_forward=self._watch.seen):
            self._end_batch()
            self._round.begin(self._traces())
            self.clock.batches += 1
        if optimizer is not None:
            self._round.add(optimizer)
        if self._round.is_whole(self.model):
            self._end_batch()

    def _traces(self) -> dict[str, Activity]:
        """Close the batch of the recorder and of the watch."""
        self._watch.seen = False
        traces = self.recorder.batch() if self.recorder is not None else {}
        watches = self.recorder is not None and self.recorder.projections
        self._oversights.look_at_batch(active=bool(traces) or not watches)
        return traces

    def _end_batch(self) -> None:
        """Let the method act on the batch whose optimisers have stepped, where there is one."""
        traces, optimizers = self._round.traces, [*self._round.optimizers]
        self._round.end()
        if traces is None:
            return
        if not self.finished:
            with full_precision(next(self.model.parameters()).device):
                self._carry_out(self.method.after_step(self._view(traces)))
        self.masks.apply(optimizers[0] if optimizers else None)
        for optimizer in optimizers[1:]:
            self.masks.apply(optimizer)

    def end_epoch(self, metrics: Mapping[str, float] | None = None) -> None:
        """Score, decide and prune; then the clock moves on.

        Args:
            metrics: what was measured after the epoch, for methods that ask for accuracy; of several
                processes, those of the first count.

        Raises:
            UserError: several processes came to different decisions, since their networks differ.
        """
        self._end_batch()
        if type(self.method) is not Method:  # which prunes nothing
            self._oversights.look_at_epoch(self.clock)
            self._oversights.look_at_optimizers(self._round.left_out())
        if not self.finished:
            with full_precision(next(self.model.parameters()).device):
                self._carry_out(self.method.end_epoch(self._view({}), of_first(metrics)))
            agree(self.masks)
        self.masks.apply()
        self.clock.epoch += 1
        if self.clock.epoch >= self.clock.epochs:
            self._oversights.look_at_end(self.clock, self.method.target, self.rates())
        due = self.compact_every is not None and self.clock.epoch % self.compact_every == 0
        if due and not self._in_batch():
            self.compact(unread=False)

    def _carry_out(self, decision: Decision | None) -> None:
        if decision is None:
            return
        if decision.snapshot:
            self._snapshot = Snapshot.take(self.model, self.masks, self._kept, self.clock.epoch)
        if decision.restore:
            self._go_back()
        self.finished = decision.finished
        if not (decision.units or decision.synapses):
            return
        wake = not self.method.permanent
        for name, alive in decision.units.items():
            self.masks.keep_units(self.topology.populations[name], alive, wake=wake)
        for name, alive in decision.synapses.items():
            self.masks.keep_synapses(self.topology.projections[name], alive, wake=wake)
        self.masks.refresh()

    def _go_back(self) -> None:
        if self._snapshot is None:
            raise ValueError(f"{type(self.method).__name__} goes back to a snapshot that it never took")
        self.masks, self._kept = self._snapshot.put_back(self.model, self._kept, self._optimizers)
        self.returned_to = self._snapshot.epoch
        if self.recorder is not None:
            self.recorder.batch()  # of the network that is gone
            self.recorder.follow(self.topology)

    def rates(self) -> Rates:
        """Count what is pruned and what is left, of the dense network."""
        alive = {p.name: self.masks.alive(p) for p in self.topology.projections.values()}
        return rates(self.dense, alive, self.masks.units)

    @torch.no_grad()
    def importance(self) -> dict[str, Tensor]:
        """Return the method's scores of the network as it is, of the epoch so far: `Method.importance`.

        In several processes all have to ask.
        """
        self._end_batch()
        with full_precision(next(self.model.parameters()).device):
            return self.method.importance(self._view({}))

    def dense_masks(self) -> dict[str, dict[str, Tensor]]:
        """Return who is alive of the dense network, whatever was cut since.

        Returns:
            "units": bool [size] by population; "synapses": bool, shape of the weight, by projection; laid
            out as the state of `Masks`, whose `Masks.load_state_dict` takes it for a dense network. On the
            CPU.
        """
        alive = {p.name: self.masks.alive(p) for p in self.topology.projections.values()}
        return self._kept.expand(self.topology, self.masks.units, alive)

    def _view(self, traces: Mapping[str, Activity]) -> View:
        at = (self.clock.epoch, self.clock.batches)
        dice = generator(torch.device("cpu"), self.seed, Stream.METHOD, *at)
        return View(
            self.model,
            self.topology,
            self.masks,
            self.clock,
            traces,
            dice,
            self.dense,
            self.kept,
            tuple(self._optimizers),
            self.samples,
        )

    def _before_step(self, optimizer: Optimizer) -> None:
        if not holds_any_of(optimizer, self.model):
            return
        self._round.stepped.add(optimizer)
        if type(self.method).after_backward is not Method.after_backward:
            self._optimizers.add(optimizer)
            if self._round.is_first_to_step(optimizer):
                self.method.after_backward(self._view({}))

    # --- compaction

    def follow(self, optimizer: Optimizer) -> None:
        """Cut the moments of ``optimizer`` along with the network; `step` calls this by itself.

        Raises:
            CompactionError: it trains nothing of this model.
        """
        if optimizer not in self._optimizers:
            check_optimizer(optimizer, self.model)
            self._optimizers.add(optimizer)

    def compact(
        self,
        optimizer: Optimizer | None = None,
        *,
        round_to: int | None = None,
        min_alive: int = 1,
        unread: bool | None = None,
    ) -> nn.Module:
        """Take the dead out of the model itself, between two batches; training then goes on.

        Moments of the optimisers that `step` has seen are cut along. Decisions are those that masking alone
        would have come to.

        Args:
            optimizer: what trains the model, where `step` has not seen it.
            round_to: fill every population that is cut up to a multiple of this, for example 8, with the
                strongest of those that would go; the dead among them stay, with weights of zero.
            min_alive: how many units of each population stay at least.
            unread: whether living units go, too, that nothing alive reads. Without an answer: once the last
                decision is taken, since until then a method still counts them.

        Returns:
            The model.

        Raises:
            CompactionError: a dead unit cannot be proved silent, the optimiser is another model's, a batch
                is open, the method wakes what it let die, or DistributedDataParallel holds the model.
        """
        if optimizer is not None:
            self.follow(optimizer)
        self._end_batch()
        check_may_cut(self.model, self.method, training=not self._decided, in_batch=self._in_batch())
        if unread is None:
            unread = self._decided
        cut = plan_cut(self.model, self.masks, round_to=round_to, min_alive=min_alive, unread=unread)
        if cut:
            carry_out(self.model, self.masks, cut, self._optimizers)
            self._kept.shrink(cut)
            self.method.shrink(cut)
            if self.recorder is not None:
                self.recorder.follow(self.topology)
        return self.model

    @property
    def _decided(self) -> bool:
        return self.finished or self.clock.decisions_left == 0

    def _in_batch(self) -> bool:
        return self.recorder is not None and self.recorder.holds_activity

    # --- checkpoints

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a resumed run needs beside the model and the optimiser.

        In several processes: between `end_epoch` and the next batch each may ask alone, else all have to.
        """
        self._end_batch()
        return {
            "clock": {"epoch": self.clock.epoch, "batches": self.clock.batches},
            "kept": self._kept.state_dict(),
            "masks": self.masks.state_dict(),
            "method": self.method.state_dict(),
            "identity": self._identity.state_dict(),
            "snapshot": None if self._snapshot is None else self._snapshot.state_dict(),
            "finished": self.finished,
            "returned_to": self.returned_to,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` returned.

        Load it before the model and the optimiser: if the network had been cut, the model becomes as small
        as it was then, so that its weights fit. A method with other constants than those that were saved,
        such as another target, goes on with its own, with a warning.

        Raises:
            UserError: the state is of another method.
            ValueError: the state is of another network.
        """
        differ = self._identity.check(state.get("identity", {}))
        if differ is not None:
            warnings.warn(
                f"the state was saved with {differ}: what is decided from now on is as here", stacklevel=2
            )
        self.inherit(state)
        self._oversights.resume()
        self.clock.epoch, self.clock.batches = state["clock"]["epoch"], state["clock"]["batches"]
        device = next(self.model.parameters()).device
        self.method.load_state_dict(state["method"], device)
        snapshot = state.get("snapshot")
        self._snapshot = None if snapshot is None else Snapshot.of(snapshot)
        self.finished = bool(state.get("finished", False))
        self.returned_to = state.get("returned_to")

    def inherit(self, state: Mapping[str, Any]) -> None:
        """Begin with what is left of a network that another pruner pruned: its masks and its cuts.

        Time and the method begin anew. As with `load_state_dict`, the weights are loaded afterwards, or the
        network has them and is as small already.

        Args:
            state: that pruner's `state_dict`, of a network with as many units before its first cut.

        Raises:
            ValueError: the state is of another network.
        """
        self._kept, cut = self._kept.restored(state.get("kept", {}))
        if cut:
            shrink(self.model, cut, self._optimizers)
            self.masks.shrink(cut)
            self.method.shrink(cut)
        set_origin(self.model, self._kept.origin(self.model))
        if self.recorder is not None:
            self.recorder.follow(self.topology)
        self.masks.load_state_dict(state["masks"])

    # --- hooks

    def _listen(self) -> None:
        # To every optimiser, since none is known yet; a loop needs no further line for it. The hook
        # outlives whoever forgets close(), and must not keep the network alive.
        own = WeakMethod(self._before_step)
        self._handle = register_optimizer_step_pre_hook(lambda o, *_: (own() or _nothing)(o))

    def __deepcopy__(self, memo: dict[int, Any]) -> Pruner:
        """Return a pruner of a copy of the network; it follows the optimisers that its `step` will see."""
        self._end_batch()
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        apart: dict[str, Any] = {"_optimizers": WeakSet(), "_handle": None, "_round": Round()}
        vars(twin).update(
            copy.deepcopy({k: v for k, v in vars(self).items() if k not in apart}, memo) | apart
        )
        twin._watch.call(twin._end_batch)
        if self._handle is not None:
            twin._listen()
        return twin

    def close(self) -> None:
        """Remove every hook from the model; warn where the last decision is taken and the target missed."""
        self._end_batch()
        self._oversights.look_at_end(self.clock, self.method.target, self.rates())
        self._unhook()

    def _unhook(self) -> None:
        self._watch.close()
        if self.recorder is not None:
            self.recorder.close()
        if self._handle is not None:
            self._handle.remove()
            self._handle = None

    def __enter__(self) -> Pruner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self._unhook()


def _nothing(_: Optimizer) -> None:
    """Stand in for a pruner that is gone."""
