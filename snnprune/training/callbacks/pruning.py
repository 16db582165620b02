"""Pruning in anybody's Lightning Trainer: `Trainer(callbacks=[PruningCallback("dpap")])`."""

# ruff: noqa: ARG002 - the methods' signatures are Lightning's
from __future__ import annotations

import copy
import inspect
import warnings
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import lightning
import torch
from torch import Tensor, nn

from snnprune.common.errors import UserError
from snnprune.network.duplicate import reset_states
from snnprune.network.hooks import Hook, before
from snnprune.pruning import Pruner
from snnprune.pruning.compaction.permission import check_cut_every
from snnprune.pruning.compaction.shapes import conform
from snnprune.pruning.compaction.survivors import note_kept
from snnprune.pruning.pruner import method_of
from snnprune.pruning.recorder import CARRIED
from snnprune.pruning.steps import StepFollower
from snnprune.training.callbacks.averages import averages_of
from snnprune.training.callbacks.network import network_of
from snnprune.training.callbacks.states import carries_graph, detach_states, is_carried
from snnprune.training.callbacks.wrapping import can_unwrap, unwrapped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch.utils.hooks import RemovableHandle

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
        options: of the `Pruner` (``neurons``, ``exclude``, ``protect_first``), and constants of the method
            given by name, such as ``target=0.6``.

    Averages of the weights (`torch.optim.swa_utils.AveragedModel`, Lightning's ``WeightAveraging`` and
    ``EMAWeightAveraging``) lose what dies along with the network; with ``compact_every`` they are refused.

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
        **options: Any,
    ) -> None:
        if compact_every is not None:
            known = inspect.signature(Pruner).parameters
            of_method = {name: value for name, value in options.items() if name not in known}
            check_cut_every(compact_every, method_of(method, of_method))
        self.method = method
        self.network, self.reset_states = network, reset_states
        self.compact_every = compact_every
        self.epochs = epochs
        self.example_input = example_input
        self.seed = seed
        self.options = options
        self.pruner: Pruner | None = None
        self._model: nn.Module | None = None
        self._active = False
        self._epoch = 0
        self._metrics: dict[str, float] = {}
        self.inherited: Mapping[str, Any] | None = None
        self._restored: dict[str, Any] | None = None
        self._handles: list[RemovableHandle | StepFollower] = []
        self._restoring: RemovableHandle | None = None
        self._conformed: str | None = None
        self._averages: list[nn.Module] = []
        self._fresh = False

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Make ready for a checkpoint of a network that had been cut: the Trainer restores the network first.

        Raises:
            UserError: several processes are to train a network that is cut meanwhile, and hold parts of it.
        """
        if self.compact_every is not None and trainer.world_size > 1 and not can_unwrap(trainer):
            raise UserError(
                f"compact_every cuts the network while it trains, and {type(trainer.strategy).__name__} does "
                "not let go of it meanwhile: leave it out, and call callback.pruner.compact() after training"
            )
        self._restoring = pl_module.register_load_state_dict_pre_hook(Hook(self._conform))

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Refuse a smaller network's checkpoint without its pruner, and averages of weights that are cut.

        Raises:
            UserError: it was one, there are averages that no cut would reach, or it is not known which module
                is the network.
        """
        self._stop_restoring()
        self._averages = averages_of(network_of(pl_module, self.network), pl_module, trainer.callbacks)  # type: ignore[attr-defined]
        if self._averages and self.compact_every is not None:
            raise UserError(
                "compact_every changes the shapes of the weights, and an average of them (AveragedModel, "
                "WeightAveraging) keeps its own: leave it out, and call callback.pruner.compact() after "
                "training"
            )
        if self._conformed is not None and not (self._restored or {}).get("pruner", {}).get("kept"):
            raise UserError(
                f"the checkpoint is of a smaller network ('{self._conformed}' has another shape there), and "
                "it holds no pruner that cut it: resume it with the callback that it was trained with"
            )
        self._note_conformed(network_of(pl_module, self.network))

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Decide on the epoch that has ended."""
        if self._active:
            self._catch_up(trainer)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Record the epoch, also the last one, on which nothing is decided."""
        if self._active and self.pruner is not None:
            self.pruner.record(self._metrics)

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Build the pruner before the first batch of a fit."""
        if not self._active:
            self._open(trainer, pl_module, batch)
        # Lightning skips `on_train_epoch_start` when it resumes from a checkpoint of an epoch's last batch.
        self._catch_up(trainer)
        self._fresh = True
        if trainer.should_stop and self.pruner is not None and self.pruner.finished:
            raise StopIteration  # how Lightning leaves an epoch; a finished run was resumed

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Put neurons at rest where that is asked for, and let go of the graph behind their states."""
        if self.reset_states:
            reset_states(pl_module)
        else:
            detach_states(pl_module, self.options.get("neurons", ()))

    def _after_evaluation(self, _trainer: Any, pl_module: lightning.LightningModule, *_: Any) -> None:
        if self.reset_states:
            reset_states(pl_module)

    on_validation_batch_end = _after_evaluation  # type: ignore[assignment]
    on_test_batch_end = _after_evaluation  # type: ignore[assignment]
    on_predict_batch_end = _after_evaluation  # type: ignore[assignment]

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Keep the numbers of the last validation, for methods that decide by accuracy."""
        if not trainer.sanity_checking:
            self._metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}

    def teardown(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Remove all hooks; the pruner itself stays, to be asked and to compact."""
        self._stop_restoring()
        if self._active and self.pruner is not None:
            self.pruner.masks.apply()  # an average of the weights may have come in their place
        self.close()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Remove all hooks when training breaks off."""
        self._stop_restoring()
        self.close()

    def close(self) -> None:
        """Remove the hooks from the network and from the optimisers."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        if self.pruner is not None and self._active:
            self.pruner.close()
        self._active = False

    def state_dict(self) -> dict[str, Any]:
        """Return tensors, numbers and strings only: it loads with ``weights_only=True``."""
        if self.pruner is None:
            return self._restored or {}
        return {"pruner": self.pruner.state_dict(), "epoch": self._epoch, "metrics": dict(self._metrics)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the state for the first batch: there is no pruner before it."""
        self._restored = state_dict or None
        self.pruner = None

    def restored(self, model: nn.Module, example_input: Tensor, epochs: int) -> Pruner:
        """Return the pruner, without hooks, also where a checkpoint left nothing to train.

        Args:
            model: the network, with the checkpoint's weights.
            example_input: what it takes.
            epochs: length of the schedule.
        """
        if self.pruner is None:
            self._note_conformed(model)
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
        apart: dict[str, Any] = {"_handles": [], "_restoring": None, "_active": False, "_averages": []}
        try:
            vars(twin).update(copy.deepcopy({k: v for k, v in vars(self).items() if k not in apart}, memo))
        except RuntimeError as error:
            place = carries_graph(self._model) if self._model is not None else None
            if place is None:
                raise
            raise UserError(
                f"the network cannot be copied: {place} keeps a tensor with the graph that it was computed "
                "by. Keep tensor.detach(), or put it at rest before the copy"
            ) from error
        vars(twin).update(apart)
        if twin.pruner is not None:
            twin.pruner.close()
        return twin

    def _conform(self, module: nn.Module, state_dict: Mapping[str, Any], *_: Any) -> None:
        self._conformed = conform(module, state_dict)

    def _note_conformed(self, model: nn.Module) -> None:
        """Note on a network that was made small for a checkpoint which units it has left."""
        if self._conformed is not None and self._restored is not None:
            note_kept(model, self._restored["pruner"]["kept"])
        self._conformed = None

    def _stop_restoring(self) -> None:
        if self._restoring is not None:
            self._restoring.remove()
        self._restoring = None

    def _open(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any) -> None:
        model = network_of(pl_module, self.network)
        if self.pruner is not None and model is self._model:
            # A second fit of the same network goes on from the first: it decides on its last epoch first.
            self._restored = self.state_dict() | {"epoch": trainer.current_epoch - 1}
        self._model = model
        # Discovery runs the network once; the user's own random numbers should not notice.
        devices = [pl_module.device] if pl_module.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            self.pruner = Pruner(
                model,
                _example(batch) if self.example_input is None else self.example_input.to(pl_module.device),
                self.method,
                epochs=self._length(trainer),
                seed=self.seed,
                compact_every=self.compact_every,
                **({"samples": _samples(trainer)} | self.options),
            )
        self._epoch = trainer.current_epoch
        if self._restored is not None:
            self.pruner.load_state_dict(self._restored["pruner"])
            self._epoch, self._metrics = int(self._restored["epoch"]), dict(self._restored["metrics"])
            self._restored = None
        elif self.inherited is not None:
            self.pruner.inherit(self.inherited)
        self._active = True
        if self.pruner.recorder is not None:
            self.pruner.recorder.carries_over = self.reset_states is False
        elif self.reset_states is None:
            self._handles.append(before(model, self._say_carried()))
        self._watch(trainer, model)

    def _length(self, trainer: lightning.Trainer) -> int:
        length = self.epochs if self.epochs is not None else trainer.max_epochs
        if length is None or length < 1:
            raise UserError(
                "PruningCallback needs the number of epochs to plan for, and the Trainer has no "
                "max_epochs: write PruningCallback(..., epochs=N)"
            )
        return length

    def _watch(self, trainer: lightning.Trainer, model: nn.Module) -> None:
        # Lightning's own batch hooks fire once per micro-batch.
        mine = {id(parameter) for parameter in model.parameters()}
        for optimizer in trainer.optimizers:
            if any(
                id(parameter) in mine for group in optimizer.param_groups for parameter in group["params"]
            ):
                self._handles.append(StepFollower(optimizer, self._after_step))
                if self.pruner is not None:
                    self.pruner.follow(optimizer)

    def _after_step(self, optimizer: torch.optim.Optimizer) -> None:
        if self.pruner is not None:
            self.pruner.step(optimizer)
            for average in self._averages:
                self.pruner.masks.zero(average)

    def _say_carried(self) -> Any:
        """Return a hook that says what the recorder of a method that reads activity says."""
        said = False

        def hook(model: nn.Module, _args: Any) -> None:
            nonlocal said
            first, self._fresh = self._fresh, False
            if first and not said and is_carried(model):
                said = True
                warnings.warn(CARRIED, stacklevel=2)

        return hook

    def _catch_up(self, trainer: lightning.Trainer) -> None:
        if self.pruner is not None and self._epoch < trainer.current_epoch:
            self._epoch = trainer.current_epoch
            with unwrapped(trainer) if self.compact_every is not None else nullcontext():
                self.pruner.end_epoch(self._metrics)
        if self.pruner is not None and self.pruner.finished:
            trainer.should_stop = True


def _samples(trainer: lightning.Trainer) -> int | None:
    """Return the size of the training set, where it has one."""
    try:
        return len(trainer.train_dataloader.dataset)  # type: ignore[union-attr]
    except (AttributeError, TypeError):
        return None


def _example(batch: Any) -> Tensor:
    """Return what of a batch the network takes.

    Raises:
        UserError: the batch is neither a tensor nor a tuple or list that starts with one.
    """
    first = batch[0] if isinstance(batch, list | tuple) and len(batch) > 0 else batch
    if not isinstance(first, Tensor):
        came = f"a mapping of {sorted(map(str, first))}" if _is_mapping(first) else type(first).__name__
        raise UserError(
            f"PruningCallback expected batches that are a tensor or begin with one, and got {came}: "
            "write PruningCallback(..., example_input=...)"
        )
    return first


def _is_mapping(value: Mapping[Any, Any] | Any) -> bool:
    return hasattr(value, "keys")
