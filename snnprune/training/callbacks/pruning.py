"""Pruning in anybody's Lightning Trainer: `Trainer(callbacks=[PruningCallback("dpap")])`."""

# ruff: noqa: ARG002 - the methods' signatures are Lightning's
from __future__ import annotations

import copy
import inspect
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import lightning

from snnprune.common import ranks
from snnprune.common.errors import UserError
from snnprune.network.duplicate import reset_states
from snnprune.network.untouched import same_dice
from snnprune.pruning import Pruner
from snnprune.pruning.choosing import method_of
from snnprune.pruning.compaction.permission import check_cut_every
from snnprune.pruning.optimizers import holds_any_of
from snnprune.pruning.steps import StepFollower
from snnprune.training.callbacks import logged
from snnprune.training.callbacks.averages import Averages
from snnprune.training.callbacks.batches import BetweenBatches
from snnprune.training.callbacks.network import (
    check_apart,
    example_of,
    network_if_known,
    network_of,
    place_of,
    samples_of,
)
from snnprune.training.callbacks.progress import Progress, Run, length
from snnprune.training.callbacks.restoring import CLASS, Restoring, state_of
from snnprune.training.callbacks.states import CarriedStates, copied, detach_states
from snnprune.training.callbacks.wrapping import can_unwrap, unwrapped

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from torch import Tensor, nn

    from snnprune.pruning import Method


