"""Pruner: the one object that a user holds."""

from __future__ import annotations

import copy
import sys
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakMethod, WeakSet, finalize

import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from snnprune.common import ranks
from snnprune.common.errors import CompactionError, UserError
from snnprune.common.seeds import Stream, generator
from snnprune.config.names import METHODS, build
from snnprune.network.cost import rates
from snnprune.network.discovery import discover
from snnprune.pruning.clock import Clock
from snnprune.pruning.compaction.compacting import carry_out, check_optimizer
from snnprune.pruning.compaction.permission import check_cut_every, check_may_cut
from snnprune.pruning.compaction.removal import plan_cut
from snnprune.pruning.compaction.shrink import holds_any_of, shrink
from snnprune.pruning.compaction.silence import restless
from snnprune.pruning.compaction.survivors import SurvivingUnits, dense_topology, note, survivors_of
from snnprune.pruning.compaction.transaction import Transaction
from snnprune.pruning.forwards import ForwardWatch
from snnprune.pruning.identity import Identity
from snnprune.pruning.masks import Masks
from snnprune.pruning.method import Method
from snnprune.pruning.oversights import Oversights
from snnprune.pruning.recorder import TraceRecorder
from snnprune.pruning.rounds import Round
from snnprune.pruning.shares import agree, of_first
from snnprune.pruning.snapshot import Snapshot
from snnprune.pruning.traces import full_precision
from snnprune.pruning.view import Decision, View

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
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
            (the next time where the last forward of an epoch was not followed by a step). A cut that cannot
            be made is said in a warning, and masks alone go on until the next one.
        samples: of the training set, for methods whose schedule asks for their number.
        options: constants of a method given by name, such as ``target=0.6``.

    Attributes:
        name: of the method, or of its class.
        dense: populations and projections before the first cut; rates and targets are shares of these.
        survivors: which units of each population of ``dense`` are left, by their indices.
        finished: the method has nothing more to decide: training may end.
        returned_to: after which epoch (from 0) the network was what it is again, where a method has gone back
            to it; else None.

    Raises:
        UserError: no such method, no such option, options beside a method object, no such layer, no epochs,
            an example input that the model does not take, or ``compact_every`` with a method whose network
            cannot be cut while it trains.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import snnprune
        >>> model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(16, 4)
        >>> optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        >>> with snnprune.Pruner(model, x, "magnitude", epochs=6, target=0.5) as pruner:
        ...     for _ in range(6):
        ...         optimizer.zero_grad()
        ...         model(x).square().mean().backward()
        ...         optimizer.step()
        ...         pruner.step(optimizer)  # after every step of the optimiser
        ...         pruner.end_epoch()  # after every epoch
        >>> pruner.rates().synapses
        0.5
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
        method = method_of(method, options)
        if epochs < 1:
            raise UserError(f"Pruner needs the length of the run in epochs, at least 1, and got {epochs}")
        check_cut_every(compact_every, method)
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
        self.masks, self.dense = Masks(model, topology), topology
        self.survivors = SurvivingUnits.all_of(topology)
        self._earlier = survivors_of(model)
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
            with full_precision(self._device):
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
            with Transaction() as changes, full_precision(self._device):
                state = self.method.state_dict()  # it may be asked again where its decision is refused
                changes.on_failure(lambda: self.method.load_state_dict(state, self._device))
                self._carry_out(self.method.end_epoch(self._view({}), of_first(metrics)))
            agree(self.masks)
        self.masks.apply(*self._optimizers)
        self.clock.epoch += 1
        if self.clock.epoch >= self.clock.epochs:
            self._oversights.look_at_end(self.clock, self.method.target, self.rates())
        due = self.compact_every is not None and self.clock.epoch % self.compact_every == 0
        if due and not self._in_batch():
            try:
                self._cut_together()
            except CompactionError as error:  # the decision has been taken, and masks hold it
                self._oversights.look_at_refusal(error)

    def _carry_out(self, decision: Decision | None) -> None:
        if decision is None:
            return
        if decision.snapshot:
            self._snapshot = Snapshot.take(self.model, self.masks, self.survivors, self.clock.epoch)
        if decision.restore:
            self._go_back()
        self.finished = decision.finished
        if not (decision.units or decision.synapses):
            return
        wake = not self.method.permanent
        with Transaction() as changes:
            changes.remember_items(self.masks.units)
            changes.remember_items(self.masks.synapses)
            for name, alive in decision.units.items():
                self.masks.keep_units(self.topology.populations[name], alive, wake=wake)
            for name, alive in decision.synapses.items():
                self.masks.keep_synapses(self.topology.projections[name], alive, wake=wake)
        self.masks.refresh()

    def _go_back(self) -> None:
        if self._snapshot is None:
            raise ValueError(f"{type(self.method).__name__} goes back to a snapshot that it never took")
        with Transaction() as changes:
            masks, survivors = self._snapshot.put_back(self.model, self.dense, self._optimizers, changes)
            note(changes, self.model, self._earlier.then(survivors), masks.topology)
        self.masks, self.survivors = masks, survivors
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
        with full_precision(self._device):
            return self.method.importance(self._view({}))

    def dense_masks(self) -> dict[str, dict[str, Tensor]]:
        """Return who is alive of the dense network, whatever was cut since.

        Returns:
            "units": bool [size] by population; "synapses": bool, shape of the weight, by projection; laid
            out as the state of `Masks`, whose `Masks.load_state_dict` takes it for a dense network. On the
            CPU.
        """
        alive = {p.name: self.masks.alive(p) for p in self.topology.projections.values()}
        cut = self.survivors.cut(self.dense)
        units, synapses = {}, {}
        for name, left in self.survivors.items():
            units[name] = torch.zeros(self.survivors.sizes[name], dtype=torch.bool)
            units[name][left] = self.masks.units[name].cpu()
        for name, own in alive.items():
            rows, columns = cut.post(name).nonzero(), cut.pre(name).nonzero().T
            synapses[name] = torch.zeros(self.dense.projections[name].shape, dtype=torch.bool)
            synapses[name][rows, columns] = own.cpu()
        return {"units": units, "synapses": synapses}

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
            self.survivors,
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
                is open, decisions of a method that lets synapses regrow are still to come, or something else
                holds a tensor of the model, such as DistributedDataParallel or an output that was kept with
                its graph. Everything is as it was then.
        """
        if optimizer is not None:
            self.follow(optimizer)
        self._end_batch()
        unread = self._decided if unread is None else unread
        with Transaction() as changes:
            self._cut(changes, round_to=round_to, min_alive=min_alive, unread=unread)
        return self.model

    def _cut(self, changes: Transaction, *, unread: bool, **limits: Any) -> None:
        check_may_cut(self.model, self.method, training=not self._decided, in_batch=self._in_batch())
        cut = plan_cut(self.model, self.masks, unread=unread, **limits)
        if cut:
            changes.remember_state(self.method)
            self.method.shrink(cut)
            carry_out(self.model, self.masks, cut, self._optimizers, changes)
            self._follow(self.survivors.after(cut), changes)

    def _cut_together(self) -> None:
        """Cut in all processes, or in none: they agree on it before the first tensor changes.

        Raises:
            CompactionError: this process cannot, or another one.
        """
        asked = False

        def agreed(able: bool = True) -> None:
            nonlocal asked
            asked = True
            [unable] = ranks.summed([torch.tensor(0.0 if able else 1.0)])
            if able and unable > 0:
                raise CompactionError("another process that trains this network cannot cut it")

        try:
            with Transaction(agreed) as changes:
                self._cut(changes, unread=False)
        finally:
            if not asked:
                agreed(able=sys.exc_info()[0] is None)

    def _follow(self, survivors: SurvivingUnits, changes: Transaction) -> None:
        """Take note of a cut that was made."""
        changes.remember(self, "survivors")
        self.survivors = survivors
        if self.recorder is not None:
            changes.remember(self.recorder, "projections")
            self.recorder.follow(self.topology)

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

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
            "kept": self.survivors.state_dict(),
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
            UserError: the state is of another method, or no pruner's.
            ValueError: the state is of another network. Everything is as it was then.
        """
        differ = self._identity.check(state.get("identity", {}))
        if differ is not None:
            warnings.warn(
                f"the state was saved with {differ}: what is decided from now on is as here", stacklevel=2
            )
        snapshot = state.get("snapshot")
        with self._taking_in() as changes:
            clock = Clock(self.clock.epochs, state["clock"]["epoch"], state["clock"]["batches"])
            self._inherit(state, changes)
            self.method.load_state_dict(state["method"], self._device)
        self._oversights.resume()
        self.clock = clock
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
            UserError: the state is no pruner's.
            ValueError: the state is of another network. Everything is as it was then.
        """
        with self._taking_in() as changes:
            self._inherit(state, changes)

    @contextmanager
    def _taking_in(self) -> Iterator[Transaction]:
        """Yield the changes that a state makes, which is no pruner's where a part of it is missing."""
        try:
            with Transaction() as changes:
                changes.remember_state(self.method)
                yield changes
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(
                "expected the state of a pruner, as Pruner.state_dict() returns it, and a part of it is "
                f"missing or of another kind ({type(error).__name__}: {error}): load the state of a pruner"
            ) from error

    def _inherit(self, state: Mapping[str, Any], changes: Transaction) -> None:
        survivors, cut = self.survivors.restored(state.get("kept", {}), self.topology)
        changes.remember(self, "dense", "_earlier")
        if survivors.sizes != self.survivors.sizes:  # the network was made small before this pruner was
            self.dense, self._earlier = dense_topology(self.topology, survivors), SurvivingUnits({})
        if cut:
            self.method.shrink(cut)
            shrink(self.model, cut, self._optimizers, changes)
        self.masks.shrink(cut, changes)
        self.masks.load_state_dict(state["masks"])
        note(changes, self.model, self._earlier.then(survivors), self.topology)
        self._follow(survivors, changes)

    # --- hooks

    def _listen(self) -> None:
        # To every optimiser, since none is known yet; a loop needs no further line for it. The hook must not
        # keep the network of somebody alive who forgets close(), and goes with the pruner.
        own = WeakMethod(self._before_step)
        self._handle = register_optimizer_step_pre_hook(lambda o, *_: (own() or _nothing)(o))
        finalize(self, self._handle.remove).atexit = False

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


def method_of(method: str | Method, options: Mapping[str, Any]) -> Method:
    """Return the method that goes by a name, with its ``options``, or the one that is given.

    Raises:
        UserError: no such method, no such option, something that is no method, or options beside a method
            that is an object already.
    """
    named = isinstance(method, str)
    made = build(METHODS, "method", method, options) if isinstance(method, str) else method
    if not isinstance(made, Method):
        raise UserError(
            f"method is a name, such as 'dpap', or an object, such as DPAP(target=0.6): came {method!r:.80}"
        )
    if options and not named:
        name = type(made).__name__
        raise UserError(
            f"the options {sorted(options)} came beside a {name} object: they are arguments of its class, as "
            f"in {name}({next(iter(options))}=...)"
        )
    return made


def _nothing(_: Optimizer) -> None:
    """Stand in for a pruner that is gone."""
