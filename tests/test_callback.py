"""PruningCallback in other people's Trainers: any module, accumulation, checkpoints."""

from __future__ import annotations

import logging

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from snnprune.common.errors import UserError
from snnprune.pruning import Pruner
from snnprune.training.callbacks.pruning import PruningCallback
from support.hooks import hooks, own_hooks

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def _quiet():
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class Classifier(lightning.LightningModule):
    """Somebody's module, with its layers in itself."""

    def __init__(self, optimizer: str = "AdamW") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(
            nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3)
        )
        self.optimizer = optimizer

    def forward(self, x):
        return self.layers(x)

    def training_step(self, batch, batch_idx):
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch, batch_idx):
        self.log("val_accuracy", (self(batch[0]).argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return getattr(torch.optim, self.optimizer)(self.parameters(), lr=1e-2, weight_decay=0.1)


class Wrapper(Classifier):
    """Somebody's module around a network."""

    def __init__(self) -> None:
        super().__init__()
        self.model = self.layers
        del self.layers

    def forward(self, x):
        return self.model(x)


def loader(batch_size: int = 8, *, shuffle: bool = False) -> DataLoader:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(48, 6, generator=generator)
    return DataLoader(TensorDataset(x, x[:, :3].argmax(1)), batch_size, shuffle=shuffle)


def trainer(*callbacks, epochs: int = 6, **settings) -> lightning.Trainer:
    return lightning.Trainer(
        **({"enable_checkpointing": False, "logger": False} | settings),
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=list(callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def masks(callback: PruningCallback) -> dict[str, torch.Tensor]:
    state = callback.pruner.state_dict()["masks"]
    return {f"{kind}/{name}": mask for kind in state for name, mask in state[kind].items()}


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("module", [Classifier, Wrapper])
def test_one_line_prunes_any_module(module):
    callback, task = PruningCallback("dpap"), module()
    keys = set(task.state_dict())
    trainer(callback).fit(task, loader(), loader())
    assert callback.pruner.rates().synapses == pytest.approx(0.6, abs=0.05)
    assert callback.pruner.clock.epoch == 5  # the last epoch is not followed by a cut
    assert set(task.state_dict()) == keys


@pytest.mark.parametrize("optimizer", ["AdamW", "SGD"])
def test_dead_weights_gradients_and_moments_are_exactly_zero(optimizer):
    callback, task = PruningCallback("dpap"), Classifier(optimizer)
    fit = trainer(callback)
    fit.fit(task, loader())
    pruner, [state] = callback.pruner, [optimizer.state for optimizer in fit.optimizers]
    checked = 0
    for projection in pruner.topology.projections.values():
        parameter = pruner.model.get_parameter(projection.weight)
        dead = ~pruner.masks.alive(projection)
        checked += int(dead.sum())
        tensors = [parameter.detach(), parameter.grad, *state[parameter].values()]
        for tensor in tensors:
            if tensor is not None and tensor.shape == dead.shape:
                assert not tensor[dead].any()
    assert checked > 100


def test_hooks_are_gone_when_training_ends():
    callback, task = PruningCallback("dpap"), Classifier()
    fit = trainer(callback, epochs=2)
    fit.fit(task, loader())
    assert not hooks(task)
    assert not own_hooks(fit.optimizers[0])


def test_hooks_are_gone_when_training_fails():
    class Failing(Classifier):
        def training_step(self, batch, batch_idx):
            if batch_idx == 2:
                raise RuntimeError("no more")
            return super().training_step(batch, batch_idx)

    callback, task = PruningCallback("dpap"), Failing()
    with pytest.raises(RuntimeError, match="no more"):
        trainer(callback).fit(task, loader())
    assert callback.pruner is not None
    assert not hooks(task)


def test_accumulated_batches_are_one_batch():
    results = []
    for size, accumulate in ((16, 1), (4, 4)):
        callback, task = PruningCallback("dpap"), Classifier().double()
        trainer(callback, accumulate_grad_batches=accumulate, precision="64-true").fit(task, loader(size))
        results.append((callback, task))
    (a, x), (b, y) = results
    assert a.pruner.clock.batches == b.pruner.clock.batches == 6 * 3
    assert equal(masks(a), masks(b))
    for p, q in zip(x.parameters(), y.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=1e-9)


def test_the_callback_leaves_the_users_random_numbers_alone():
    def weights(*callbacks):
        task = Classifier()
        torch.manual_seed(5)
        trainer(*callbacks, epochs=2).fit(task, loader(shuffle=True))
        return task.layers[0].weight

    assert torch.equal(weights(), weights(PruningCallback("dense")))


def test_a_checkpoint_of_the_trainers_own_resumes_the_pruning(tmp_path):
    def fit(epochs, folder, **settings):
        callback, task = PruningCallback("dpap", epochs=6), Classifier()
        saver = ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1)
        fit = trainer(callback, saver, epochs=epochs, enable_checkpointing=True)
        fit.fit(task, loader(), loader(), **settings)
        return callback, task

    whole, task = fit(6, tmp_path / "whole")
    fit(3, tmp_path / "half")
    saved = tmp_path / "half" / "epoch=2.ckpt"
    rest, resumed = fit(6, tmp_path / "rest", ckpt_path=saved, weights_only=True)
    assert whole.pruner.rates().synapses > 0.5
    assert equal(masks(whole), masks(rest))
    for p, q in zip(task.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(p, q)


def test_a_checkpoint_within_an_epoch_keeps_the_epochs_statistics(tmp_path):
    # Resuming from an epoch's last batch, Lightning never calls `on_train_epoch_start`.
    def fit(epochs, folder, **settings):
        callback, task = PruningCallback("dpap", epochs=6), Classifier()
        saver = ModelCheckpoint(folder, filename="{step}", every_n_train_steps=6, save_top_k=-1)
        fit = trainer(callback, saver, epochs=epochs, enable_checkpointing=True)
        fit.fit(task, loader(), **settings)
        return callback, task

    whole, _ = fit(6, tmp_path / "whole")
    saved = tmp_path / "whole" / "step=18.ckpt"
    rest, _ = fit(6, tmp_path / "rest", ckpt_path=saved, weights_only=True)
    assert whole.pruner.clock.epoch == rest.pruner.clock.epoch
    assert equal(masks(whole), masks(rest))


def test_the_method_sees_the_last_validation(monkeypatch):
    seen = []
    end_epoch = Pruner.end_epoch

    def spy(self, metrics=None):
        seen.append(metrics)
        end_epoch(self, metrics)

    monkeypatch.setattr(Pruner, "end_epoch", spy)
    trainer(PruningCallback("dpap"), epochs=3).fit(Classifier(), loader(), loader())
    assert len(seen) == 2
    assert all(0 <= metrics["val_accuracy"] <= 1 for metrics in seen)


def test_a_second_fit_goes_on_with_the_first():
    callback, task = PruningCallback("dpap", epochs=6), Classifier()
    trainer(callback, epochs=4).fit(task, loader())
    before, rate = masks(callback), callback.pruner.rates().synapses
    assert callback.pruner.clock.epoch == 3
    trainer(callback, epochs=2).fit(task, loader())
    after = masks(callback)
    assert callback.pruner.clock.epoch == 5
    assert callback.pruner.rates().synapses > rate
    for name, mask in before.items():
        assert not (after[name] & ~mask).any()  # nothing comes back to life


def test_batches_that_are_mappings_ask_for_an_example():
    class Keyed(Classifier):
        def training_step(self, batch, batch_idx):
            return self(batch["x"]).sum()

    rows = [{"x": torch.rand(6), "y": 0} for _ in range(8)]
    with pytest.raises(UserError, match=r"a mapping of \['x', 'y'\]: write PruningCallback\(.*example_input"):
        trainer(PruningCallback("dpap"), epochs=1).fit(Keyed(), DataLoader(rows, 4))
    callback = PruningCallback("dpap", example_input=torch.rand(4, 6))
    trainer(callback, epochs=1).fit(Keyed(), DataLoader(rows, 4))
    assert callback.pruner.rates().weights_dense == 6 * 16 + 16 * 16 + 16 * 3


def test_a_trainer_without_an_end_asks_for_epochs():
    with pytest.raises(UserError, match=r"write PruningCallback\(\.\.\., epochs=N\)"):
        trainer(PruningCallback("dpap"), epochs=-1, max_steps=4).fit(Classifier(), loader())
