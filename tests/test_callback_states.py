"""PruningCallback beside what people's modules keep: neuron states, averages of weights, copies."""

from __future__ import annotations

import copy
import logging
import warnings
from typing import TYPE_CHECKING, Any

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from spikingjelly.activation_based import functional
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, TensorDataset

from snnprune.common.errors import UserError
from snnprune.training.callbacks.pruning import PruningCallback
from snnprune.training.callbacks.states import is_carried
from support.networks import conv_snn

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore")
CARRIED = "begins with the neuron states of the last one"


@pytest.fixture(autouse=True)
def _quiet(one_thread: None) -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class Forgetful(lightning.LightningModule):
    """Somebody's spiking classifier, which never resets its neurons."""

    def __init__(self, step_mode: str = "m") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.model, self.step_mode = conv_snn(step_mode, norm=True), step_mode

    def forward(self, frames: Tensor) -> Tensor:
        x = frames.transpose(0, 1)
        out = self.model(x) if self.step_mode == "m" else torch.stack([self.model(step) for step in x])
        return out.mean(0)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_accuracy", (self(batch[0]).argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(self.parameters(), 1e-2)


class Careful(Forgetful):
    """It resets them where people do, in the step."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        functional.reset_net(self.model)
        return super().training_step(batch, batch_idx)


def loader() -> DataLoader:
    generator = torch.Generator().manual_seed(0)
    x = torch.poisson(torch.rand(24, 3, 2, 12, 12, generator=generator), generator=generator)
    return DataLoader(TensorDataset(x, torch.arange(24) % 4), 4)


def fit(task: Any, *callbacks: Any, epochs: int = 4, resume: Path | None = None, **settings: Any) -> Any:
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=any(isinstance(c, ModelCheckpoint) for c in callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings,
    )
    trainer.fit(task, loader(), loader(), ckpt_path=resume, weights_only=True if resume else None)
    return task


def pruning(method: str = "dpap", **options: Any) -> PruningCallback:
    mode = options.pop("mode", "m")
    shape = (3, 2, 2, 12, 12) if mode == "m" else (2, 2, 12, 12)
    return PruningCallback(method, example_input=torch.rand(shape), **options)


# --- states of neurons


def told(*arguments: Any) -> int:
    """Return how often it is said that states were carried over."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(*arguments, epochs=2)
    return sum(CARRIED in str(w.message) for w in caught)


@pytest.mark.parametrize("mode", ["m", "s"])
@pytest.mark.parametrize("method", ["dpap", "dense"])  # with a recorder, and without
def test_states_that_carry_over_are_said_once(mode: str, method: str) -> None:
    assert told(Forgetful(mode), pruning(method, mode=mode)) == 1
    assert told(Careful(mode), pruning(method, mode=mode)) == 0
    assert told(Forgetful(mode), pruning(method, mode=mode, reset_states=False)) == 0
    assert told(Forgetful(mode), pruning(method, mode=mode, reset_states=True)) == 0