class PruningCallback(lightning.Callback):
    """Prunes the network of a LightningModule while a Trainer trains it.

    It prunes ``pl_module.model`` where there is such a module, else the LightningModule itself, or its only
    network where it has no ``forward`` of its own; ``network`` names another. Populations are found with the
    first training batch. The pruner acts after each step of the optimiser, however many micro-batches that
    took. What an epoch's activity means is decided when the next one starts, so that the
    numbers of an epoch belong to the network that was trained in it, and nothing is cut that would not be
    trained again. Masks and the method's state travel in the Trainer's checkpoints, without pickle. A method
    that has finished before the last epoch stops the Trainer.

    Args:
        method: name of a method, or a Method.
        epochs: length of the schedule; without a number, the Trainer's ``max_epochs``.
        example_input: what the network takes; without it, the first batch, or its first item.
        seed: of the method's own randomness.
        network: name of the module to prune in the LightningModule, such as "net" or "learner.encoder".
        compact_every: take the dead out of the network at the start of every so many epochs, with the
            optimiser's moments; of several processes, under ``DDPStrategy``. If a cut cannot be made, a
            warning says so, and masks alone go on until the next one.
        reset_states: put neurons at rest after every batch, of training and of evaluation. Without an answer,
            a training batch that begins with the states of the last one is said, once; False is for states
            that are meant to go on. States are never carried over with the graph of their batch.
        log: write pruned shares and surviving units to the Trainer's loggers after every epoch, as
            "pruning/synapses", "pruning/neurons", "pruning/firing" and "pruning/units/<population>".
        options: of the `Pruner` (``neurons``, ``exclude``, ``protect_first``), and constants of the method
            given by name, such as ``target=0.6``.

    Averages of the weights (torch's ``AveragedModel``, Lightning's ``WeightAveraging`` and
    ``StochasticWeightAveraging``, timm's ``ModelEma``) lose what dies along with the network; with
    ``compact_every`` they are refused. A checkpoint may be loaded at any time, also in the middle of a fit:
    the network gets the size that it has there, and the pruner goes on from its state. Several callbacks
    prune several networks of one LightningModule, each with its ``network``.

    Raises:
        UserError: ``compact_every`` with a method whose network cannot be cut while it trains.

    Attributes:
        inherited: state of another `Pruner`, with whose masks and cuts this one begins (`Pruner.inherit`).
        pruner: the `Pruner`, from the first batch on; without hooks once training has ended.

    Examples:
        >>> import lightning, snnprune
        >>> pruning = snnprune.PruningCallback("dpap", target=0.6, compact_every=10)
        >>> trainer = lightning.Trainer(max_epochs=60, callbacks=[pruning], accelerator="cpu", logger=False)
    """

    def __init__(
        self,
        method: str | Method = "dpap",
        *,
        epochs: int | None = None,
        example_input: Tensor | None = None,
        seed: int = 0,
        network: str | None = None,
        compact_every: int | None = None,
        reset_states: bool | None = None,
        log: bool = True,
        **options: Any,
    ) -> None:
        if compact_every is not None:
            known = inspect.signature(Pruner).parameters
            of_method = {name: value for name, value in options.items() if name not in known}
            check_cut_every(compact_every, method_of(method, of_method))
        self.method = method
        self.network, self.reset_states = network, reset_states
        self.compact_every = compact_every
        self.logs = log  # Lightning gives every callback a `log` of its own
        self.epochs = epochs
        self.example_input = example_input
        self.seed = seed
        self.options = options
        self.inherited: Mapping[str, Any] | None = None
        self.pruner: Pruner | None = None
        self._progress = Progress()
        self._restored: Mapping[str, Any] | None = None  # for a pruner that is not there yet
        self._resumes = self._active = False
        self._run = Run()

    @property
    def state_key(self) -> str:
        """Name of its state in checkpoints: "PruningCallback", with the ``network`` where it was named."""
        return CLASS if self.network is None else f"{CLASS}{{'network': {self.network!r}}}"

    # --- the life of a fit

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Follow the weights that are loaded: the Trainer restores the network before its callbacks.

        Raises:
            UserError: several processes are to train a network that is cut meanwhile, and hold parts of it.
        """
        if self.compact_every is not None and trainer.world_size > 1 and not can_unwrap(trainer):
            raise UserError(
                f"compact_every cuts the network while it trains, and {type(trainer.strategy).__name__} does "
                "not let go of it meanwhile: leave it out, and call callback.pruner.compact() after training"
            )
        self.close()
        self._resumes = False
        restoring = Restoring(trainer, pl_module, self.network, self.state_key, lambda: self.pruner)
        # Lightning's StochasticWeightAveraging adds an epoch to max_epochs, in which nothing is trained.
        self._run = Run(pl_module, stage == "fit", trainer.max_epochs, restoring, hooks=[restoring])
        network = network_if_known(pl_module, self.network)
        if self._run.trains and network is not None:
            self._run.hooks.append(BetweenBatches(network, trainer, self, lambda: self._rest(pl_module)))

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Refuse a smaller network without its pruner, and averages of weights that are cut.

        Raises:
            UserError: it is one of these, it is not known which module is the network, or another callback
                prunes it, too.
        """
        network = network_of(pl_module, self.network)
        others = [network_of(pl_module, other.network) for other in _siblings(trainer) if other is not self]
        check_apart(network, others)
        self._run.averages = Averages(
            network, place_of(network, pl_module), cut=self.compact_every is not None
        )
        self._find_averages(trainer, pl_module)
        if self._run.restoring is not None:
            self._run.restoring.check(self._restored)
        self._rest(pl_module)  # a search for a learning rate may have left the states of its last batch

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Decide on the epoch that has ended."""
        self._run.stale = True  # another callback may put other weights in their place, as an average
        if self._active:
            self._find_averages(trainer, pl_module)
            self._catch_up(trainer)

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Build the pruner before the first batch of a fit."""
        if not self._active:
            self._open(trainer, pl_module, batch)
        # Lightning skips `on_train_epoch_start` when it resumes from a checkpoint of an epoch's last batch.
        self._catch_up(trainer)
        assert self.pruner is not None
        if self._run.is_stale():
            self.pruner.masks.apply()
            self._run.zero_averages(self.pruner.masks)
        if batch_idx == 1 and self._run.averages is not None:
            self._run.averages.look()  # an average has been updated by now
        if self._run.carried is not None:
            self._run.carried.fresh = True
        if trainer.should_stop and self._all_finished(trainer):
            raise StopIteration  # how Lightning leaves an epoch; a finished run was resumed

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Put neurons at rest where that is asked for, and let go of the graph behind their states.

        Of a network that no optimiser trains, the batch ends here.
        """
        self._progress.whole = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        if self._run.is_local and self.pruner is not None:
            self.pruner.step()
        self._rest(pl_module)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Record and log the network that was trained in this epoch, also in the last one."""
        if not self._active or self.pruner is None:
            return
        self.pruner.record(self._progress.metrics)
        if self.logs and not trainer.barebones:
            name = self.network if len(_siblings(trainer)) > 1 else None
            values = logged.values(self.pruner, name)
            pl_module.log_dict(values, batch_size=1, sync_dist=ranks.world_size() > 1)

    def _after_evaluation(self, _trainer: Any, pl_module: lightning.LightningModule, *_: Any) -> None:
        if self.reset_states:
            reset_states(pl_module)

    on_validation_batch_end = _after_evaluation  # type: ignore[assignment]
    on_test_batch_end = _after_evaluation  # type: ignore[assignment]
    on_predict_batch_end = _after_evaluation  # type: ignore[assignment]

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Keep the numbers of the last validation, for methods that decide by accuracy."""
        if self._run.trains and not trainer.sanity_checking:
            self._progress.metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}

    def teardown(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Remove all hooks; the pruner itself stays, to be asked and to compact."""
        if self._active and self.pruner is not None:
            self.pruner.masks.apply()  # an average of the weights may have come in their place
        self.close()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Remove all hooks when training breaks off."""
        if self._active and self.pruner is not None:
            self.pruner.__exit__(type(exception), exception, exception.__traceback__)
            self._active = False
        self.close()

    def close(self) -> None:
        """Remove the hooks from the network and from the optimisers."""
        self._run.close()
        if self.pruner is not None and self._active:
            self.pruner.close()
        self._active = False

    # --- checkpoints

    def state_dict(self) -> dict[str, Any]:
        """Return tensors, numbers and strings only: it loads with ``weights_only=True``."""
        if self.pruner is None:
            return dict(self._restored or {})
        return {"pruner": self.pruner.state_dict(), **self._progress.state_dict()}

    def on_load_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take a state from under another key: of version 0.1, or with the network named or not."""
        callbacks = checkpoint.get("callbacks", {})
        state = state_of(callbacks, self.state_key)
        if state is not None and self.state_key not in callbacks:
            self.load_state_dict(copy.deepcopy(dict(state)))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a state, also in the middle of training; before the first batch it is kept for then.

        Load it before the weights and the states of the optimisers; a Trainer sees to that.

        Raises:
            UserError: the state is of another method.
            ValueError: the state is of another network.
            CompactionError: the network would have to change its size, and another object holds a tensor.
        """
        task, restoring = self._run.task, self._run.restoring
        if self.pruner is not None and task is not None:
            self.pruner = self.pruner if self.pruner.model is network_of(task, self.network) else None
        if self.pruner is not None and not (restoring is not None and restoring.told):
            self.pruner.load_state_dict(state_dict["pruner"])
        if restoring is not None:
            restoring.told = False
        self._run.stale = True
        self._restored = state_dict if self.pruner is None else None
        self._progress = Progress.of(state_dict)
        self._resumes = self._run.trains

    def restored(self, model: nn.Module, example_input: Tensor, epochs: int) -> Pruner:
        """Return the pruner, without hooks, also where a checkpoint left nothing to train.

        Args:
            model: the network, with the checkpoint's weights.
            example_input: what it takes.
            epochs: length of the schedule.
        """
        if self.pruner is None:
            self.pruner = Pruner(
                model, example_input, self.method, epochs=epochs, seed=self.seed, **self.options
            )
            self.pruner.close()
            if self._restored is not None:
                self.pruner.load_state_dict(self._restored["pruner"])
        return self.pruner

    def __deepcopy__(self, memo: dict[int, Any]) -> PruningCallback:
        """Return a copy that is not in training: with the pruner and its network, without hooks.

        Raises:
            UserError: a module of the network keeps a tensor with its graph.
        """
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        apart: dict[str, Any] = {"_run": Run(), "_active": False}
        own = {name: value for name, value in vars(self).items() if name not in apart}
        model = self.pruner.model if self.pruner is not None else None
        vars(twin).update(copied(own, memo, model) | apart)
        if twin.pruner is not None:
            twin.pruner.close()
        return twin

    # --- in a fit

    def _open(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any) -> None:
        model = network_of(pl_module, self.network)
        state = self._restored
        if self.pruner is not None and model is self.pruner.model:
            state = self.state_dict()  # a second fit of the same network goes on from the first
        example = example_of(batch) if self.example_input is None else self.example_input.to(pl_module.device)
        # Discovery runs the network once; the user's own random numbers should not notice.
        with same_dice([pl_module.device]):
            self.pruner = Pruner(
                model,
                example,
                self.method,
                epochs=length(self.epochs, self._run.planned),
                seed=self.seed,
                compact_every=self.compact_every,
                **({"samples": samples_of(trainer)} | self.options),
            )
        if state is None:
            self._progress = Progress(trainer.current_epoch)
            if self.inherited is not None:
                self.pruner.inherit(self.inherited)
        else:
            self.pruner.load_state_dict(state["pruner"])
            if not self._resumes:
                self._progress.go_on_at(trainer.current_epoch)
        self._restored, self._active = None, True
        if self.pruner.recorder is not None:
            self.pruner.recorder.carries_over = self.reset_states is False
        elif self.reset_states is None:
            self._run.carried = CarriedStates(model)
            self._run.hooks.append(self._run.carried)
        self._watch(trainer, self.pruner)
        self._find_averages(trainer, pl_module)  # also those that other callbacks have made by now

    def _watch(self, trainer: lightning.Trainer, pruner: Pruner) -> None:
        # Lightning's own batch hooks fire once per micro-batch.
        own = [each for each in trainer.optimizers if holds_any_of(each, pruner.model)]
        for optimizer in own:
            self._run.hooks.append(StepFollower(optimizer, self._after_step))
            pruner.follow(optimizer)
        self._run.is_local = not own

    def _after_step(self, optimizer: torch.optim.Optimizer) -> None:
        if self.pruner is not None:
            self.pruner.step(optimizer)
            self._run.zero_averages(self.pruner.masks)

    def _find_averages(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        holders = [c for c in trainer.callbacks if not isinstance(c, PruningCallback)]  # type: ignore[attr-defined]
        if self._run.averages is not None:
            self._run.averages.find(pl_module, holders, trainer.optimizers)

    def _rest(self, task: lightning.LightningModule) -> None:
        if self.reset_states:
            reset_states(task)
        else:
            detach_states(task, self.options.get("neurons", ()))

    def _catch_up(self, trainer: lightning.Trainer) -> None:
        if (
            self._progress.epoch > trainer.current_epoch
        ):  # a state of a later epoch, without the Trainer's loops
            self._progress.go_on_at(trainer.current_epoch)
        if self.pruner is not None and self._progress.epoch < trainer.current_epoch:
            self._progress.epoch, self._progress.whole = trainer.current_epoch, False
            with unwrapped(trainer) if self.compact_every is not None else nullcontext():
                self.pruner.end_epoch(self._progress.metrics)
        if self._all_finished(trainer):
            trainer.should_stop = True

    def _all_finished(self, trainer: lightning.Trainer) -> bool:
        return all(c.pruner is not None and c.pruner.finished for c in _siblings(trainer))


def _siblings(trainer: lightning.Trainer) -> list[PruningCallback]:
    """Return all pruning callbacks of a Trainer."""
    return [c for c in trainer.callbacks if isinstance(c, PruningCallback)]  # type: ignore[attr-defined]
