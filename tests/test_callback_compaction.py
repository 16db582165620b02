"""PruningCallback that cuts the network while a Trainer trains it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from spikingjelly.activation_based import functional
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from snnprune import Pruner
from snnprune.common.errors import UserError
from snnprune.training.callbacks.pruning import PruningCallback
from support.networks import conv_snn

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore")

EPOCHS = 12


@pytest.fixture(autouse=True)
def _quiet(one_thread: None) -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class Spiking(lightning.LightningModule):
    """Somebody's spiking classifier."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = conv_snn(norm=True)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        functional.reset_net(self.net)
        frames, labels = batch
        return nn.functional.cross_entropy(self(frames), labels)

    def forward(self, frames: Tensor) -> Tensor:
        return self.net(frames.transpose(0, 1)).mean(0)

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(self.parameters(), 1e-2)


def loader() -> DataLoader:
    generator = torch.Generator().manual_seed(0)
    x = torch.poisson(torch.rand(24, 3, 2, 12, 12, generator=generator), generator=generator)
    return DataLoader(TensorDataset(x, torch.arange(24) % 4), 8)


def fit(epochs: int, *callbacks: Any, compact_every: int | None = 3, **settings: Any) -> tuple[Any, Spiking]:
    pruning = PruningCallback("dpap", epochs=EPOCHS, target=0.6, compact_every=compact_every)
    task = Spiking().double()
    trainer = lightning.Trainer(
        accelerator="cpu",
        precision="64-true",
        max_epochs=epochs,
        callbacks=[pruning, *callbacks],
        logger=False,
        enable_checkpointing=any(isinstance(c, ModelCheckpoint) for c in callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(task, loader(), **settings)
    return pruning, task


def masks(pruning: PruningCallback) -> dict[str, Tensor]:
    assert pruning.pruner is not None
    return {
        f"{kind} {name}": t for kind, of in pruning.pruner.dense_masks().items() for name, t in of.items()
    }


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_it_decides_as_masking_does_and_ends_smaller() -> None:
    masked, dense = fit(EPOCHS, compact_every=None)
    live, small = fit(EPOCHS)
    assert equal(masks(masked), masks(live))
    assert masked.pruner.rates() == live.pruner.rates()
    sizes = [sum(p.numel() for p in task.parameters()) for task in (dense, small)]
    assert sizes[1] < 0.8 * sizes[0]
    assert dense.net[0].out_channels == 5
    assert live.pruner.compact() is small  # type: ignore[union-attr]


@pytest.mark.parametrize(("epoch", "cut"), [(1, False), (7, True)])
def test_checkpoints_from_before_and_after_a_cut_resume(tmp_path: Path, epoch: int, cut: bool) -> None:
    whole, trained = fit(EPOCHS)
    fit(epoch + 1, ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1))
    path = tmp_path / f"epoch={epoch}.ckpt"
    saved = torch.load(path, weights_only=True)
    assert (saved["state_dict"]["net.9.weight"].shape != (20, 54)) == cut
    rest, resumed = fit(EPOCHS, ckpt_path=path, weights_only=True)
    assert equal(masks(whole), masks(rest))
    assert whole.pruner.rates() == rest.pruner.rates()
    for (key, a), b in zip(trained.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b), key
    assert not resumed._load_state_dict_pre_hooks


def test_a_small_checkpoint_without_its_pruner_is_refused(tmp_path: Path) -> None:
    fit(8, ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1))
    saved = torch.load(tmp_path / "epoch=7.ckpt", weights_only=True)
    saved["callbacks"] = {}
    torch.save(saved, tmp_path / "bare.ckpt")
    with pytest.raises(UserError, match="holds no pruner that cut it"):
        fit(EPOCHS, ckpt_path=tmp_path / "bare.ckpt", weights_only=True)


def test_a_small_checkpoint_is_read_without_a_trainer(tmp_path: Path) -> None:
    """As docs/custom-snn.md writes it."""
    _, trained = fit(8, ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1))
    saved = torch.load(tmp_path / "epoch=7.ckpt", weights_only=True)
    module = Spiking().double()
    with pytest.raises(RuntimeError, match="size mismatch"):
        module.load_state_dict(saved["state_dict"])
    pruner = Pruner(module, next(iter(loader()))[0].double(), "dpap", epochs=EPOCHS)
    pruner.load_state_dict(saved["callbacks"]["PruningCallback"]["pruner"])
    module.load_state_dict(saved["state_dict"])
    assert dict(module.named_parameters()).keys() == dict(trained.named_parameters()).keys()
    assert sum(p.numel() for p in module.parameters()) == sum(t.numel() for t in trained.parameters())


def test_a_small_checkpoint_is_tested_as_it_is(tmp_path: Path) -> None:
    class Measured(Spiking):
        def test_step(self, batch: Any, batch_idx: int) -> None:
            functional.reset_net(self.net)
            self.log("loss", nn.functional.cross_entropy(self(batch[0]), batch[1]))

    _, task = fit(8, ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1))
    task.eval()
    functional.reset_net(task.net)
    losses = []
    for x, y in loader():
        functional.reset_net(task.net)
        losses.append(nn.functional.cross_entropy(task(x.double()), y).item())
    tester = lightning.Trainer(
        accelerator="cpu",
        precision="64-true",
        callbacks=[PruningCallback("dpap")],
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
    )
    [result] = tester.test(
        Measured().double(), loader(), ckpt_path=tmp_path / "epoch=7.ckpt", verbose=False, weights_only=True
    )
    assert result["loss"] == pytest.approx(sum(losses) / len(losses), abs=1e-9)


class Keeps(lightning.Callback):
    """Evaluates after each epoch without no_grad, and keeps what came out."""

    held: Tensor | None = None

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        pl_module.eval()
        self.held = pl_module(next(iter(loader()))[0].double())
        pl_module.train()
        functional.reset_net(pl_module)


@pytest.mark.filterwarnings("default")
def test_a_cut_under_which_scores_are_kept_leaves_masks_that_train_on() -> None:
    masked, dense = fit(EPOCHS, Keeps(), compact_every=None)
    with pytest.warns(UserWarning, match=r"still refers to it: evaluate .*training goes on with masks"):
        live, kept = fit(EPOCHS, Keeps())
    assert equal(masks(masked), masks(live))
    assert masked.pruner.rates().synapses > 0.5
    for (key, a), b in zip(dense.state_dict().items(), kept.state_dict().values(), strict=True):
        assert torch.equal(a, b), key


def test_several_processes_are_told_when_to_compact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lightning.Trainer, "world_size", 2)
    with pytest.raises(
        UserError, match=r"SingleDeviceStrategy .* call callback\.pruner\.compact\(\) after training"
    ):
        fit(1)
