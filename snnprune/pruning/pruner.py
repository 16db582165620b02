"""Pruner: the object that prunes a network in a user's training loop."""

from __future__ import annotations

import copy
import warnings
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import torch

from snnprune.common.errors import CompactionError, UserError
from snnprune.common.seeds import Stream, generator
from snnprune.config.names import PAGE
from snnprune.network.discovery import discover
from snnprune.network.untouched import untouched
from snnprune.pruning.choosing import method_of, within_reach
from snnprune.pruning.claims import claim, release
from snnprune.pruning.clock import Clock
from snnprune.pruning.compaction.permission import check_cut_every, check_may_cut, masked_only
from snnprune.pruning.compaction.transaction import Transaction, together
from snnprune.pruning.firing import BatchFiring
from snnprune.pruning.forwards import ForwardWatch
from snnprune.pruning.gradients import DeadGradients
from snnprune.pruning.history import History
from snnprune.pruning.identity import Identity
from snnprune.pruning.measures import MEASURED
from snnprune.pruning.method import Method
from snnprune.pruning.oversights import Oversights, TargetMissedWarning
from snnprune.pruning.pruned import Pruned
from snnprune.pruning.reach import OutOfReachError, check_spikes
from snnprune.pruning.recorder import TraceRecorder
from snnprune.pruning.rounds import Round
from snnprune.pruning.rule import Rule
from snnprune.pruning.shares import agree, of_first
from snnprune.pruning.snapshot import Snapshot
from snnprune.pruning.steps import StepWatch, unscale
from snnprune.pruning.traces import full_precision
from snnprune.pruning.traffic import BatchTraffic
from snnprune.pruning.view import Decision, View

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from torch import Tensor, nn
    from torch.optim import Optimizer

    from snnprune.network.cost import Rates
    from snnprune.network.cut import Cut
    from snnprune.network.topology import Topology
    from snnprune.pruning.compaction.survivors import SurvivingUnits
    from snnprune.pruning.masks import Masks
    from snnprune.pruning.measures import CostModel
    from snnprune.pruning.traces import Activity