def test_resetting_trains_as_a_module_that_resets() -> None:
    asked = fit(Forgetful(), pruning("dense", reset_states=True))
    own = fit(Careful(), pruning("dense", reset_states=True))
    never = fit(Forgetful(), pruning("dense", reset_states=False))
    assert not is_carried(asked)
    assert is_carried(never)
    weights = [task.model[0].weight for task in (asked, own, never)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


# --- copies


def test_model_and_callback_can_be_copied_after_a_fit() -> None:
    callback = pruning()
    task = fit(Forgetful(), callback)
    again, twin = copy.deepcopy(task), copy.deepcopy(callback)
    assert torch.equal(again.model[0].weight, task.model[0].weight)
    assert twin.pruner is not callback.pruner
    assert twin.pruner.model is not task.model
    assert twin.pruner.rates() == callback.pruner.rates()
    twin.pruner.compact()
    assert twin.pruner.model[9].out_features < 20 == task.model[9].out_features


def test_they_can_be_copied_while_they_train() -> None:
    copies = []

    class Copier(lightning.Callback):
        def on_train_batch_end(self, trainer: Any, task: Any, *_: Any) -> None:
            if not copies and trainer.current_epoch == 1:
                copies.extend(copy.deepcopy((task.model, callback)))

    callback = pruning()
    fit(Forgetful(), callback, Copier())
    model, twin = copies
    assert twin.pruner.model is model
    before = callback.pruner.clock.batches
    model(torch.rand(3, 2, 2, 12, 12)).sum().backward()
    assert not callback.pruner.recorder.holds_activity
    assert callback.pruner.clock.batches == before
    assert twin.pruner.clock.batches < before


def test_a_state_of_the_users_own_that_carries_a_graph_is_named() -> None:
    class Keeping(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            self.last = x * 1.0
            return x

    class Task(Forgetful):
        def __init__(self) -> None:
            super().__init__()
            self.model.insert(3, Keeping())

    callback = pruning(reset_states=True)
    fit(Task(), callback, epochs=1)
    callback.pruner.model[3](torch.rand(2, requires_grad=True))
    with pytest.raises(UserError, match=r"3\.last keeps a tensor with the graph that .* tensor\.detach"):
        copy.deepcopy(callback)


# --- averages of the weights


def dead_is_zero(callback: PruningCallback, network: nn.Module) -> bool:
    pruner = callback.pruner
    assert pruner is not None
    pairs = [
        (network.get_parameter(p.weight), ~pruner.masks.alive(p))
        for p in pruner.topology.projections.values()
    ]
    assert sum(int(dead.sum()) for _, dead in pairs) > 100
    return all(not weight[dead].any() for weight, dead in pairs)


@pytest.mark.parametrize("first", [True, False])
def test_lightnings_average_loses_what_dies(first: bool) -> None:
    callback, average = pruning(target=0.6, reset_states=True), EMAWeightAveraging(decay=0.9)
    callbacks = (callback, average) if first else (average, callback)
    task = fit(Forgetful(), *callbacks, epochs=6)
    assert dead_is_zero(callback, task.model)  # the average has come in the place of the weights
    assert dead_is_zero(callback, average._average_model.module.model)


@pytest.mark.parametrize("of", ["network", "task"])
def test_an_average_of_the_modules_own_loses_what_dies(of: str) -> None:
    class Averaging(Forgetful):
        def on_fit_start(self) -> None:
            self.average = [AveragedModel(self.model if of == "network" else self)]
            self.shown = self.average[0] if of == "network" else None

        def on_train_batch_end(self, *_: Any) -> None:
            self.average[0].update_parameters(self.model if of == "network" else self)

    class Holder(lightning.Callback):
        def on_train_start(self, trainer: Any, task: Any) -> None:
            self.average = task.average[0]

    callback, holder = pruning(target=0.6, reset_states=True), Holder()
    task = fit(Averaging(), holder, callback, epochs=6)
    copied = holder.average.module
    assert dead_is_zero(callback, copied if of == "network" else copied.model)
    assert task.average[0].n_averaged > 1


def test_an_average_of_weights_that_are_cut_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"compact_every changes the shapes .*pruner\.compact\(\) after training"
    ):
        fit(Forgetful(), pruning(compact_every=1), EMAWeightAveraging())


# --- all at once


def test_half_precision_accumulation_cuts_and_a_resumed_checkpoint_together(tmp_path: Path) -> None:
    def run(epochs: int, *callbacks: Any, resume: Path | None = None) -> tuple[PruningCallback, Any]:
        callback = pruning(epochs=8, target=0.6, compact_every=3, reset_states=True)
        task = Forgetful()
        settings: dict[str, Any] = {"precision": "bf16-mixed", "accumulate_grad_batches": 2}
        return callback, fit(task, callback, *callbacks, epochs=epochs, resume=resume, **settings)

    whole, trained = run(8)
    run(5, ModelCheckpoint(tmp_path, filename="half"))
    rest, resumed = run(8, resume=tmp_path / "half.ckpt")
    assert whole.pruner.clock.batches == rest.pruner.clock.batches == 8 * 3
    assert trained.model[9].out_features < 20
    assert trained.model[0].weight.dtype == torch.float32
    assert whole.pruner.rates() == rest.pruner.rates()
    for key, tensor in trained.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[key]), key