class Pruner:
    """Prunes ``model`` while the user's own loop trains it.

    A plain loop needs three lines: this constructor, `step` after every optimiser step, and `end_epoch` after
    every epoch. Only the weights of the model change, until `compact` makes it smaller. `close` (or ``with``)
    removes the hooks.

    Args:
        model: any network; spiking ones in multi-step or single-step mode.
        example_input: an input of ``model``; one forward with it finds the populations.
        method: a name (`snnprune list methods`), or a `Method`.
        epochs: length of the run; schedules scale with it.
        seed: of the method's own random numbers.
        neurons: further neuron classes, of other libraries or the user's own.
        exclude: layers that are kept whole, by name or glob.
        protect_first: keep the first layer whole.
        compact_every: number of epochs between two cuts that remove dead units from the network during
            training. A cut is left out if the last forward of its epoch was not followed by a step, or if no
            step was seen since the pruner was made or its state loaded. If a cut cannot be made, a warning
            says so, and training continues with masks until the next cut.
        samples: number of training samples, for methods whose schedule depends on it.
        held_out_loss: returns the loss of a network, in evaluation mode, on samples that are held out of
            training, a number; for targets with ``scope="sensitivity"``, which call it a few times, once.
        options: constants of a method given by name, such as ``target=0.6``.

    Attributes:
        name: name of the method, or of its class.
        history: what happened so far, one `history.Row` for each epoch.
        finished: the method has taken its last decision, and training may end.
        returned_to: epoch (from 0) whose snapshot the method has restored; None where it restored none.

    Raises:
        UserError: the method, an option or a layer is unknown, options came beside a method object,
            ``epochs`` is below 1, the model does not take the example input, the target cannot be reached in
            this network, or ``compact_every`` came with a method whose network cannot be cut during training.

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
        held_out_loss: Callable[[nn.Module], float] | None = None,
        **options: Any,
    ) -> None:
        self.name = method if isinstance(method, str) else type(method).__name__
        asked, method = method, method_of(method, options)
        if epochs < 1:
            raise UserError(f"epochs must be at least 1, came {epochs}: pass the length of the run in epochs")
        check_cut_every(compact_every, method)
        self.model, self.method, self.seed, self.compact_every = model, method, seed, compact_every
        self._identity = Identity.of(method)
        self.samples, self.held_out_loss = samples, held_out_loss
        if held_out_loss is None and any(target.scope == "sensitivity" for target in method.aims):
            raise UserError(
                "scope 'sensitivity' measures the loss on samples that are held out of training: pass the "
                "pruner held_out_loss=..., a function that takes the model and returns a number"
            )
        topology = discover(model, example_input, neurons=neurons)
        topology.protect([exclude] if isinstance(exclude, str) else exclude, first=protect_first)
        topology.keep_fixed()
        if method.reads is not None and not topology.free():
            warnings.warn(
                "no population of this network can be pruned: print(snnprune.discover(model, example_input)) "
                "shows the reasons (name neuron classes of other libraries with neurons=...)",
                stacklevel=2,
            )
        for sentence in masked_only(model, topology):
            warnings.warn(sentence, stacklevel=2)
        self._pruned = Pruned(model, topology)
        self.clock = Clock(epochs)
        self.recorder: TraceRecorder | None = None
        if method.reads is not None:
            self.recorder = TraceRecorder(model, self.topology, method.tau, method.reads)
        self.finished = False
        self.returned_to: int | None = None
        self._watch = ForwardWatch(model, self.topology.projections, self._end_batch, self._settle)
        self._round = Round()
        self._oversights = Oversights()
        self._snapshot: Snapshot | None = None
        self._knows_loop = False  # an optimiser that is not known keeps moments of the old sizes
        self._begun: Decision | None = None
        self._is_begun = False
        self._gradients = DeadGradients()
        self._steps = self._watch_steps()
        self.history = History()
        self._firing = BatchFiring(model, (p.neuron for p in topology.projections.values() if p.neuron))
        self._firing.open()
        self._traffic = BatchTraffic(model)
        self._open_traffic()
        try:
            check_spikes({aim.measure: aim.rate for aim in self.method.aims}, model, topology)
            if not self._pruned.was_cut:  # else its state may come, of a larger network
                self._plan(asked, options)
            self.method.begin(self._view({}))
            if not self._pruned.was_cut:
                self._begin()
        except BaseException:
            self._unhook()
            raise

    def _begin(self) -> None:
        """Take over what the method decides before the first forward; `_settle` makes weights of it."""
        if not self._is_begun:
            self._is_begun = True
            self._begun = self.method.start(self._view({}))
            if self._begun is not None:
                self._pruned.keep(self._begun, self.method, self._dice(Stream.BORN))

    def _settle(self) -> None:
        """Let the first forward find the weights that the method has begun with.

        Until then they stay as they are: a state may still come, and the weights may be those that belong to
        it.
        """
        self._begin()
        if self._begun is not None:
            begun, self._begun = self._begun, None
            self.masks.apply(*self._pruned.optimizers)
            self._pruned.scale(begun.scale)
            self._silence()

    def _go_on(self) -> None:
        """Go on from a state, in place of a beginning."""
        self._is_begun, self._begun = True, None

    def _plan(self, asked: str | Method, options: Mapping[str, Any]) -> None:
        """Let the method plan; in place of its usual target, take one that can be reached."""
        try:
            self.method.plans(self._view({}))
        except OutOfReachError as error:
            self.method = within_reach(error, asked, options, self.method.target)
            self._identity = Identity.of(self.method)
            self.method.plans(self._view({}))

    @property
    def kept(self) -> SurvivingUnits:
        """The name of `survivors` in version 0.1."""
        warnings.warn("Pruner.kept is now Pruner.survivors", DeprecationWarning, stacklevel=2)
        return self.survivors

    @property
    def masks(self) -> Masks:
        """Which units and synapses of the network in its present size are alive."""
        return self._pruned.masks

    @property
    def topology(self) -> Topology:
        """Populations and projections of the network in its present size."""
        return self.masks.topology

    @property
    def dense(self) -> Topology:
        """Populations and projections before the first cut; rates and targets are shares of these."""
        return self._pruned.dense

    @property
    def survivors(self) -> SurvivingUnits:
        """Indices of the surviving units of each population of ``dense``."""
        return self._pruned.survivors

    def __repr__(self) -> str:
        rates, free = self.rates(), len(self.topology.free())
        return (
            f"Pruner({self.name!r}, {type(self.model).__name__}: {self.clock.epoch} of {self.clock.epochs} "
            f"epochs, {rates.synapses:.1%} of {rates.weights_dense:,} weights and {rates.neurons:.1%} of "
            f"units pruned, {free} of {len(self.topology.populations)} populations free)"
        )

    def step(self, optimizer: Optimizer | None = None) -> None:
        """Close the batch: pass its traces to the method, and set pruned entries to zero again.

        Call it after ``optimizer.step()``; all forwards since the last call are one batch. Where several
        optimisers train the network, call it after the step of each: they share the batch, and the method
        acts once all of them have stepped.

        Where the optimiser has not stepped since the last call, because a loss scaler skipped its step or the
        loop left it out, there is no batch. Its forwards join the next one, unless their gradients are
        thrown away first.

        Raises:
            CompactionError: the optimiser holds no parameter of this model.
            UserError: another open pruner prunes weights of this model.
        """
        if self._steps.is_open:
            claim(self, self.name, self.model)
        self._settle()
        if optimizer is not None:
            self.follow(optimizer)
        if not self._steps.has_run(optimizer):
            self._oversights.look_at_skip()
            return
        self._knows_loop = True
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
        self._firing.close()
        if self._traffic.is_open:
            rates = self.rates()
            self._traffic.close(self.masks, whole=rates.weights_left == rates.weights_dense)
        traces = self.recorder.batch() if self.recorder is not None else {}
        watches = self.recorder is not None and self.recorder.projections
        self._oversights.look_at_batch(active=bool(traces) or not watches)
        return traces

    def _end_batch(self) -> None:
        """Let the method act on the batch whose optimisers have stepped, where there is one."""
        traces = self._round.traces
        self._round.end()
        if traces is not None:
            if self.compact_every is not None:
                self._oversights.look_at_moments(self._pruned)
            if not self.finished:
                with full_precision(self._device):
                    self._carry_out(self.method.after_step(self._view(traces)))
            self.masks.apply(*self._pruned.optimizers)
        self._silence()

    def end_epoch(self, metrics: Mapping[str, float] | None = None) -> None:
        """Score, decide and prune, and then advance the clock by one epoch.

        Args:
            metrics: measured after the epoch, by name, for methods that need an accuracy. With several
                processes, the metrics of rank 0 are used.

        Raises:
            UserError: processes came to different decisions, because their networks differ.
        """
        self._settle()
        self._end_batch()
        if type(self.method) is not Method:  # which prunes nothing
            pruned = self.rates().synapses > 0
            self._oversights.look_at_epoch(self.clock, self._firing.odd(self.masks), pruned=pruned)
            self._oversights.look_at_optimizers(self._round.left_out(self._steps.stepped))
            trained = self._round.trained(self._steps.stepped)
            self._oversights.look_at_learning(self.model, self.topology, trained)
        if not self.finished:
            with Transaction() as changes, full_precision(self._device):
                changes.remember_state(vars(self.history))
                self.record(metrics)
                state = self.method.state_dict()  # the method is called again if its decision is refused
                changes.on_failure(lambda: self.method.load_state_dict(state, self._device))
                self._carry_out(self.method.end_epoch(self._view({}), of_first(metrics)))
            agree(self.masks)
        self.masks.apply(*self._pruned.optimizers)
        self._traffic.settle(self.masks)
        self.clock.epoch += 1
        self._silence()
        self._firing.open()
        if type(self.method) is not Method:
            self._oversights.look_at_layers(self.method.target, self.rates())
            if self.clock.epoch >= self.clock.epochs:
                self._look_at_end()
        due = self.compact_every is not None and self.clock.epoch % self.compact_every == 0
        if due and self._knows_loop and not self._in_batch():
            try:
                with together() as changes:
                    self._cut(changes, unread=False)
            except CompactionError as error:  # the decision stands, and masks carry it out
                self._oversights.look_at_refusal(error)
        self._open_traffic()

    def record(
        self, metrics: Mapping[str, float] | None = None, firing: Mapping[str, float] | None = None
    ) -> None:
        """Add the present epoch to `history`, or what was measured of it; `end_epoch` does so by itself.

        Call it where the numbers of an epoch are needed before it ends. All processes call it together.

        Args:
            metrics: measured after the epoch, by name.
            firing: share of the outputs of each layer of neurons that are not zero, by name; by default of
                the epoch's first batch.
        """
        if self.finished:
            return
        epoch = self.clock.epoch + 1
        if not self.history.has(epoch):
            rule = getattr(self.method, "rule", None)
            known = rule if isinstance(rule, Rule) else None
            self._firing.close()
            self.history.record(epoch, self._pruned, known, self.importance(), self._firing.rates)
            self.history.measured(left={name: 1.0 - share for name, share in self.reached().items()})
        self.history.measured(metrics, firing)

    def report(self, path: str | Path) -> Path:
        """Write a page on what was pruned when, and why, with its pictures in ``figures/`` beside it.

        Args:
            path: of the page, such as "pruned.html", or a folder, which gets a report.html.

        Returns:
            The path of the page.

        Raises:
            UserError: no epoch has ended, or the page cannot be written.
        """
        write: Callable[..., Path] = PAGE.load()
        return write(self, path)

    def _carry_out(self, decision: Decision | None) -> None:
        if decision is None:
            return
        if decision.snapshot:
            self._snapshot = Snapshot.take(self.model, self.masks, self.survivors, self.clock.epoch)
        if decision.restore:
            self._go_back()
        self.finished = decision.finished
        if decision.units or decision.synapses or decision.born is not None:
            self._pruned.keep(decision, self.method, self._dice(Stream.BORN))
        self._pruned.scale(decision.scale)
        self._pruned.assign(decision.values)

    def _go_back(self) -> None:
        if self._snapshot is None:
            raise ValueError(
                f"{type(self.method).__name__} restores a snapshot and has taken none: return "
                "Decision(snapshot=True) before Decision(restore=True)"
            )
        with Transaction() as changes:
            self._pruned.put_back(self._snapshot, changes)
            self._follow(changes)
        self.returned_to = self._snapshot.epoch
        if self.recorder is not None:
            self.recorder.forget()

    def rates(self) -> Rates:
        """Return how much of the dense network is pruned, and how much is left."""
        return self._pruned.rates()

    @torch.no_grad()
    def importance(self) -> dict[str, Tensor]:
        """Return the method's scores of this epoch so far (see `Method.importance`).

        All processes have to call it together.
        """
        self._end_batch()
        with full_precision(self._device):
            return self.method.importance(self._view({}))

    def reached(self) -> dict[str, float]:
        """Return the share of the dense network that is pruned, by each measure that is a target.

        What follows from activity is of the first batch of the last epoch; it is not there before the first
        one.
        """
        found: dict[str, float] = {}
        for target in self.method.aims:
            if target.measure in MEASURED and (self._traffic.loads is None or self._traffic.dense is None):
                continue
            dense = target.costs(self._traffic.dense).dense(self.dense)
            left = self.cost(target.costs(self._traffic.loads))
            found[target.measure] = 1.0 - left / dense if dense else 0.0
        return found

    def cost(self, model: CostModel) -> float:
        """Return what the alive units and synapses cost: weights, operations, bytes, ...

        Args:
            model: the measure, with the loads of the layers where it follows from activity.
        """
        return self._pruned.spent(model)

    def dense_masks(self) -> dict[str, dict[str, Tensor]]:
        """Return the masks in the size of the dense network; units that were cut since are False.

        Returns:
            "units": bool [size] by population; "synapses": bool, shape of the weight, by projection. Both are
            on the CPU. `Masks.load_state_dict` of a dense network takes them.
        """
        return self._pruned.dense_masks()

    def _view(self, traces: Mapping[str, Activity]) -> View:
        return View(
            self.model,
            self.topology,
            self.masks,
            self.clock,
            traces,
            self._dice(Stream.METHOD),
            self.dense,
            self.survivors,
            tuple(self._pruned.optimizers),
            self.samples,
            None if self.held_out_loss is None else self._loss,
            self._traffic.now,
            self._traffic.dense,
        )

    def _open_traffic(self) -> None:
        """Measure the next batch, where a target needs it."""
        if self._steps.is_open and any(target.measure in MEASURED for target in self.method.aims):
            self._traffic.open(self.topology)

    @torch.no_grad()
    def _loss(self) -> float:
        """Return the loss on the samples that are held out; the network is left as it was."""
        assert self.held_out_loss is not None
        with untouched(self.model):
            self.model.eval()
            return float(self.held_out_loss(self.model))

    def _dice(self, stream: Stream) -> torch.Generator:
        return generator(torch.device("cpu"), self.seed, stream, self.clock.epoch, self.clock.batches)

    def _before_evaluation(self) -> None:
        self.masks.zero(self.model)

    def _after_backward(self, optimizer: Optimizer) -> None:
        self._pruned.optimizers.add(optimizer)
        if not self.method.reads_gradients:
            return
        if self._round.is_first_to_step(optimizer):
            unscale(optimizer)
            self.method.after_backward(self._view({}))

    # --- compaction

    def follow(self, optimizer: Optimizer) -> None:
        """Cut the moments of ``optimizer`` together with the network; `step` calls this by itself.

        Raises:
            CompactionError: the optimiser holds no parameter of this model.
        """
        self._pruned.add(optimizer)
        self._knows_loop = True

    def compact(
        self,
        optimizer: Optimizer | None = None,
        *,
        round_to: int | None = None,
        min_alive: int = 1,
        unread: bool | None = None,
    ) -> nn.Module:
        """Remove dead units from the model itself, between two batches; training can then continue.

        The moments of the optimisers that `step` has seen are cut, too. Later decisions are the same as with
        masks alone.

        Args:
            optimizer: the optimiser of the model, if `step` has not seen it.
            round_to: round the size of every population that is cut up to a multiple of this, for example 8.
                The strongest of the units that would be removed fill it; dead ones among them keep weights of
                zero.
            min_alive: least number of units that stay in each population.
            unread: whether to remove also alive units that no alive unit reads. None: only after the last
                decision, because a method counts them until then.

        Returns:
            The model.

        Raises:
            CompactionError: a dead unit cannot be proved silent, the optimiser belongs to another model, a
                batch is open, the method lets synapses regrow and has decisions left, or another object, such
                as DistributedDataParallel or an output kept with its graph, holds a tensor of the model. The
                model, the masks and the method then stay unchanged.
        """
        if optimizer is not None:
            self.follow(optimizer)
        self._settle()
        self._end_batch()
        unread = self._decided if unread is None else unread
        with Transaction() as changes:
            self._cut(changes, round_to=round_to, min_alive=min_alive, unread=unread)
        if not self._decided:
            self._oversights.look_at_moments(self._pruned)
        return self.model

    def _cut(self, changes: Transaction, *, unread: bool, **limits: Any) -> None:
        check_may_cut(self.model, self.method, training=not self._decided, in_batch=self._in_batch())
        cut = self._pruned.cut(self.method, changes, unread=unread, **limits)
        if cut:
            self._follow(changes, cut)

    def _follow(self, changes: Transaction, cut: Cut | None = None) -> None:
        """Make what watches the network follow a cut, or another change of its size (None)."""
        if self.recorder is not None:
            changes.remember(self.recorder, "projections")
            self.recorder.follow(self.topology)
        changes.remember(self._traffic, "now")
        self._traffic.follow(self.topology, cut)

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

        With several processes, one alone may call it between `end_epoch` and the next batch; at any other
        time all have to call it together.
        """
        self._settle()
        self._end_batch()
        return {
            "clock": {"epoch": self.clock.epoch, "batches": self.clock.batches},
            **self._pruned.state_dict(),
            "method": self.method.state_dict(),
            "identity": self._identity.state_dict(),
            "snapshot": None if self._snapshot is None else self._snapshot.state_dict(),
            "finished": self.finished,
            "returned_to": self.returned_to,
            "history": self.history.state_dict(),
            "traffic": self._traffic.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned.

        Load it before the states of the model and the optimiser. The model gets the size that it had, so that
        its weights fit: it is cut, or units that were cut since come back. Tensors that grow are zero until
        the weights are loaded. An open batch is dropped. If a constant of the method, such as the target,
        differs from the saved one, a warning says so, and the method keeps its present constant.

        Raises:
            UserError: the state is of another method, or is not the state of a pruner.
            ValueError: the state is of another network. Nothing has changed then.
            CompactionError: the model would have to change its size, and another object holds a tensor of it.
                Nothing has changed then.
        """
        differ = self._identity.check(state.get("identity", {}))
        if differ is not None:
            warnings.warn(
                f"the state was saved with {differ}: decisions from now on use the values of this pruner",
                stacklevel=2,
            )
        snapshot = state.get("snapshot")
        with self._taking_in() as changes:
            clock = Clock(self.clock.epochs, state["clock"]["epoch"], state["clock"]["batches"])
            self._inherit(state, changes, whole=True)
            self.method.load_state_dict(state["method"], self._device)
        self._go_on()
        self._knows_loop = bool(self._pruned.optimizers)
        self._round.end()
        self._watch.seen = False
        if self.recorder is not None:
            self.recorder.forget()
        if self._steps.is_open:
            self._firing.open()
        self._oversights.resume()
        self.clock = clock
        self._snapshot = None if snapshot is None else Snapshot.of(snapshot)
        self.finished = bool(state.get("finished", False))
        self.returned_to = state.get("returned_to")
        if "history" in state:  # not in version 0.1
            self.history.load_state_dict(state["history"])
        self._traffic.load_state_dict(state.get("traffic", {}), self.topology, self._device)
        if not self._steps.is_open:
            self._traffic.stop()

    def inherit(self, state: Mapping[str, Any]) -> None:
        """Take over the masks and the cuts of another pruner.

        The clock and the method start anew. As with `load_state_dict`, load the weights afterwards, unless
        the network has them and its present size already.

        Args:
            state: the other pruner's `state_dict`, of a network with the same sizes before its first cut.

        Raises:
            UserError: the state is not the state of a pruner.
            ValueError: the state is of another network. Nothing has changed then.
        """
        with self._taking_in() as changes:
            self._inherit(state, changes, whole=False)
        self._go_on()

    @contextmanager
    def _taking_in(self) -> Iterator[Transaction]:
        """Yield the transaction in which a state is loaded; a missing part of the state is a `UserError`."""
        try:
            with Transaction() as changes:
                changes.remember_state(self.method)
                yield changes
            self._silence()
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(
                "expected the state of a pruner, as Pruner.state_dict() returns it, but a part of it is "
                f"missing or has another type ({type(error).__name__}: {error}): pass the whole state"
            ) from error

    def _inherit(self, state: Mapping[str, Any], changes: Transaction, *, whole: bool) -> None:
        self._pruned.inherit(state, self.method, changes, whole=whole)
        self._follow(changes)

    # --- hooks

    def _watch_steps(self) -> StepWatch:
        return StepWatch(self.model, self._before_evaluation, self._after_backward)

    def _silence(self) -> None:
        """Keep the gradients of what is dead at zero in the next batch, unless the method reads them."""
        if not self._steps.is_open:
            return
        if self.method.learns_dead(self.clock):
            self._gradients.close()
        else:
            self._gradients.follow(self.masks)

    def __deepcopy__(self, memo: dict[int, Any]) -> Pruner:
        """Return a pruner of a copy of the network; it follows the optimisers that its `step` will see."""
        self._end_batch()
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        apart: dict[str, Any] = {"_round": Round(), "_gradients": DeadGradients(), "_steps": None}
        vars(twin).update(
            copy.deepcopy({k: v for k, v in vars(self).items() if k not in apart}, memo) | apart
        )
        twin._watch.call(twin._end_batch, twin._settle)
        twin._steps = twin._watch_steps()
        if not self._steps.is_open:
            twin._steps.close()
        twin._silence()
        return twin

    def close(self) -> None:
        """Remove every hook from the model; warn where training has ended and the target is missed."""
        self._end_batch()
        self._unhook()
        self._look_at_end()

    def _look_at_end(self) -> None:
        self._oversights.look_at_end(
            self.clock,
            self.method.aims,
            self.reached,
            over=self._decided,
            plans=lambda: self.method.plans(self._view({})),
        )

    def _unhook(self) -> None:
        release(self)
        self._watch.close()
        self._firing.close()
        self._traffic.stop()
        if self.recorder is not None:
            self.recorder.close()
        self._steps.close()
        self._gradients.close()

    def __enter__(self) -> Pruner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
            return
        self._unhook()
        with suppress(TargetMissedWarning):  # where warnings are errors, `error` is the one to be seen
            self._look_at_end()
